"""The tree along which a product is walked: adjacent dimensions form levels, each with the rules decided there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweepfleet.grid.block import Axis
from sweepfleet.grid.expressions import Expression
from sweepfleet.grid.identity import encode
from sweepfleet.grid.plan import Block as BlockPlan
from sweepfleet.grid.plan import Value
from sweepfleet.grid.rules import Params, When, matches

_MERGED_ROWS = 1024  # neighbouring small dimensions become one level of at most this many rows
_KEPT_ROWS = 4096  # a level's texts and matches are kept when there are at most this many


@dataclass(slots=True)
class Absence:
    """A dimension whose condition depends on later ones: when absent, only its first row is kept."""

    when: When
    stride: int
    size: int
    keep: int  # the entries that do not name it: only these can still match


@dataclass(slots=True)
class Level:
    """One or several neighbouring dimensions, walked as one."""

    axes: list[Axis]
    stride: int = 1
    when: Expression | None = None  # known before the level is entered
    keep_absent: int = -1
    absences: list[Absence] = field(default_factory=list)
    excludes: int = 0  # entries that are decided here, as a bit mask
    wheres: list[Expression] = field(default_factory=list)
    entries: list[tuple[int, Params]] = field(default_factory=list)  # bit and values of entries that name it
    _rows: list[tuple[Value, ...]] | None = None
    _matching: list[int] | None = None
    _texts: list[tuple[bytes, ...]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the dimensions."""
        return tuple(name for axis in self.axes for name in axis.names)

    @property
    def size(self) -> int:
        """How many rows it has."""
        size = 1
        for axis in self.axes:
            size *= axis.size
        return size

    @property
    def plain(self) -> bool:
        """Whether every row of the level leads to a point."""
        return not (self.when or self.absences or self.excludes or self.wheres)

    def rows(self, start: int, stop: int) -> Sequence[tuple[Value, ...]]:
        """The rows [start, stop), each a value for every name."""
        if len(self.axes) == 1:
            return self.axes[0].rows(start, stop)
        if self._rows is None:
            parts = itertools.product(*(axis.rows(0, axis.size) for axis in self.axes))
            self._rows = [tuple(itertools.chain.from_iterable(part)) for part in parts]
        return self._rows[start:stop]

    def matching(self, start: int, stop: int) -> Sequence[int]:
        """For each row, the entries that it does not rule out, as a bit mask."""
        if not self.entries:
            return [-1] * (stop - start)
        if self._matching is None and self.size <= _KEPT_ROWS:
            self._matching = self._match(0, self.size)
        return self._match(start, stop) if self._matching is None else self._matching[start:stop]

    def _match(self, start: int, stop: int) -> list[int]:
        masks = []
        names = self.names
        for row in self.rows(start, stop):
            params = dict(zip(names, row, strict=True))
            mask = -1
            for bit, values in self.entries:
                if not matches(values, params):
                    mask &= ~bit
            masks.append(mask)
        return masks

    def texts(self, start: int, stop: int, groups: Sequence[Sequence[int]]) -> Sequence[tuple[bytes, ...]]:
        """For each row, its part of the canonical text: one piece for each group of neighbouring names."""
        if self._texts is None and self.size <= _KEPT_ROWS:
            self._texts = self._write(0, self.size, groups)
        return self._write(start, stop, groups) if self._texts is None else self._texts[start:stop]

    def _write(self, start: int, stop: int, groups: Sequence[Sequence[int]]) -> list[tuple[bytes, ...]]:
        keys = [encode(name) for name in self.names]
        return [
            tuple(
                ",".join([f"{keys[column]}:{encode(row[column])}" for column in group]).encode() for group in groups
            )
            for row in self.rows(start, stop)
        ]


def remove_absent(absences: Sequence[Absence], begin: int, params: Params, alive: int) -> tuple[int, bool]:
    """Remove absent parameters; returns the entries that still match, and whether this branch is the point's."""
    for absence in absences:
        if not absence.when.condition(params):
            if begin // absence.stride % absence.size:
                return alive, False
            for name in absence.when.names:
                del params[name]
            alive &= absence.keep
    return alive, True


def strides_of(axes: Sequence[Axis]) -> list[int]:
    """How far apart in index two neighbouring rows of each dimension are."""
    strides = [1]
    for axis in reversed(axes[1:]):
        strides.append(strides[-1] * axis.size)
    return strides[::-1] if axes else []


def group_dimensions(plan: BlockPlan, axes: Sequence[Axis], strides: Sequence[int]) -> tuple[list[Level], list[int]]:
    """Group the dimensions from the last one up, and say which level each is in."""
    levels: list[Level] = []
    level_of: list[int] = []
    merged = True
    for dimension, axis, stride in reversed(list(zip(plan.dimensions, axes, strides, strict=True))):
        alone = dimension.when is not None
        if levels and not alone and merged and levels[-1].size * axis.size <= _MERGED_ROWS:
            levels[-1].axes.insert(0, axis)
        else:
            levels.append(Level([axis], stride))
        merged = not alone
        level_of.append(len(levels) - 1)
    count = len(levels)
    return levels[::-1], [count - 1 - number for number in reversed(level_of)]


def text_layout(names: Sequence[str], leaf: Sequence[str]) -> tuple[list[str | None], list[list[int]]]:
    """The order of names in the canonical text, None for each run of the last level's; and those runs."""
    layout: list[str | None] = []
    groups: list[list[int]] = []
    for name in sorted(names):
        if name not in leaf:
            layout.append(name)
            continue
        if not layout or layout[-1] is not None:
            layout.append(None)
            groups.append([])
        groups[-1].append(leaf.index(name))
    return layout, groups
