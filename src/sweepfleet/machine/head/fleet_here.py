"""The fleet, as a console or a notebook on the head has it."""

from __future__ import annotations

import concurrent.futures
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head.job_here import submit, wait_running
from sweepfleet.machine.job import CALLS, CLIENT, Job, JobFolder
from sweepfleet.run.text import dollars

NO_LIMITS = (
    "An earlier version began this session, and the head does not know the stack's limits. End it and begin a new "
    "one: inv console --end (or inv notebook --end)"
)


@dataclass
class FleetHere:
    """The cluster of this head. Workers are started for what it is asked for, within the stack's limits."""

    stack: str
    head_ip: str
    data: Data
    kind: str  # of session: the first word of its runs' names
    like: Job | None  # a job of this session's release with the stack's limits; None: an earlier version began it
    make: Callable[..., Any]  # `sweepfleet.Executor`
    _client: Any = None
    _folder: JobFolder | None = None  # of the client's job
    _said: Callable[[str], None] = field(default=print)

    def client(self, *, unpriced: bool = False) -> Any:
        """Dask's client of the fleet's scheduler: the same one each time, and dask's default from then on.

        It is a run of the cluster until it is closed: `inv status` shows it, and `inv cancel` ends it.

        Raises:
            UsageError: the price of a worker is unknown, so that no budget can be enforced, and not `unpriced`; or
                runs of another release are active.
        """
        from distributed import Client

        active = self._folder is not None and self._folder.active.exists()
        if active and self._client is not None and self._client.status == "running":
            return self._client
        if self._client is not None:
            self._client.close()
        job = self._job(CLIENT)
        if job.usd_per_worker_hour is None and not unpriced:
            budget = "" if job.budget_usd is None else f" is {dollars(job.budget_usd)} USD, and"
            raise UsageError(
                f"The stack's budgetUsd{budget} cannot be enforced: the price of a worker is unknown. Go without a "
                "limit: fleet.client(unpriced=True)"
            )
        self._folder = submit(self.data, job)
        wait_running(self._folder, say=self._said)
        self._client = Client(dask_command.address(self.head_ip), security=self._security(), name=job.name)
        return self._client

    def _security(self) -> Any:
        from distributed import Security

        tls = self.data.tls
        return Security(
            tls_ca_file=str(tls.ca),
            tls_client_cert=str(tls.certificate("driver")),
            tls_client_key=str(tls.key("driver")),
            require_encryption=True,
        )

    def executor(self, max_workers: int | None = None, **named: Any) -> Any:
        """A `sweepfleet.Executor` of the fleet's workers; arguments and errors as there, without `stack`."""
        return self.make(max_workers, stack=self, **named)

    def calls(self, *, run: str | None, max_workers: int | None, cpus: int) -> Job:
        """The job of an Executor's calls; arguments as of `sweepfleet.Executor`. Raises UsageError."""
        job = self._job(CALLS)
        each = max(1, job.slots_each // cpus)
        most = min(job.workers_needed, math.ceil(max_workers / each)) if max_workers else job.workers_needed
        return replace(job, name=run or job.name, durable=run is not None, workers_needed=most, slots_each=each)

    def _job(self, kind: str) -> Job:
        if self.like is None:
            raise UsageError(NO_LIMITS)
        what = self.kind if kind == CLIENT else f"{self.kind}-calls"
        name = f"{what}-{secrets.token_hex(3)}"
        return replace(self.like, name=name, kind=kind, command_line=self.kind, submitted=time.time())

    def __repr__(self) -> str:
        """What to type."""
        return (
            f"<the fleet of {self.stack}: fleet.client() is dask's client of its scheduler, fleet.executor() an "
            "Executor of its workers>"
        )


class OwnExecutor(concurrent.futures.Executor):
    """An Executor of the fleet's workers that starts with its first call, and again after it was shut down."""

    def __init__(self, fleet: FleetHere) -> None:
        self._fleet, self._executor = fleet, None

    def _started(self) -> Any:
        if self._executor is None or self._executor._broken:  # noqa: SLF001 - the standard library's name for it
            self._executor = self._fleet.executor()
        return self._executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """See `sweepfleet.Executor`."""
        future: concurrent.futures.Future[Any] = self._started().submit(fn, *args, **kwargs)
        return future

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **named: Any) -> Iterator[Any]:
        """See `sweepfleet.Executor`."""
        found: Iterator[Any] = self._started().map(fn, *iterables, **named)
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as there
        """End its run; the next call begins another one."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait, cancel_futures=cancel_futures)

    def __repr__(self) -> str:
        """Its state."""
        return repr(self._executor) if self._executor is not None else "<an Executor of the fleet's workers>"
