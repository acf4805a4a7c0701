"""How many workers a run asks for: counted from what is left of it, and from how long its points take. Pure."""

from __future__ import annotations

import math

MARGIN = 0.9  # of the time until a deadline, in which the work is to be done: estimates are rough
START_S = 60.0  # and less than that, for workers to start
WORTH_S = 60.0  # of work for each slot of a worker: with less, a start takes longer than it saves


def workers_for(
    points: int, *, point_s: float | None, slots_each: int, most: int, time_s: float | None = None
) -> int:
    """The number of workers that are of use for what is left.

    Args:
        points: that have not ended.
        point_s: how long one takes, as far as it was measured; None: it is unknown, and one worker measures it.
        slots_each: of a worker.
        most: as many as the sweep, its command and the stack allow.
        time_s: until the sweep's deadline, which may be over; None: it has none.

    Returns:
        no more than have a point for each of their slots, and than have work for a while, or meet the deadline; 0
        when nothing is left.
    """
    if points <= 0 or most <= 0:
        return 0
    if point_s is None:
        return 1
    room = math.ceil(points / slots_each)
    each_s = WORTH_S if time_s is None else max(1.0, min(time_s * MARGIN, time_s - START_S))  # of work for a slot
    worth = math.ceil(min(points * point_s / (slots_each * each_s), room))
    return max(1, min(most, room, worth))
