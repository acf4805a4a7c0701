"""The points of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from sweepfleet.grid.permutation import Permutation
from sweepfleet.grid.space import Point, Space
from sweepfleet.slot.context import Context


@lru_cache(maxsize=8)
def space_of(context: Context) -> Space:
    """The points of a sweep."""
    return Space(context.plan)


def points_of(space: Space, spans: Sequence[tuple[int, int]], shuffle: int | None) -> Iterator[Point]:
    """The points of these spans, made one at a time; see `slot.runner.Job`."""
    if shuffle is None:
        for start, stop in spans:
            yield from space.points(start, stop)
    else:
        index_at = Permutation(space.size, shuffle)
        for start, stop in spans:
            for position in range(start, stop):
                yield space.point(index_at(position))
