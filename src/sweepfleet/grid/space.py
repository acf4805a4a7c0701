"""The points of a plan, by index: computed on request, never stored.

Indexes run through the blocks in order, through each block in its own order, and fastest through the replicates.
An index may hold no point: rules leave it out, or an earlier block has the same parameters. Whatever else a plan
gains or loses, a point with the same parameters keeps its id and its seed.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from sweepfleet.grid.block import Block, Keep, Kind, common_kind
from sweepfleet.grid.identity import digest_seed, id_hasher, seed_key
from sweepfleet.grid.listed import Listed, OneAtATime
from sweepfleet.grid.plan import Block as BlockPlan
from sweepfleet.grid.plan import Plan, Value
from sweepfleet.grid.product import Product
from sweepfleet.grid.rules import Params, Rules
from sweepfleet.grid.sampled import sampled

__all__ = ["Count", "Kind", "Point", "Space"]

_Run = tuple[int, int]


class Point(NamedTuple):
    """One thing to compute."""

    index: int  # type: ignore[assignment]  # tuple's own method of this name is of no use here
    id: str  # 16 hex digits: target, parameters and replicate, hashed
    seed: int  # 0 <= seed < 2**31
    replicate: int
    params: Params  # flat, dotted names, in the order of the dimensions; the caller's own copy


class Count(NamedTuple):
    """How many points there are."""

    upper: int  # no more than this
    points: int  # this many, or about
    exact: bool  # whether `points` is known rather than estimated from a sample


class Space:
    """All points of a plan. Memory does not grow with their number, but for listed rows and repeated draws."""

    def __init__(self, plan: Plan) -> None:
        """Lay out the blocks. Raises ExpressionError for a condition that cannot be used."""
        self.plan = plan
        known = _known_names(plan)
        streams: dict[str, int] = {}  # blocks of one method seen so far: two must not draw the same numbers
        self._blocks: list[Block] = []
        for written in plan.blocks:
            stream = streams.get(written.method, 0)
            self._blocks.append(_build(written, Rules(written, known), plan=plan, stream=stream))
            streams[written.method] = stream + 1
        self._starts = list(itertools.accumulate((block.size for block in self._blocks), initial=0))
        self.size = self._starts[-1] * plan.replicates
        self._rivals = [
            [earlier for earlier in self._blocks[:number] if earlier.searchable and not _disjoint(earlier, block)]
            for number, block in enumerate(self._blocks)
        ]
        self.exact = not any(self._rivals) and all(block.exact for block in self._blocks)
        self.names = tuple(dict.fromkeys(name for block in self._blocks for name in block.names))
        kinds: dict[str, set[Kind]] = {name: set() for name in self.names}
        for block in self._blocks:
            for name, seen in block.kinds().items():
                kinds[name] |= seen
        self.kinds: dict[str, Kind] = {name: common_kind(kinds[name]) for name in self.names}
        self._nested = [name for name, kind in self.kinds.items() if kind == "json"]
        self._hashers = [id_hasher(plan.target, replicate) for replicate in range(plan.replicates)]

    def exists(self, index: int) -> bool:
        """Whether there is a point at this index; false outside the space."""
        if not 0 <= index < self.size:
            return False
        if self.exact:
            return True
        number, raw, _ = next(self._parts(*self._raw(index, index + 1)))
        params = self._blocks[number].at(raw)
        return params is not None and self._keep(number)(params)

    def point(self, index: int) -> Point:
        """The point at an index. Raises IndexError outside the space, LookupError where there is no point."""
        if not 0 <= index < self.size:
            raise IndexError(f"Index {index} is outside the {self.size} indexes of this sweep.")
        for point in self.points(index, index + 1):
            return point
        raise LookupError(f"Index {index} is not a point: a condition excludes it, or it repeats another point.")

    def points(self, start: int, stop: int) -> Iterator[Point]:
        """The points with indexes in [start, stop), in order."""
        start, stop = max(0, start), min(self.size, stop)
        if start >= stop:
            return
        replicates, key, nested = self.plan.replicates, seed_key(self.plan.seed), self._nested
        seed_of, hashers, new = digest_seed, self._hashers, tuple.__new__
        hasher = hashers[0]
        for raw, params, text in self._items(*self._raw(start, stop)):
            if nested:
                _own_copies(params, nested)
            if replicates == 1:  # the loop of most sweeps, kept free of everything that it does not need
                hashed = hasher.copy()
                hashed.update(text)
                digest = hashed.digest()
                yield new(Point, (raw, digest.hex(), seed_of(digest, key), 0, params))
                continue
            first = raw * replicates
            for replicate in range(max(0, start - first), min(replicates, stop - first)):
                hashed = hashers[replicate].copy()
                hashed.update(text)
                digest = hashed.digest()
                own = params.copy()
                _own_copies(own, nested)
                yield Point(first + replicate, digest.hex(), seed_of(digest, key), replicate, own)

    def spans(self, start: int, stop: int) -> Iterator[_Run]:
        """The longest ranges of indexes within [start, stop) that are points, in order, computed lazily."""
        start, stop = max(0, start), min(self.size, stop)
        if start >= stop:
            return
        if self.exact:
            yield start, stop
            return
        replicates = self.plan.replicates
        for low, high in _joined(self._runs(*self._raw(start, stop))):
            yield max(start, low * replicates), min(stop, high * replicates)

    def find(self, params: Mapping[str, Value], replicate: int = 0) -> int | None:
        """The index of these parameters, or None; None also for draws of a continuous law, which have no inverse."""
        if not 0 <= replicate < self.plan.replicates:
            return None
        for block, offset in zip(self._blocks, self._starts, strict=False):
            found = block.find(params)
            if found is not None:
                return (offset + found) * self.plan.replicates + replicate
        return None

    def steps(self, names: Collection[str]) -> tuple[tuple[int, int], ...] | None:
        """How indexes without replicates go through the values of these parameters: (stride, count) a dimension.

        None where that is not the same everywhere: only in one exact product, with whole zips, it is.
        """
        block = self._blocks[0]
        if len(self._blocks) > 1 or not isinstance(block, Product) or not block.exact or block.added:
            return None
        found = []
        for axis, stride in zip(block.axes, block.strides, strict=True):
            named = [name for name in axis.names if name in names]
            if named and len(named) < len(axis.names):
                return None
            if named:
                found.append((stride, axis.size))
        return tuple(found)

    def place(self, index: int) -> int:
        """The position of an index in its block, replicates aside, which does not change when other blocks do."""
        raw = index // self.plan.replicates
        return raw - self._starts[bisect.bisect_right(self._starts, raw) - 1]

    def drawn_at(self, place: int, replicate: int) -> Iterator[int]:
        """The indexes, points or not, of this draw in every block that `find` does not know."""
        if replicate < self.plan.replicates:
            for start, stop in self._unsearchable():
                if start + place < stop:
                    yield (start + place) * self.plan.replicates + replicate

    def drawn(self) -> list[tuple[int, int]]:
        """The blocks that `find` does not know, each as its indexes [start, stop)."""
        replicates = self.plan.replicates
        return [(start * replicates, stop * replicates) for start, stop in self._unsearchable()]

    def _unsearchable(self) -> Iterator[_Run]:
        for block, start in zip(self._blocks, self._starts, strict=False):
            if not block.searchable:
                yield start, start + block.size

    def count(self, *, budget: int = 20_000) -> Count:
        """How many points there are: known, or estimated from about `budget` indexes chosen once and for all."""
        if self.exact:
            return Count(self.size, self.size, exact=True)
        open_blocks = [number for number, block in enumerate(self._blocks) if self._rivals[number] or not block.exact]
        share = budget if self._starts[-1] <= budget else max(1, budget // len(open_blocks))
        total, exact = 0.0, True
        for number, block in enumerate(self._blocks):
            if number in open_blocks:
                points, known = block.estimate(share, self._keep(number))
                total, exact = total + points, exact and known
            else:
                total += block.size
        return Count(self.size, round(total) * self.plan.replicates, exact)

    def params_columns(self, start: int, stop: int) -> tuple[list[int], dict[str, list[Value]]]:
        """The indexes in [start, stop) that are points, and their values by name, None where absent.

        Lists and maps are shared with the plan: they are for reading.
        """
        start, stop = max(0, start), min(self.size, stop)
        indexes: list[int] = []
        columns: dict[str, list[Value]] = {name: [] for name in self.names}
        for number, low, high in self._parts(*self._raw(start, stop)) if start < stop else ():
            block, offset, replicates = self._blocks[number], self._starts[number], self.plan.replicates
            base = offset * replicates
            first, last = max(start - base, low * replicates), min(stop - base, high * replicates)
            if isinstance(block, Product) and block.exact and not block.added and not self._rivals[number]:
                indexes.extend(range(base + first, base + last))
                found = block.columns(first, last, replicates)
            else:
                rows = [
                    (index, params)
                    for raw, params in self._walk_block(number, low, high)
                    for index in range(max(first, raw * replicates), min(last, (raw + 1) * replicates))
                ]
                indexes.extend(base + index for index, _ in rows)
                found = {name: [params.get(name) for _, params in rows] for name in block.names}
            for name, column in columns.items():
                column.extend(found[name] if name in found else [None] * (len(indexes) - len(column)))
        return indexes, columns

    def _raw(self, start: int, stop: int) -> _Run:
        """The indexes without replicates that cover these."""
        return start // self.plan.replicates, (stop - 1) // self.plan.replicates + 1

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """For each block with indexes in [start, stop): its number and the indexes within it."""
        number = max(0, bisect.bisect_right(self._starts, start) - 1)
        while number < len(self._blocks) and self._starts[number] < stop:
            offset = self._starts[number]
            low, high = max(0, start - offset), min(self._blocks[number].size, stop - offset)
            if low < high:
                yield number, low, high
            number += 1

    def _keep(self, number: int) -> Keep:
        """Whether a block's point is not in an earlier block already."""
        rivals = self._rivals[number]
        return lambda params: all(earlier.find(params) is None for earlier in rivals)

    def _items(self, start: int, stop: int) -> Iterator[tuple[int, Params, bytes]]:
        for number, low, high in self._parts(start, stop):
            block, offset, keep = self._blocks[number], self._starts[number], self._keep(number)
            items = block.items(low, high)
            if offset == 0 and not self._rivals[number]:
                yield from items
            else:
                for index, params, text in items:
                    if keep(params):
                        yield offset + index, params, text

    def _walk_block(self, number: int, low: int, high: int) -> Iterator[tuple[int, Params]]:
        keep = self._keep(number)
        return (item for item in self._blocks[number].walk(low, high) if keep(item[1]))

    def _runs(self, start: int, stop: int) -> Iterator[_Run]:
        for number, low, high in self._parts(start, stop):
            offset = self._starts[number]
            if self._rivals[number]:
                yield from ((offset + index, offset + index + 1) for index, _ in self._walk_block(number, low, high))
            else:
                yield from ((offset + first, offset + last) for first, last in self._blocks[number].spans(low, high))


def _build(block: BlockPlan, rules: Rules, *, plan: Plan, stream: int) -> Block:
    match block.method:
        case "grid":
            return Product(block, rules)
        case "one_at_a_time":
            return OneAtATime(block, rules)
        case "list":
            return Listed(block, rules)
        case "random" | "sobol":
            return sampled(block, rules, seed=plan.seed, stream=stream)


def _known_names(plan: Plan) -> tuple[str, ...]:
    """All names that a condition may use: a parameter of another block reads as None."""
    names: dict[str, None] = {}
    for block in plan.blocks:
        for dimension in block.dimensions:
            names |= dict.fromkeys(dimension.names)
        for entry in (*block.extend, *block.rows):
            names |= dict.fromkeys(entry)
    return tuple(names)


def _disjoint(a: Block, b: Block) -> bool:
    """Whether two blocks certainly share no point, decided without looking at points."""
    if not (a.required <= set(b.names) and b.required <= set(a.names)):
        return True
    for name in a.required & b.required:
        left, right = a.values(name), b.values(name)
        if left is not None and right is not None and left.isdisjoint(right):
            return True
    return False


def _joined(runs: Iterable[_Run]) -> Iterator[_Run]:
    """The same runs with touching ones made one."""
    start, stop = -1, -1
    for low, high in runs:
        if low == stop:
            stop = high
            continue
        if start < stop:
            yield start, stop
        start, stop = low, high
    if start < stop:
        yield start, stop


def _own_copies(params: Params, names: Iterable[str]) -> None:
    """Copy a point's lists and maps, so that changes by one point do not reach another."""
    for name in names:
        if name in params:
            params[name] = _copied(params[name])


def _copied(value: Value) -> Value:
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value
