"""What the measurements run at each point: nothing, or a known time of one core's work."""

from __future__ import annotations

import time


def noop(*_: object, **__: object) -> float:
    """Do nothing, so that all the time measured is the machinery's."""
    return 0.0


def busy(i: int, ms: float) -> float:  # noqa: ARG001 - tells the points apart
    """Keep one core busy for `ms` milliseconds; how long it really took, in seconds."""
    begin_s = time.perf_counter()
    end_s = begin_s + ms / 1000
    while (now_s := time.perf_counter()) < end_s:
        pass
    return now_s - begin_s
