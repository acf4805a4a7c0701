"""The points left to run, in bundles: index ranges, never parameters, and never all of them at once."""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweepfleet.grid.permutation import Permutation
from sweepfleet.grid.space import Space
from sweepfleet.run.ledger import Ledger
from sweepfleet.slot import records

TARGET_S = 1.0  # a bundle's length once a point's is known: what is in flight is lost with its machine
# While nothing is known, a bundle comes back this soon: with what it has finished, be it one point or all of these.
FIRST_S, FIRST_POINTS = 0.025, 16
LEAST_S = 0.015  # that a bundle of several points takes, also the last ones: handing one out takes half a millisecond
GROWTH = 32  # a bundle may be this many times longer than one that came back: the first estimates are rough
SHARE = 1.5  # a bundle is at most one slot's share of what is left, divided by this: the last ones end together
MAX_POINTS = records.MAX_POINTS // 4  # keeps the driver's memory small, and costs quick points 1 %
MAX_SPANS = 1024  # a bundle full of holes stays a few KB
PAGE = 10_000  # ended points looked up at once

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A bundle of a driver that died, active or finished on a living worker."""

    name: tuple[str, int]  # the dead driver's engine, and the bundle's number there
    spans: tuple[Span, ...]
    shuffle: int | None
    address: str  # of the worker


@dataclass(frozen=True, slots=True)
class Bundle:
    """Points for one slot: ranges of indexes, or of positions in a shuffled order."""

    number: int
    spans: tuple[Span, ...]
    shuffle: int | None = None
    limit_s: float | None = None  # it comes back with what has finished by then; None: when a runner says so
    found: Found | None = None  # it has begun already; None: it has not

    @property
    def points(self) -> int:
        """How many points it has."""
        return sum(stop - start for start, stop in self.spans)


@dataclass(frozen=True, slots=True)
class Ended:
    """A bundle came back: a packet's bytes."""

    bundle: Bundle
    packet: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """A bundle lost its machine, for the `times`-th time; dask has restarted it."""

    bundle: Bundle
    times: int


@dataclass(frozen=True, slots=True)
class Storing:
    """Bundles whose points have ended and whose files are not in the bucket yet; their rows are still unknown."""

    points: int = 0
    apart: int = 0  # bundles among them that have left their slots
    since: float = 0.0  # unix time of the first
    why: str = ""  # what the bucket said; empty: it only takes a while

    def __str__(self) -> str:
        results = "1 result waits for its" if self.points == 1 else f"{self.points:,} results wait for their"
        return f"waiting for S3: {results} files" if self.points else ""


@dataclass
class Sizer:
    """How many points the next bundle gets, so that it takes about `TARGET_S`."""

    slots: int
    window: int = 1  # bundles that are out for each slot
    fixed: int | None = None
    _point_s: float | None = None
    _most: int = 1  # points that came back in one bundle

    @property
    def limit_s(self) -> float | None:
        """When the next bundle comes back, however many of its points have finished; None: as all later ones."""
        return FIRST_S if self._point_s is None and self.fixed is None else None

    def saw(self, *, points: int, wall_s: float) -> None:
        """Learn from a bundle that came back."""
        if not points:  # its machine had to leave
            return
        seen = max(wall_s, 1e-6) / points
        self._point_s = seen if self._point_s is None else (self._point_s + seen) / 2
        self._most = max(self._most, points)

    def next(self, remaining: int | None) -> int:
        """The next bundle's length; `remaining` points (None: unknown) are shared out evenly at the end."""
        if self.fixed is not None:
            return min(self.fixed, MAX_POINTS)
        if self._point_s is None:
            # They may be long: then the rest of a bundle must be small enough that no slot waits for it.
            return (
                1 if remaining is None else min(FIRST_POINTS, math.ceil(remaining / (2 * self.slots * self.window)))
            )
        length = min(int(TARGET_S / self._point_s), GROWTH * self._most, MAX_POINTS)
        if remaining is not None:
            share = math.ceil(remaining / (SHARE * self.slots))
            length = min(length, max(share, int(LEAST_S / self._point_s)))
        return max(1, length)


class Pending:
    """The points that have not ended or must be computed again, in running order, in constant memory."""

    def __init__(self, space: Space, ledger: Ledger, *, shuffle: int | None) -> None:
        """Start at the beginning.

        Args:
            space: the points.
            ledger: which of them have ended.
            shuffle: the key of a random order, or None for the grid's own.
        """
        self._space = space
        self._ledger = ledger
        self.shuffle = shuffle
        self._permutation = Permutation(space.size, 0 if shuffle is None else shuffle)
        self._spans = self._in_order() if shuffle is None else self._shuffled()
        self._ahead: list[Span] = []  # what comes before the rest, the next one last
        self._read = 0  # where the rest begins
        self._claimed: list[Span] = []  # of the rest, in order

    def index_at(self, position: int) -> int:
        """The index at a position of the shuffled order."""
        return self._permutation(position)

    def give_back(self, spans: Sequence[Span]) -> None:
        """Return points that were taken and not run; they come next."""
        self._ahead += reversed(spans)

    def places(self, spans: Sequence[Span], shuffle: int | None) -> Sequence[Span]:
        """The positions of a bundle's points in this order."""
        if shuffle == self.shuffle:
            return spans
        indexes = (index for start, stop in spans for index in range(start, stop))  # points that run one by one
        return [(place, place + 1) for place in map(self._permutation.inverse, indexes)]

    def claim(self, spans: Sequence[Span], shuffle: int | None) -> bool:
        """Take a bundle's points, unless one has ended, is not a point, or was taken; returns whether it did."""
        if shuffle not in (None, self.shuffle):
            return False
        spans = self.places(spans, shuffle)
        if not all(self._is_pending(*span) and self._is_free(*span) for span in spans):
            return False
        for start, stop in spans:
            if start >= self._read:
                bisect.insort(self._claimed, (start, stop))
                continue
            place = next(place for place, (low, high) in enumerate(self._ahead) if low <= start and stop <= high)
            self._ahead[place : place + 1] = reversed(list(_without(self._ahead[place], [(start, stop)])))
        return True

    def _is_pending(self, start: int, stop: int) -> bool:
        """Whether all these positions are points that have not ended."""
        if not 0 <= start < stop <= self._space.size:
            return False
        if self.shuffle is None:
            ended = self._ledger.ended_from(start, limit=1)
            return list(self._space.spans(start, stop)) == [(start, stop)] and not (ended and ended[0] < stop)
        indexes = map(self._permutation, range(start, stop))
        return all(self._space.exists(index) and not self._ledger.has_ended(index) for index in indexes)

    def _is_free(self, start: int, stop: int) -> bool:
        """Whether none of these positions was taken or claimed; may be False for free ones."""
        if start >= self._read:
            return not any(low < stop and start < high for low, high in self._claimed)
        return any(low <= start and stop <= high for low, high in self._ahead)

    def take(self, count: int) -> tuple[Span, ...]:
        """The next points, up to `count`; empty when none are left."""
        taken: list[Span] = []
        while count > 0 and len(taken) < MAX_SPANS:
            if not self._ahead:
                span = next(self._spans, None)
                if span is None:
                    break
                self._read = span[1]
                self._ahead += reversed(list(_without(span, self._claimed)))
                continue
            start, stop = self._ahead.pop()
            cut = min(stop, start + count)
            taken.append((start, cut))
            count -= cut - start
            if cut < stop:
                self._ahead.append((cut, stop))
        return tuple(taken)

    def _in_order(self) -> Iterator[Span]:
        size, start = self._space.size, 0
        while start < size:
            # Rows that this command writes lie behind `start`: only what was there before is met here.
            ended = self._ledger.ended_from(start, limit=PAGE)
            stop = ended[-1] + 1 if len(ended) == PAGE else size
            for index in itertools.chain(ended, [stop] if len(ended) < PAGE else []):
                if start < index:
                    yield from self._space.spans(start, index)
                start = index + 1
            start = stop

    def _shuffled(self) -> Iterator[Span]:
        resumed = self._ledger.counts() != (0, 0)
        start = stop = 0  # of the run of positions that is being joined
        for position in range(self._space.size):
            index = self._permutation(position)
            ended = resumed and self._ledger.has_ended(index)
            if ended or not self._space.exists(index):
                continue
            if position != stop or stop - start >= PAGE:
                if start < stop:
                    yield start, stop
                start = position
            stop = position + 1
        if start < stop:
            yield start, stop


def _without(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    """A span without these indexes, which are sorted."""
    start, stop = span
    for low, high in holes:
        if high <= start or stop <= low:
            continue
        if start < low:
            yield start, low
        start = high
    if start < stop:
        yield start, stop


@dataclass
class Retries:
    """Points to try again, each when it is due."""

    _due: list[tuple[float, int]] = field(default_factory=list)

    def add(self, index: int, *, due_s: float) -> None:
        """Try `index` again at `due_s` on the caller's clock."""
        heapq.heappush(self._due, (due_s, index))

    def take(self, now_s: float) -> int | None:
        """An index that is due."""
        return heapq.heappop(self._due)[1] if self._due and self._due[0][0] <= now_s else None

    def next_due_s(self) -> float | None:
        """When the next one is due; None when there are none."""
        return self._due[0][0] if self._due else None

    def __len__(self) -> int:
        return len(self._due)
