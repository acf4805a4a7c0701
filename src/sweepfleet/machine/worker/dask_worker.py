"""A cluster's worker: dask's own, in a process that outlives its scheduler while it computes for a sweep.

`dask_worker ADDRESS --name NAME --slots N ...`. When the scheduler is lost, dask's worker ends, as it
always does; a new one takes its place in this process and joins the scheduler that comes next. The runners and what
they hold (`slot.held`) know nothing of it. Without runners the process ends, and whoever started it begins anew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from distributed import Status, Worker
from distributed._signals import wait_for_signals

from sweepfleet.machine import leaving
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.facts import Facts
from sweepfleet.machine.in_process import door
from sweepfleet.machine.renew import other_engine
from sweepfleet.machine.worker.leaving import leave
from sweepfleet.run.calls.far_slots import end_other_calls, executors
from sweepfleet.run.slots import end_others
from sweepfleet.slot.pool import pools

JOIN_S = 60.0  # for a scheduler to answer, after which a process without runners begins anew
AGAIN_S = 1.0  # before it is asked again: it may not have missed the worker yet whose place this one takes
LOOK_S = 15.0  # after it has joined again, until it makes sure that the fleet was not renewed meanwhile; then doubled
# How dask's worker says that its scheduler is gone, or takes it for gone.
LOST = {"worker-handle-scheduler-connection-broken", "worker-heartbeat-missing"}


class ClusterWorker(Worker):  # type: ignore[misc]
    """Dask's worker, which keeps why it ended, and does not wait for bundles that are active."""

    why = ""

    async def close(self, *words: Any, reason: str = "worker-close", **named: Any) -> Any:
        """Close it as dask does; when the scheduler is lost, the threads that compute go on."""
        self.why = self.why or reason
        if self.why in LOST:
            named["executor_wait"] = False
        return await super().close(*words, reason=reason, **named)

    def tell_leaving(self, left_s: float) -> None:
        """Tell the head that AWS takes this machine back in so many seconds."""
        self.log_event(leaving.TOPIC, {leaving.LEFT_S: left_s})

    def take_no_more(self) -> None:
        """Have the scheduler send no other task; those that are here already run."""
        self.batched_send(
            {"op": "worker-status-change", "status": Status.paused.name, "stimulus_id": f"leaving-{time.time()}"}
        )

    @property
    def busy(self) -> bool:
        """Whether a task runs or waits here, or a result that nobody has fetched."""
        state = self.state
        return bool(state.executing or state.long_running or state.ready or self.data)

    async def scheduler_id(self) -> str:
        """Which scheduler it has joined: one that starts anew is another one. Empty when it is gone already."""
        with contextlib.suppress(OSError):
            return str((await self.scheduler.identity())["id"])
        return ""

    async def end_what_is_over(self) -> None:
        """End the runners of sweeps that ended while this scheduler had lost the worker: it knows them no more."""
        await asyncio.to_thread(end_others, self.plugins)
        await asyncio.to_thread(end_other_calls, self.plugins)


def busy() -> bool:
    """Whether this process has runners of a sweep, or slots of an Executor."""
    return bool(pools() or executors())


async def serve(make: Callable[[], ClusterWorker], *, may_join: Callable[[], bool]) -> int:
    """Be a worker of one scheduler after the other, until one sends it away or there is nothing to stay for.

    Args:
        make: a worker, not started.
        may_join: whether a scheduler that comes next has the code that runs here; asked in a thread.

    Returns:
        the process's exit code.
    """
    again, scheduler = False, ""
    while True:
        if again and not await asyncio.to_thread(may_join):
            return 0
        worker = make()
        try:
            await worker
        except (OSError, RuntimeError):  # TimeoutError is an OSError; RuntimeError: it was refused
            if not (again and busy()):
                return 1
            await asyncio.sleep(AGAIN_S)
            continue
        before, scheduler = scheduler, await worker.scheduler_id()
        if again and scheduler and scheduler == before:  # to another one, drivers are still on their way
            await worker.end_what_is_over()
        if again:
            await _first(worker.finished(), _until_renewed(may_join))
        else:
            await worker.finished()
        if worker.why not in LOST or not busy():
            return 0
        again = True


async def _until_renewed(may_join: Callable[[], bool]) -> None:
    """Return when the fleet runs other code than this process."""
    pause_s = LOOK_S
    while True:
        await asyncio.sleep(pause_s)
        if not await asyncio.to_thread(may_join):
            return
        pause_s *= 2


async def _first(*waits: Awaitable[Any]) -> None:
    """Wait for one of several."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _run(make: Callable[[], ClusterWorker], may_join: Callable[[], bool]) -> int:
    """Serve until the end, or until a signal: then what is in hand is brought to its end."""
    workers: list[ClusterWorker] = []  # the last one is the present one
    leaves = False

    def made() -> ClusterWorker:
        workers[:] = [make()]
        return workers[0]

    serving = asyncio.ensure_future(serve(made, may_join=lambda: not leaves and may_join()))
    await _first(asyncio.shield(serving), wait_for_signals())
    if serving.done():
        return serving.result()
    leaves = True
    if workers and workers[0].status == Status.running:
        await leave(workers[0])
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return 0


def _same_engine(environment: Path) -> bool:
    """Whether the fleet runs the code and environment of this process; where that cannot be known, it does."""
    try:
        return not other_engine(door(Facts.read()), Path(__file__).parents[5], environment)
    except AwsError as error:
        print(error, flush=True)
        return True


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address", help="the scheduler's")
    parser.add_argument("--name", help="of this worker")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--ports", help="FIRST:LAST, one of which it listens on")
    parser.add_argument("--scratch", help="a folder for dask's files")
    parser.add_argument("--environment", type=Path, help="of the release, which may be renewed; none: it never is")
    given = parser.parse_args()

    def make() -> ClusterWorker:
        return ClusterWorker(
            given.address,
            name=given.name,
            nthreads=given.slots,
            port=given.ports,
            local_directory=given.scratch,
            protocol=given.address.partition("://")[0],
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            death_timeout=JOIN_S,
        )

    may_join = (lambda: _same_engine(given.environment)) if given.environment else (lambda: True)
    return asyncio.run(_run(make, may_join))


if __name__ == "__main__":
    sys.exit(main())
