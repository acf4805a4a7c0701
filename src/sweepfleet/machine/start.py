"""A machine's start, once its release is there: `start head ENVIRONMENT` or `start worker ENVIRONMENT`, as root.

A worker gets its certificate and runs dask's worker. The head makes CA, keys and units, and ends; the units go on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sweepfleet.machine import dask_command, data_files
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.bring import open_counter, serve_counter
from sweepfleet.machine.certificates import fits, make_ca, make_request, own, sign
from sweepfleet.machine.facts import CODE, HOME, KEYS, SCRATCH, SERVICE_USER, WORKER_TLS, Data, Facts
from sweepfleet.machine.files import write_whole
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import active_jobs
from sweepfleet.machine.renew import SCHEDULER, active_runs, become, other_engine, renew_fleet
from sweepfleet.machine.worker.interruption import notice, seconds_left
from sweepfleet.machine.worker.stopping import Stop, is_asked_gently
from sweepfleet.slot.leaving import VARIABLE as LEAVING
from sweepfleet.slot.leaving import announce

UNITS = Path(__file__).with_name("units")
SYSTEMD = Path("/etc/systemd/system")
AWAIT_RELEASE = "/usr/local/lib/sweepfleet/await-release"
CERTIFICATE_DEADLINE_S = 600
ENGINE_AGAIN_S = 15.0  # after which a worker makes sure that the fleet was not renewed just while it joined
NOTICE_EVERY_S = 2.0  # AWS gives two minutes, and recommends a look every five seconds
SERVICES = tuple(
    f"sweepfleet-{name}.service" for name in ("signer", "keeper", "letterbox", "volume", "store", "asleep")
)
ASKED = "sweepfleet-jobs.path"  # starts what programs on the head ask for


def start_worker(facts: Facts, environment: Path) -> None:
    """Be a worker of the cluster, until this instance is taken back; then returns.

    Stays root itself, and runs dask's worker as the service user: it brings releases that runs ask for, and
    watches for the interruption notice. When the worker ends, the machine begins again with the newest release.

    Raises:
        SystemExit: no certificate came in time. The boot's unit tries again.
    """
    aws = door(facts)
    release = Path(__file__).parents[4]
    certify(facts, aws)  # the head says what the fleet runs before it gives certificates
    if note := other_engine(aws, release, environment):
        become(aws, note)
    data_files.add(aws, release)
    open_counter(SERVICE_USER)
    shutil.rmtree(SCRATCH, ignore_errors=True)  # of a worker that was killed here
    SCRATCH.mkdir(mode=0o700)
    shutil.chown(SCRATCH, SERVICE_USER, SERVICE_USER)
    command = dask_command.worker(
        environment,
        head_ip=facts.head_ip,
        name=facts.instance_id,
        slots=len(os.sched_getaffinity(0)),
        scratch=SCRATCH,
    )
    is_asked_gently()
    worker = subprocess.Popen(
        command,
        env=os.environ
        | dask_command.environment(WORKER_TLS, "worker")
        | {"PYTHONPATH": str(release / CODE), "HOME": str(SCRATCH), LEAVING: str(SCRATCH / "leaving")}
        | {
            "PATH": f"{environment}/bin:{os.environ.get('PATH', os.defpath)}"
        },  # `python` of a command is the project's
        cwd=SCRATCH,
        user=SERVICE_USER,
        group=SERVICE_USER,
        extra_groups=[],
    )
    stop = Stop(worker)
    looked_s = 0.0
    began_s, look_again_s = time.monotonic(), ENGINE_AGAIN_S
    while worker.poll() is None:
        time.sleep(0.5)
        serve_counter(aws)
        if time.monotonic() - began_s > look_again_s:
            look_again_s *= 2
            if _fleet_has_changed(aws, release, environment):
                worker.terminate()
        if time.monotonic() - looked_s > NOTICE_EVERY_S:
            looked_s = time.monotonic()
            said = notice()
            if said:
                print(f"AWS takes this instance back; the worker shuts down: {said}", flush=True)
                announce(SCRATCH / "leaving", time.monotonic() + seconds_left(said))
                worker.terminate()
                worker.wait()
                subprocess.run(["systemctl", "poweroff"], check=False)  # the group replaces it at once
                return
    time.sleep(1)
    if stop.came:
        print("the worker has left, since this machine stops", flush=True)
        return
    print(f"the worker ended with {worker.returncode}; it is started again", flush=True)
    os.execv(AWAIT_RELEASE, [AWAIT_RELEASE])


def _fleet_has_changed(aws: Aws, release: Path, environment: Path) -> bool:
    """Whether scheduler and drivers run other code than this worker; one that cannot know stays."""
    try:
        return bool(other_engine(aws, release, environment))
    except AwsError as error:
        print(error, flush=True)
        return False


def certify(facts: Facts, aws: Aws) -> None:
    """Have a certificate of the cluster's CA for this worker: kept from before, else asked for in the bucket."""
    WORKER_TLS.folder.mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + CERTIFICATE_DEADLINE_S
    said = asked = ""
    while True:
        try:
            aws.get(KEYS.ca, WORKER_TLS.ca)
            if fits(WORKER_TLS, "worker"):
                own(WORKER_TLS, "worker")
                return
            if not asked:
                aws.put(make_request(WORKER_TLS, "worker", subject=facts.me), KEYS.request(facts.me))
                asked = "asked for a certificate"
                print("asked the head for a certificate; its signer gives it: sweepfleet-signer", flush=True)
            aws.get(KEYS.certificate(facts.me), WORKER_TLS.certificate("worker"))
        except AwsError as error:
            if not said:
                print(f"no certificate yet: {error}", flush=True)
            said = str(error)
        else:
            continue
        if time.monotonic() > deadline_s:
            sys.exit(
                f"no certificate from the head in {CERTIFICATE_DEADLINE_S} s ({asked or 'could not ask'}): {said}"
            )
        time.sleep(1)


def start_head(facts: Facts, environment: Path) -> None:
    """Make what the head needs and start its units; harmless when it is all there.

    Scheduler and workers stay with the code and environment that they run in while a run goes on.
    """
    data = Data(Path(facts.data))
    make_ca(data.tls, name=f"sweepfleet {facts.stack} {facts.role_id}")
    for part in ("scheduler", "driver"):
        if not fits(data.tls, part):
            request = make_request(data.tls, part, subject=part)
            sign(data.tls, request, data.tls.certificate(part), subject=part)
    own(data.tls, "scheduler", "driver")
    for folder in (data.runs, data.jobs, data.keeper, data.asked):
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, SERVICE_USER, SERVICE_USER)
    changed = _install_units()
    _systemctl("daemon-reload")
    aws = door(facts)
    renewed = renew_fleet(aws, data, release=HOME.current.resolve(), environment=environment)
    aws.put(data.tls.ca, KEYS.ca)  # what every worker waits for
    _systemctl("enable", *SERVICES, ASKED, SCHEDULER)
    _systemctl("restart", *SERVICES, ASKED)  # their code may be newer than what they run, and nobody notices
    _systemctl("restart" if renewed or (SCHEDULER in changed and not active_runs(data)) else "start", SCHEDULER)
    for job in active_jobs(data.jobs):  # after a reboot, or on a new head
        _systemctl("start", "--no-block", job.unit)


def _install_units() -> set[str]:
    """Put the release's unit files in place; the names of those that differ from what was there."""
    changed = set()
    for unit in sorted(UNITS.iterdir()):
        installed = SYSTEMD / unit.name
        text = unit.read_text()
        if not installed.exists() or installed.read_text() != text:
            write_whole(installed, text)
            changed.add(unit.name)
    return changed


def _systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True)


if __name__ == "__main__":
    os.umask(0o022)
    _role, _environment = sys.argv[1:]
    try:
        {"head": start_head, "worker": start_worker}[_role](Facts.read(), Path(_environment))
    except (AwsError, data_files.DataError) as _error:
        sys.exit(str(_error))  # the boot's unit tries again
