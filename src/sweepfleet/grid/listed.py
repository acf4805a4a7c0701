"""Methods "list" and "one_at_a_time": one point for each row or variation that is written."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from functools import cached_property

from sweepfleet.grid.block import Axis, Block, Kind, added_kinds, dimension_kinds, kinds_of, required_names
from sweepfleet.grid.identity import canonical, encode
from sweepfleet.grid.plan import Block as BlockPlan
from sweepfleet.grid.plan import Value
from sweepfleet.grid.rules import Params, Rules


class Listed(Block):
    """Explicit rows, in order; a row that comes again exists only once."""

    def __init__(self, plan: BlockPlan, rules: Rules) -> None:
        """Keep the rows as they are; texts are made at the first need."""
        self._rows = plan.rows
        self._rules = rules
        self.size = len(plan.rows)
        self.names = rules.names
        self.required = frozenset(name for name in rules.own if all(name in row for row in plan.rows))

    @cached_property
    def _found(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, row in enumerate(self._rows):
            params = self._rules.apply(dict(row))
            if params is not None:
                found.setdefault(canonical(params), index)
        return found

    @cached_property
    def _indexes(self) -> frozenset[int]:
        return frozenset(self._found.values())

    @property
    def exact(self) -> bool:
        """Whether every row is a point of its own."""
        return self._rules.keep_all and len(self._found) == self.size

    def at(self, index: int) -> Params | None:
        """The point of a row; None when it is a repeat or is excluded."""
        return self._rules.apply(dict(self._rows[index])) if index in self._indexes else None

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The first row that is these parameters."""
        return self._found.get(canonical(params))

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        kinds = {
            name: kinds_of(row[name] for row in self._rows if name in row)
            for name in self.names
            if name in self._rules.own
        }
        return added_kinds(kinds, self._rules)

    def values(self, name: str) -> set[str] | None:
        """The texts of a parameter's values."""
        return {encode(row[name]) for row in self._rows if name in row}


class OneAtATime(Block):
    """Every dimension's first value, then each dimension alone through its other values.

    Varying a dimension that is absent under its condition would repeat the first point: there is none then.
    """

    def __init__(self, plan: BlockPlan, rules: Rules) -> None:
        """Number the variations, dimension by dimension."""
        self._plan = plan
        self._rules = rules
        self._axes = [Axis(dimension) for dimension in plan.dimensions]
        self._starts = list(itertools.accumulate((axis.size - 1 for axis in self._axes), initial=1))
        self.size = self._starts[-1] if all(axis.size for axis in self._axes) else 0
        self.names = rules.names
        self.required = required_names(plan.dimensions)

    @property
    def exact(self) -> bool:
        """Whether every variation is a point."""
        return self._rules.keep_all

    def at(self, index: int) -> Params | None:
        """The point of one variation."""
        place = bisect.bisect_right(self._starts, index) - 1  # -1: the first point of all
        varied = self._axes[place] if place >= 0 else None
        params: Params = {}
        for axis in self._axes:
            number = index - self._starts[place] + 1 if axis is varied else 0
            params.update(zip(axis.names, axis.row(number), strict=True))
        finished = self._rules.apply(params)
        if finished is not None and varied is not None and varied.names[0] not in finished:
            return None
        return finished

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The variation that is these parameters."""
        numbers = [axis.find(params) or 0 for axis in self._axes]
        varied = [first + number - 1 for first, number in zip(self._starts, numbers, strict=False) if number]
        index = varied[0] if varied else 0
        if len(varied) > 1 or index >= self.size:
            return None
        point = self.at(index)
        return index if point is not None and canonical(point) == canonical(params) else None

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        return dimension_kinds(self._plan.dimensions, self._rules)

    def values(self, name: str) -> set[str] | None:
        """The texts of a parameter's values."""
        return next((axis.values(name) for axis in self._axes if name in axis.names), None)
