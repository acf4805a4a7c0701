"""How many workers a run asks for: counted from what is left of it, and from how long its points take. Pure."""

from __future__ import annotations

import math

WORTH_S = 60.0  # of work for each slot of a worker: with less, a start takes longer than it saves


def workers_for(points: int, *, point_s: float | None, slots_each: int, most: int) -> int:
    """The number of workers that are of use for what is left.

    Args:
        points: that have not ended.
        point_s: how long one takes, as far as it was measured; None: it is unknown, and one worker measures it.
        slots_each: of a worker.
        most: as many as the sweep, its command and the stack allow.

    Returns:
        no more than have a point for each of their slots, and than have work for a while; 0 when nothing is left.
    """
    if points <= 0 or most <= 0:
        return 0
    if point_s is None:
        return 1
    room = math.ceil(points / slots_each)
    worth = math.ceil(min(points * point_s / (slots_each * WORTH_S), room))
    return max(1, min(most, room, worth))
