"""What a user's dask client needs, asked in the scheduler's event loop; and the end of what it has there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Scheduler

FAIR = "sweepfleet-fair"  # the scheduler's plugin that counts what has ended
RUNS = frozenset({"processing", "queued", "no-worker"})  # states of a task that a worker could compute now
MOST_SEEN = 20_000  # tasks looked at in one turn, in which the scheduler does nothing else


@dataclass(frozen=True, slots=True)
class Use:
    """A client's tasks."""

    connected: bool
    runnable: int = 0  # tasks that could run now; of many, enough of them
    unfinished: int = 0  # that it waits for
    ended: int = 0
    used_s: float = 0.0  # thread-seconds of those that ended
    holders: int = 0  # workers that have results of it
    workers: int = 0  # of the cluster
    threads: int = 0  # of all of them


def use_of(name: str, *, enough: int, dask_scheduler: Scheduler) -> Use:
    """What a client has there; asks for no more runnable tasks than are `enough`.

    Args:
        name: as the client was made with.
        enough: as many as all workers could run at once.
        dask_scheduler: as dask's `run_on_scheduler` gives it.
    """
    there = list(dask_scheduler.workers.values())
    size: dict[str, Any] = {"workers": len(there), "threads": sum(one.nthreads for one in there)}
    ids = _ids(dask_scheduler, name)
    if not ids:
        return Use(connected=False, **size)
    wanted = {task for client in ids for task in dask_scheduler.clients[client].wants_what}
    unfinished = [task for task in wanted if task.state in RUNS or task.state == "waiting"]
    fair = dask_scheduler.plugins.get(FAIR)
    return Use(
        connected=True,
        runnable=_runnable(unfinished, enough),
        unfinished=len(unfinished),
        ended=sum(fair.ended.get(client, 0) for client in ids) if fair else 0,
        used_s=sum(fair.used_s.get(client, 0.0) for client in ids) if fair else 0.0,
        holders=sum(not wanted.isdisjoint(one.has_what) for one in there),
        **size,
    )


def _ids(dask_scheduler: Scheduler, name: str) -> list[str]:
    """The ids under which a scheduler knows the clients of this name."""
    return [client for client in dask_scheduler.clients if client.startswith(f"Client-{name}-")]


def _runnable(tasks: Iterable[Any], enough: int) -> int:
    """How many of these tasks, and of those that they wait for, could run now."""
    left, seen, found = list(tasks), set[Any](), 0
    while left and found < enough and len(seen) < MOST_SEEN:
        task = left.pop()
        if task in seen:
            continue
        seen.add(task)
        if task.state in RUNS:
            found += 1
        elif task.state == "waiting":
            left.extend(task.waiting_on)
    return found


def cancel_all(name: str, *, why: str, dask_scheduler: Scheduler) -> int:
    """Cancel all tasks of a client and drop its results; it is told why. Returns their number."""
    count = 0
    for client in _ids(dask_scheduler, name):
        keys = [task.key for task in dask_scheduler.clients[client].wants_what]
        dask_scheduler.stimulus_cancel(keys, client, force=False, reason="sweepfleet", msg=why)
        count += len(keys)
    return count
