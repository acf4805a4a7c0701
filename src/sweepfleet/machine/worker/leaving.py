"""How a worker leaves: no new bundle, those in hand cut after their points, long points told and then ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sweepfleet.machine.worker.stopping import DRAIN_S
from sweepfleet.slot.leaving import VARIABLE, announce, announced
from sweepfleet.slot.pool import Pool, all_pools

SIGNAL_S = 30.0  # before the end, long points get SIGTERM
DROP_S = 12.0  # before the end, points that run on are ended, and what they wrote is stored
CLOSE_S = 2.0  # for the worker to say goodbye
LOOK_S = 0.05
REASON = "leaves"


class Leaver(Protocol):
    """A worker, as this module needs it."""

    @property
    def busy(self) -> bool:
        """Whether a task runs or waits here, or a result that nobody has fetched."""

    def tell_leaving(self, left_s: float) -> None:
        """Tell the head that AWS takes this machine back in so many seconds."""

    def take_no_more(self) -> None:
        """Have the scheduler send no other task."""

    async def close(self, *, reason: str) -> object:
        """End it."""


async def leave(worker: Leaver) -> None:
    """Bring what this worker has in hand to its end and to the driver, then close it.

    Whoever ends the machine has written into the file of `slot.leaving.VARIABLE` when that is; else it is soon.
    """
    until_s, taken = _until_s()
    if taken:
        worker.tell_leaving(until_s - time.monotonic())
    worker.take_no_more()
    steps: tuple[tuple[Callable[[Pool], None], float], ...] = (
        (Pool.cut, SIGNAL_S),
        (Pool.interrupt, DROP_S),
        (Pool.drop_points, CLOSE_S),
    )
    for step, next_s in steps:
        for pool in all_pools():
            await asyncio.to_thread(step, pool)
        if await _is_done(worker, until_s - next_s):
            break
    await worker.close(reason=REASON)


async def _is_done(worker: Leaver, until_s: float) -> bool:
    """Wait until it has nothing left, or until then; whether it has nothing left."""
    while worker.busy and time.monotonic() < until_s:  # noqa: ASYNC110 - dask's worker has no event for that
        await asyncio.sleep(LOOK_S)
    return not worker.busy


def _until_s() -> tuple[float, bool]:
    """When this machine ends, on the clock of time.monotonic(), and whether AWS said so; its points are told."""
    path = Path(name) if (name := os.environ.get(VARIABLE)) else None
    until_s = announced(path) if path else None
    if until_s is not None:
        return until_s, True
    until_s = time.monotonic() + DRAIN_S
    if path:
        announce(path, until_s)
    return until_s, False
