"""Method "grid": the product of dimensions, the last fastest, thinned by rules, with a few rows in memory.

Dimensions are grouped into levels, and the product is walked as a tree with one level below the other. A rule
is asked at the first level that knows all it needs, so that a branch without points costs one question.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from sweepfleet.grid.block import Axis, Block, Kind, dimension_kinds, required_names
from sweepfleet.grid.expressions import Expression
from sweepfleet.grid.identity import canonical, encode
from sweepfleet.grid.levels import Absence, Level, group_dimensions, remove_absent, strides_of, text_layout
from sweepfleet.grid.plan import Block as BlockPlan
from sweepfleet.grid.plan import Value
from sweepfleet.grid.rules import Params, Rules

ROWS_AT_ONCE = 4096  # of a dimension that may have a billion

_Node = tuple[int, int, Params, int]  # indexes [start, stop), what is decided so far, which entries still match


class Product(Block):
    """The product of a block's dimensions."""

    def __init__(self, plan: BlockPlan, rules: Rules) -> None:
        """Lay out the levels and place every rule."""
        self._plan = plan
        self._rules = rules
        self.names = rules.names
        self.required = required_names(plan.dimensions)
        self.axes = [Axis(dimension) for dimension in plan.dimensions]
        self.strides = strides_of(self.axes)
        self.size = self.strides[0] * self.axes[0].size if self.axes else 1
        self._levels, level_of = group_dimensions(plan, self.axes, self.strides)
        self._last_wheres: list[Expression] = []  # these ask about added keys
        self._additions: dict[int, Params] = {}
        self._place(level_of)
        self._free = len(self._levels)  # from this level down every row is a point
        while self._free and self._levels[self._free - 1].plain:
            self._free -= 1
        self._fast = bool(self._levels) and not rules.extensions and not self._last_wheres
        if self._fast:
            leaf = self._levels[-1]
            self._fast = not (leaf.absences or leaf.excludes or leaf.wheres)
            self._layout, self._groups = text_layout(self.names, leaf.names)

    @property
    def exact(self) -> bool:
        """Whether every combination is a point."""
        return self._rules.keep_all

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        return dimension_kinds(self._plan.dimensions, self._rules)

    def values(self, name: str) -> set[str] | None:
        """The texts of a parameter's values."""
        return next((axis.values(name) for axis in self.axes if name in axis.names), None)

    def at(self, index: int) -> Params | None:
        """The point at an index, without a walk."""
        params: Params = {}
        for axis, stride in zip(self.axes, self.strides, strict=True):
            row = axis.row(index // stride % axis.size)
            if len(row) == 1:
                params[axis.names[0]] = row[0]
            else:
                params.update(zip(axis.names, row, strict=True))
        for when in self._rules.whens:
            if not when.condition(params):
                if index // self.strides[when.position] % self.axes[when.position].size:
                    return None
                for name in when.names:
                    del params[name]
        return self._rules.thin(params)

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, Params]]:
        """The points among indexes [start, stop), in order."""
        for index, _, params, alive in self._nodes(len(self._levels), start, stop):
            finished = self._finish(params, alive)
            if finished is not None:
                yield index, finished

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Runs of indexes that are points; a branch without rules is one run."""
        if self._last_wheres:
            yield from ((index, index + 1) for index, _ in self.walk(start, stop))
        else:
            yield from ((low, high) for low, high, _, _ in self._nodes(self._free, start, stop))

    def items(self, start: int, stop: int) -> Iterator[tuple[int, Params, bytes]]:
        """The points with their canonical texts: the loop that every run goes through."""
        if not self._fast:
            yield from super().items(start, stop)
            return
        leaf = self._levels[-1]
        names, size = leaf.names, leaf.size
        single = names[0] if len(names) == 1 else None
        for low, high, decided, _ in self._nodes(len(self._levels) - 1, start, stop):
            first = low % size
            if leaf.when is not None and not leaf.when(decided):
                if first == 0:
                    yield low, decided, canonical(decided).encode()
                continue
            template = self._template(decided)
            rows = leaf.rows(first, first + high - low)
            texts = leaf.texts(first, first + high - low, self._groups)
            if single is not None:
                for index, row, text in zip(range(low, high), rows, texts, strict=True):
                    params = decided.copy()
                    params[single] = row[0]
                    yield index, params, template % text
            else:
                for index, row, text in zip(range(low, high), rows, texts, strict=True):
                    params = decided.copy()
                    params.update(zip(names, row, strict=True))
                    yield index, params, template % text

    @property
    def added(self) -> bool:
        """Whether entries add keys to some points."""
        return bool(self._rules.extensions)

    def columns(self, start: int, stop: int, repeat: int) -> dict[str, list[Value]]:
        """For each name its values at [start, stop), each index counted `repeat` times; for exact products only."""
        columns: dict[str, list[Value]] = {}
        for axis, stride in zip(self.axes, self.strides, strict=True):
            each = stride * repeat  # how many in a row have the same value
            first, end = start // each, (stop - 1) // each + 1
            numbers = axis.rows(first % axis.size, min(axis.size, first % axis.size + end - first))
            if len(numbers) < end - first:  # it goes round
                cycle = axis.rows(0, axis.size)
                times, rest = divmod(end - first - len(numbers), axis.size)
                numbers = [*numbers, *itertools.chain.from_iterable(itertools.repeat(cycle, times)), *cycle[:rest]]
            head = min(stop, (first + 1) * each) - start  # how much of the first and the last run is asked for
            tail = stop - (end - 1) * each
            for name, values in zip(axis.names, zip(*numbers, strict=True), strict=True):
                if each == 1:
                    columns[name] = list(values)
                elif len(values) == 1:
                    columns[name] = [values[0]] * (stop - start)
                else:
                    runs = [[value] * each for value in values[1:-1]]
                    inner = itertools.chain.from_iterable(runs)
                    columns[name] = [*[values[0]] * head, *inner, *[values[-1]] * tail]
        return columns

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The index of these parameters."""
        index = 0
        for axis, stride, dimension in zip(self.axes, self.strides, self._plan.dimensions, strict=True):
            number = axis.find(params)
            if number is None and (dimension.when is None or any(name in params for name in axis.names)):
                return None
            index += stride * (number or 0)
        point = self.at(index)
        if point is None or point.keys() != params.keys():
            return None
        if any(encode(point[name]) != encode(params[name]) for name in self._rules.added if name in point):
            return None
        return index

    def _nodes(self, depth: int, start: int, stop: int) -> Iterator[_Node]:
        """The branches at a depth that the rules above it leave, each with its part of [start, stop)."""
        start, stop = max(0, start), min(self.size, stop)
        return self._descend(0, depth, 0, (start, stop, {}, -1)) if start < stop else iter(())

    def _descend(self, number: int, depth: int, base: int, node: _Node) -> Iterator[_Node]:
        if number == depth:
            yield node
            return
        start, stop, decided, alive = node
        level = self._levels[number]
        stride, names = level.stride, level.names
        first, end = (start - base) // stride, (stop - 1 - base) // stride + 1
        if level.when is not None and not level.when(decided):
            if first > 0:
                return
            names, choices = (), iter([(base, (), level.keep_absent)])
        else:
            choices = _choices(level, range(base + first * stride, base + end * stride, stride), first)
        for begin, row, mask in choices:
            params = decided.copy()
            params.update(zip(names, row, strict=True))
            kept = alive & mask
            if level.absences:
                kept, lives = remove_absent(level.absences, begin, params, kept)
                if not lives:
                    continue
            if kept & level.excludes or not all(where(params) for where in level.wheres):
                continue
            below = (max(start, begin), min(stop, begin + stride), params, kept)
            yield from self._descend(number + 1, depth, begin, below)

    def _finish(self, params: Params, alive: int) -> Params | None:
        if self._rules.extensions:
            bits = (alive >> len(self._rules.excludes)) & ((1 << len(self._rules.extensions)) - 1)
            if bits not in self._additions:
                chosen = [entry for bit, entry in enumerate(self._rules.extensions) if bits >> bit & 1]
                self._additions[bits] = self._rules.additions(chosen)
            params.update(self._additions[bits])
        return params if all(where(params) for where in self._last_wheres) else None

    def _template(self, decided: Params) -> bytes:
        """A point's canonical text with holes for the last level's pieces."""
        pieces = [
            "%b" if name is None else f"{encode(name)}:{encode(decided[name])}".replace("%", "%%")
            for name in self._layout
            if name is None or name in decided
        ]
        return f"{{{','.join(pieces)}}}".encode()

    def _place(self, level_of: Sequence[int]) -> None:
        """Give every rule to the first level at which all that it asks about is decided."""
        axis_of = {name: number for number, axis in enumerate(self.axes) for name in axis.names}
        ready = list(level_of)
        entries = [*self._rules.excludes, *(extension.match for extension in self._rules.extensions)]

        def decided(names: frozenset[str] | set[str], default: int = 0) -> int:
            return max((ready[axis_of[name]] for name in names if name in axis_of), default=default)

        def keep(names: tuple[str, ...]) -> int:
            return ~sum(1 << bit for bit, entry in enumerate(entries) if entry.keys() & set(names))

        for when in self._rules.whens:
            own = level_of[when.position]
            last = decided(when.condition.names, default=-1)
            if last < own:
                self._levels[own].when = when.condition
                self._levels[own].keep_absent = keep(when.names)
            else:
                axis, stride = self.axes[when.position], self.strides[when.position]
                self._levels[last].absences.append(Absence(when, stride, axis.size, keep(when.names)))
                ready[when.position] = last
        for bit, entry in enumerate(entries):
            for number, level in enumerate(self._levels):
                values = {name: entry[name] for name in level.names if name in entry}
                if values:
                    self._levels[number].entries.append((1 << bit, values))
            if bit < len(self._rules.excludes):
                self._levels[decided(set(entry))].excludes |= 1 << bit
        for where in self._rules.wheres:
            if not self._levels or where.names & set(self._rules.added):
                self._last_wheres.append(where)
            else:
                self._levels[decided(where.names)].wheres.append(where)


def _choices(level: Level, begins: range, first: int) -> Iterator[tuple[int, tuple[Value, ...], int]]:
    """A level's rows from `first` on, each with the index where it begins and its mask; a few at a time."""
    for done in range(0, len(begins), ROWS_AT_ONCE):
        part = begins[done : done + ROWS_AT_ONCE]
        start, stop = first + done, first + done + len(part)
        yield from zip(part, level.rows(start, stop), level.matching(start, stop), strict=True)
