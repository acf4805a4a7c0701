"""The driver of an Executor's calls on the cluster, in the unit of a run: its clients come over a socket.

With `run=` it goes on without a client until every call that it was given has ended, also after it was killed.
Without, it ends with its client.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import HOME, Data, Facts
from sweepfleet.machine.head.call_load import CallLoad
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.durable import opened
from sweepfleet.run.calls.far import FarDriver, check
from sweepfleet.run.calls.far_engine import AHEAD, far_engine
from sweepfleet.run.calls.here import spec_of
from sweepfleet.run.calls.ledger import CallLedger
from sweepfleet.run.calls.spool import Spool
from sweepfleet.slot.calls.spec import Spec

FIRST_S = 120.0  # for the first client to come, after which nobody is expected any more
ALL_AHEAD = 4096  # bundles a slot that a client may send where results are kept: the laptop may close


@dataclass(frozen=True, slots=True)
class Calls:
    """What came of them."""

    done: int
    failed: int

    def summary(self) -> dict[str, Any]:
        """For the progress file."""
        return {"state": "done", "calls": {"done": self.done, "failed": self.failed}}


def run_calls(folder: JobFolder, job: Job, facts: Facts, reporter: Reporter) -> Calls:
    """Drive calls until their client has ended; with `run=`, until all that it sent have, too.

    Raises:
        UsageError: the client's request is not one that this release can serve.
        StorageError: results cannot be kept.
        ClusterError: the scheduler is gone.
    """
    slots_before = folder.read_progress().get("slots", 0) if job.durable else 0
    load = CallLoad(folder, reporter, slots_each=job.slots_each, most=job.workers_needed)
    with contextlib.ExitStack() as stack:
        ledger: CallLedger | None = None
        if job.durable:
            _, ledger = stack.enter_context(opened(Data(Path(facts.data)).runs, job.name))
        driver = FarDriver(ledger, Spool(folder.spool) if job.durable else None, load)
        driver.sessions.listen(folder.path, folder.socket.name)
        asked = driver.hello(FIRST_S)
        if asked is not None:
            _drive(driver, asked, folder, job, facts, slots_before=slots_before)
    return Calls(load.done, load.failed)


def _drive(
    driver: FarDriver, asked: wire.Hello, folder: JobFolder, job: Job, facts: Facts, *, slots_before: int
) -> None:
    try:
        check(asked)
    except UsageError as error:
        driver.refuse(str(error))
        raise
    root = HOME.release(job.release)
    spec = replace(spec_of(asked), path=_path(asked, root), folder=str(root))
    engine = far_engine(
        spec,
        driver.tell,
        address=dask_command.address(facts.head_ip),
        digest=digest_of(job, spec),
        root=root,
        machine=ClusterMachine(None),
        max_workers=asked.max_workers,
        hoped=job.workers_needed * job.slots_each,
        ahead=ALL_AHEAD if job.durable else AHEAD,
        slots_before=slots_before,
        stays=lambda: job.durable and not folder.cancelled.exists(),
    )
    driver.drive(asked, engine)


def _path(asked: wire.Hello, root: Path) -> tuple[str, ...]:
    """Where calls look for the project's modules: the client's folders, which are relative to its project."""
    return tuple(dict.fromkeys(str(root / each) for each in (*(asked.path or ()), ".")))


def digest_of(job: Job, spec: Spec) -> str:
    """A name for the slots of an Executor: the same for each of its drivers."""
    text = repr((job.name, job.submitted, job.release, spec))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
