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

from worker.machine import dask_command
from worker.machine.aws import Aws, AwsError
from worker.machine.bring import open_counter, serve_counter
from worker.machine.certificates import fits, make_ca, make_request, own, sign
from worker.machine.facts import HOME, KEYS, SERVICE_USER, WORKER_TLS, Data, Facts
from worker.machine.interruption import notice
from worker.machine.publish import engine_of

UNITS = Path(__file__).with_name("units")
SYSTEMD = Path("/etc/systemd/system")
SCRATCH = Path("/var/tmp/sweepfleet")  # noqa: S108 - made by root, and given to the service user alone
AWAIT_RELEASE = "/usr/local/lib/sweepfleet/await-release"
CERTIFICATE_DEADLINE_S = 600
NOTICE_EVERY_S = 2.0  # AWS gives two minutes, and recommends a look every five seconds
RUNNING = ("sweepfleet-signer.service", "sweepfleet-scheduler.service", "sweepfleet-keeper.service")


def start_worker(facts: Facts, environment: Path) -> None:
    """Be a worker of the cluster, until this instance is taken back; then returns.

    Stays root itself, and runs dask's worker as the service user: it brings releases that runs ask for, and
    watches for the interruption notice. When the worker ends, the machine begins again with the newest release.

    Raises:
        SystemExit: no certificate came in time. The boot's unit tries again.
    """
    aws = Aws(facts)
    certify(facts, aws)
    open_counter(SERVICE_USER)
    shutil.rmtree(SCRATCH, ignore_errors=True)  # of a worker that was killed here
    SCRATCH.mkdir(mode=0o700)
    shutil.chown(SCRATCH, SERVICE_USER, SERVICE_USER)
    command = dask_command.worker(
        environment / "bin" / "python",
        head_ip=facts.head_ip,
        name=facts.instance_id,
        slots=len(os.sched_getaffinity(0)),
        scratch=SCRATCH,
    )
    worker = subprocess.Popen(
        command,
        env=os.environ
        | dask_command.environment(WORKER_TLS, "worker")
        | {"PYTHONPATH": str(HOME.current.resolve()), "HOME": str(SCRATCH)},
        cwd=SCRATCH,
        user=SERVICE_USER,
        group=SERVICE_USER,
        extra_groups=[],
    )
    looked_s = 0.0
    while worker.poll() is None:
        time.sleep(0.5)
        serve_counter(aws)
        if time.monotonic() - looked_s > NOTICE_EVERY_S:
            looked_s = time.monotonic()
            said = notice()
            if said:
                print(f"this instance is being taken back, the worker leaves: {said}", flush=True)
                worker.terminate()
                worker.wait()
                return
    print(f"the worker ended with {worker.returncode}; beginning again", flush=True)
    time.sleep(1)
    os.execv(AWAIT_RELEASE, [AWAIT_RELEASE])


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
            aws.get(KEYS.certificate(facts.me), WORKER_TLS.certificate("worker"))
        except AwsError as error:
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

    Scheduler and workers stay in the environment that they run in while a run goes on.
    """
    data = Data(Path(facts.data))
    make_ca(data.tls, name=f"sweepfleet {facts.stack} {facts.role_id}")
    for part in ("scheduler", "driver"):
        if not fits(data.tls, part):
            request = make_request(data.tls, part, subject=part)
            sign(data.tls, request, data.tls.certificate(part), subject=part)
    own(data.tls, "scheduler", "driver")
    Aws(facts).put(data.tls.ca, KEYS.ca)
    for folder in (data.runs, data.jobs):
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, SERVICE_USER, SERVICE_USER)
    changed = _install_units()
    _systemctl("daemon-reload")
    changed |= renew_fleet(environment)
    _systemctl("enable", *RUNNING)
    _systemctl("restart" if changed else "start", *RUNNING)
    for job in sorted(data.jobs.iterdir()):
        if (job / "wanted").exists():  # a run that goes on: after a reboot, or on a head made anew
            _systemctl("start", "--no-block", f"sweepfleet-run@{job.name}.service")


def renew_fleet(environment: Path, *, starting: str = "") -> bool:
    """Have scheduler and workers run the newest release, unless a run goes on in the one that they run.

    Args:
        environment: of the newest release.
        starting: the name of a run that is about to start, and does not count.

    Returns:
        whether the scheduler must be started anew; workers follow it.
    """
    engine = engine_of(HOME.current.resolve(), environment.name)
    known = HOME.fleet_engine.read_text() if HOME.fleet_engine.exists() else None
    if known == engine or (known is not None and runs_going_on() - {starting}):
        return False
    _point(HOME.fleet_environment, environment)
    HOME.fleet_engine.write_text(engine)
    return True


def runs_going_on() -> set[str]:
    """The names of runs whose driver is there."""
    pattern = "sweepfleet-run@*.service"
    listed = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", pattern]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    units = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
    return {unit.removeprefix("sweepfleet-run@").removesuffix(".service") for unit in units}


def _install_units() -> bool:
    """Put the release's unit files in place; whether any differs from what was there."""
    changed = False
    for unit in sorted(UNITS.iterdir()):
        installed = SYSTEMD / unit.name
        text = unit.read_text()
        if not installed.exists() or installed.read_text() != text:
            installed.write_text(text)
            changed = True
    return changed


def _point(link: Path, target: Path) -> None:
    """Have a link point somewhere."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(link)


def _systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True)


if __name__ == "__main__":
    os.umask(0o022)
    _role, _environment = sys.argv[1:]
    {"head": start_head, "worker": start_worker}[_role](Facts.read(), Path(_environment))
