"""Takes idle workers out of a scheduler's use, so that their machines can be ended while others compute."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from distributed import Scheduler, Status

DRAINED = "sweepfleet-drained"  # in what the scheduler keeps of a worker: it gets no bundles, and knows nothing of it


def retire_idle(names: Sequence[str], *, most: int, dask_scheduler: Scheduler) -> list[str]:
    """Retire workers that have no bundle and no result that a driver still has to fetch.

    It runs in the scheduler's event loop, which hands out no bundle meanwhile: a worker that is retired gets none.

    Args:
        names: of workers that may go, the first ones first.
        most: to retire, those included that were retired before and are still there.
        dask_scheduler: as dask's `run_on_scheduler` gives it.

    Returns:
        the names of the retired ones.
    """
    by_name = {str(worker.name): worker for worker in dask_scheduler.workers.values()}
    idle = [name for name in names if name in by_name and not (by_name[name].processing or by_name[name].has_what)]
    gone = retired(dask_scheduler, idle)
    chosen = [name for name in idle if name in gone] + [name for name in idle if name not in gone]
    for name in chosen[:most]:
        worker, stimulus = by_name[name], f"retire-idle-{time.time()}"
        # As `Scheduler.retire_workers` does it, at once: it would wait for its turn.
        dask_scheduler.handle_worker_status_change(Status.closing_gracefully, worker, stimulus)
        told = {"op": "worker-status-change", "status": Status.closing_gracefully.name, "stimulus_id": stimulus}
        dask_scheduler.stream_comms[worker.address].send(told)
    return chosen[:most]


def drain(names: Sequence[str], *, most: int, keep: int, dask_scheduler: Scheduler) -> list[str]:
    """Give so many of these workers no further bundle: each comes to have nothing, and can be retired then.

    What they have in hand they bring to its end. Those that a call before has chosen stay chosen; where they are too
    many now, they get bundles again.

    Args:
        names: of all workers that may be chosen.
        most: to choose.
        keep: workers, of all, that are to get bundles; a machine that has not joined yet gets none.
        dask_scheduler: as dask's `run_on_scheduler` gives it.

    Returns:
        the names of the chosen ones.
    """
    working = (Status.running, Status.paused)
    may = [one for one in dask_scheduler.workers.values() if str(one.name) in names and one.status in working]
    may = [one for one in may if one.status == Status.running or one.extra.get(DRAINED)]  # others leave by themselves
    may.sort(key=lambda one: (not one.extra.get(DRAINED), len(one.processing), str(one.name)))
    others = [one for one in dask_scheduler.workers.values() if one.status == Status.running and one not in may]
    most = min(most, max(0, len(may) + len(others) - keep))
    for place, worker in enumerate(may):
        chosen = place < most
        if chosen != bool(worker.extra.get(DRAINED)):
            worker.extra[DRAINED] = chosen
            status = Status.paused if chosen else Status.running
            dask_scheduler.handle_worker_status_change(status, worker, f"drain-{time.time()}")
    return [str(one.name) for one in may[:most]]


def retired(dask_scheduler: Scheduler, names: Collection[str]) -> set[str]:
    """Those of these workers that get no bundles any more."""
    return {
        str(worker.name)
        for worker in dask_scheduler.workers.values()
        if str(worker.name) in names and worker.status == Status.closing_gracefully
    }
