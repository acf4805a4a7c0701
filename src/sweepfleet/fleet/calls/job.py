"""An Executor's calls as a job on the head: what it is asked for, and how it is handed over."""

from __future__ import annotations

import math
import re
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.fleet.calls.channel import open_channel
from sweepfleet.fleet.code.push import Pushed
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Budget, rate_of
from sweepfleet.fleet.money.estimate import vcpus
from sweepfleet.fleet.runs import jobs, travel
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.machine.job import CALLS, Job
from sweepfleet.run.calls.line import Connection

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # of a systemd unit's instance, and of a key in the bucket


@dataclass(frozen=True, slots=True)
class Order:
    """A job, and what it means for whoever pays."""

    job: Job
    lines: tuple[str, ...]


def order(fleet: Fleet, release: Pushed, *, run: str | None, max_workers: int | None, cpus: int) -> Order:
    """What to ask of the cluster; asks AWS for prices.

    Args:
        fleet: the cluster.
        release: whose code the calls run with.
        run: the name under which results are kept; None: they are not.
        max_workers: calls at once.
        cpus: of a call.

    Raises:
        UsageError: the name cannot be a run's.
        ClusterError: AWS refuses.
    """
    if run is not None and not NAME.fullmatch(run):
        raise UsageError(f"run={run!r} cannot be a run's name on a cluster. Use letters, digits, `_`, `.` and `-`.")
    out = fleet.outputs
    each = max(1, min(vcpus(fleet.cloud, out.worker_instance_types).values()) // cpus)
    most = min(out.max_workers, math.ceil(max_workers / each)) if max_workers else out.max_workers
    rate = rate_of(out, fleet.cloud, count=most, cache=fleet.folder.prices_file)
    budget = Budget(out.budget_usd, None)
    job = Job(
        name=run or f"calls-{uuid.uuid4().hex[:8]}",
        release=release.sha256,
        environment=release.lock,
        engine=release.engine,
        grid="",
        command_line=f"sweepfleet.Executor in {sys.argv[0] or 'python'}",
        submitted=time.time(),
        retry_failed=False,
        workers_needed=most,
        slots_each=each,
        usd_per_worker_hour=rate.usd_per_worker_hour,
        budget_usd=budget.usd,
        kind=CALLS,
        durable=run is not None,
    )
    where = f"Executor on stack {out.stack} in {out.region} · run {job.name}"
    what = f"release {release.label}, at most {counted(most, 'worker')}"
    return Order(job, (f"{where} · {what}", rate.line(most, budget=budget)))


@dataclass(frozen=True, slots=True)
class JobOnHead:
    """See `fleet.calls.link.Cluster`."""

    fleet: Fleet
    job: Job
    say: Callable[[str], None]

    def connect(self) -> Connection:
        """See there; says what the job waits for."""
        return open_channel(self.fleet, self.job.name, waits=lambda what: self.say(f"The head: {what}"))

    def start(self) -> None:
        """Hand the job over, unless the head has it.

        Raises:
            UsageError: an active run of this name is another one.
            ClusterError: the head cannot take it.
        """
        with self.fleet.head(say=self.say) as head:
            with TemporaryDirectory() as here:
                archive = Path(here, "job.tar")
                travel.pack_job(archive, self.job)
                taken = jobs.take_over(head, archive, self.job.name)
            if not taken:
                its = Job.from_json(head.ask("cat", str(jobs.folder_of(self.job.name).job)))
                self._check(its)

    def _check(self, its: Job) -> None:
        if not (its.kind == CALLS and its.durable and self.job.durable):
            raise UsageError(jobs.goes_on(self.job.name))
        if its.release != self.job.release:
            raise UsageError(
                f"The run {its.name} is active with an older release than the cluster's. Wait until it has ended, or "
                f"cancel it: inv cancel --name {its.name}"
            )
