"""The way of a dask client to the cluster's scheduler: a job on the head, a certificate, and a tunnel."""

from __future__ import annotations

import contextlib
import getpass
import io
import re
import secrets
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.fleet.client import versions
from sweepfleet.fleet.client.certificate import Files, certify
from sweepfleet.fleet.code.push import Pushed
from sweepfleet.fleet.code.release import package_digest
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Budget, rate_of
from sweepfleet.fleet.money.estimate import vcpus
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.reach.tunnel import LOOPBACK, tunnel
from sweepfleet.fleet.runs import jobs
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.facts import SCHEDULER_PORT
from sweepfleet.machine.job import CLIENT, Job
from sweepfleet.run.text import dollars

NOT_PLAIN = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Way:
    """All that a dask client needs."""

    name: str  # of its job, with which its id begins
    address: str
    files: Files


@contextlib.contextmanager
def way_of(fleet: Fleet, *, workers: int | None, unpriced: bool, steps: Steps) -> Iterator[Way]:
    """Open the way for as long as the block lasts. The job on the head ends when the client has gone.

    Args:
        fleet: the cluster.
        workers: at most so many; None: as many as the stack allows.
        unpriced: also where the price of a worker is unknown, and so no budget can be enforced.
        steps: shows what is being done.

    Raises:
        UsageError: an earlier version made the stack, nothing was pushed yet, the budget cannot be enforced, versions
            differ, or a run of another release is active.
        ClusterError: the cluster cannot be reached.
    """
    if not fleet.outputs.worker_peers:
        raise UsageError(
            f"An earlier version made the stack {fleet.outputs.stack}: its workers cannot send each other data, and "
            "dask's tasks would wait for it without end. Update the stack: inv up"
        )
    release = fleet.release()
    if release.package not in ("", package_digest()):
        raise UsageError(
            f"The cluster's release {release.label} has another sweepfleet than this one, and its head may not know "
            "what a client needs. Push this checkout: inv push"
        )
    job = job_of(fleet, release, workers=workers, unpriced=unpriced)
    with TemporaryDirectory(prefix="sweepfleet-") as folder:
        files = Files(Path(folder))
        steps.step("Connecting to the head")
        with fleet.head() as head:
            versions.check(versions.here(), versions.there(head, lock=release.lock))
            certify(head, files, name=job.name)
            steps.step("Starting the client's job on the head")
            _send(head, job, Path(folder))
            _wait(head, job.name, say=steps.step)
        steps.step("Opening the tunnel")
        port = _free_port()
        with tunnel(fleet, port, to=SCHEDULER_PORT, address=fleet.outputs.head_private_ip):
            yield Way(job.name, f"tls://{LOOPBACK}:{port}", files)


def job_of(fleet: Fleet, release: Pushed, *, workers: int | None, unpriced: bool = False) -> Job:
    """A client as the head is asked to look after it.

    Raises:
        UsageError: fewer than one worker, or more than the stack allows; or the budget cannot be enforced.
    """
    out = fleet.outputs
    if workers is not None and not 1 <= workers <= out.max_workers:
        raise UsageError(f"workers={workers}: 1 to {out.max_workers}, which the stack allows.")
    most = workers or out.max_workers
    rate = rate_of(out, fleet.cloud, count=most, cache=fleet.folder.prices_file)
    if rate.usd_per_worker_hour is None and not unpriced:
        raise UsageError(
            f"The stack's budgetUsd is {dollars(out.budget_usd)} USD, and cannot be enforced: the price of "
            f"{', '.join(rate.unpriced)} is unknown. Allow the price requests to AWS (docs/cluster.md), choose other "
            "workerInstanceTypes, or go without a limit: client(unpriced=True)"
        )
    who = NOT_PLAIN.sub("-", getpass.getuser().lower()).strip("-") or "user"
    return Job(
        name=f"client-{who}-{secrets.token_hex(3)}",
        release=release.sha256,
        environment=release.lock,
        engine=release.engine,
        grid="",
        command_line="Cluster.client",
        submitted=time.time(),
        retry_failed=False,
        workers_needed=most,
        usd_per_worker_hour=rate.usd_per_worker_hour,
        budget_usd=Budget(out.budget_usd).usd,
        rates=rate.rates.to_dict() if rate.rates else None,
        slots_each=min(vcpus(fleet.cloud, out.worker_instance_types).values()),
        kind=CLIENT,
    )


def _send(head: Host, job: Job, folder: Path) -> None:
    data = job.to_json().encode()
    archive = folder / "job.tar"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("job.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    jobs.send(head, archive, name=job.name)


def _wait(head: Host, name: str, *, say: Callable[[str], None]) -> None:
    """Wait until the head looks after the client."""
    last = ""
    for state in jobs.follow(head, name):
        if state.ended:
            raise UsageError(state.error or "The client's job on the head has ended: inv logs")
        if state.state == "running":
            return
        if state.waiting_for and state.waiting_for != last:
            last = state.waiting_for
            say(f"The head waits for {last}")
    raise ClusterError("The head stopped answering.")


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind((LOOPBACK, 0))
        return int(trial.getsockname()[1])
