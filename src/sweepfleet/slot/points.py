"""The points of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweepfleet.grid.permutation import Permutation
from sweepfleet.grid.space import Point, Space


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
