"""The interface of all blocks of a sweep, whatever their method: points by index, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from sweepfleet.grid.identity import canonical, encode, key64, mix64
from sweepfleet.grid.laws import Law
from sweepfleet.grid.plan import Dimension, Value
from sweepfleet.grid.rules import Params, Rules

# "wide", among the kinds of a name's values, is a whole number that is not exactly a float; no column has this kind.
Kind = Literal["int", "float", "bool", "str", "json", "wide"]
Keep = Callable[[Params], bool]  # whether a block's point is one of the sweep's, too

_MAX_FLOAT_INT = 1 << 53  # up to here every whole number is a float
_MAX_COLUMN_INT = 1 << 63  # larger whole numbers fit no integer column
_GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64's step
_MASK64 = (1 << 64) - 1
_MAX_COMPARED = 100_000  # values of a dimension that are worth comparing with another block's


class Block(ABC):
    """Indexes 0..size-1, each a point or nothing. `exact` says that each is a point.

    `names` are all parameters that any point may have; `required` those that every point has.
    """

    size: int
    names: tuple[str, ...]
    required: frozenset[str]

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether every index is a point."""

    @property
    def searchable(self) -> bool:
        """Whether `find` can find its points: false for draws of continuous laws."""
        return True

    @abstractmethod
    def at(self, index: int) -> Params | None:
        """The point at an index of the block, as a dict of its own; None where there is none."""

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, Params]]:
        """The points among indexes [start, stop), in order, each with a dict of its own."""
        for index in range(max(0, start), min(stop, self.size)):
            params = self.at(index)
            if params is not None:
                yield index, params

    @abstractmethod
    def find(self, params: Mapping[str, Value]) -> int | None:
        """The index of these parameters; None when they are not a point, or a draw of a continuous distribution."""

    @abstractmethod
    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of value of each parameter, None aside."""

    def values(self, name: str) -> set[str] | None:
        """The texts of all values of a required parameter; None when there are too many."""
        del name
        return None

    def items(self, start: int, stop: int) -> Iterator[tuple[int, Params, bytes]]:
        """As `walk`, with each point's canonical text."""
        for index, params in self.walk(start, stop):
            yield index, params, canonical(params).encode()

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Runs of indexes that are points, in order; neighbouring runs may touch."""
        if self.exact:
            yield start, stop
        else:
            for index, _ in self.walk(start, stop):
                yield index, index + 1

    def estimate(self, budget: int, keep: Keep) -> tuple[float, bool]:
        """How many points that `keep` accepts, and whether that is exact, from `budget` indexes."""
        if self.size <= budget:
            return sum(1 for _, params in self.walk(0, self.size) if keep(params)), True
        found = 0
        for draw in range(budget):
            params = self.at(_chosen(draw, self.size))
            found += params is not None and keep(params)
        return self.size * (found / budget), False


def _chosen(draw: int, size: int) -> int:
    """One of `size` indexes, as if at random."""
    if size < 1 << 48:
        return mix64(draw * _GOLDEN & _MASK64) * size >> 64
    word = 0
    for part in range(size.bit_length() // 64 + 2):  # 64 bits do not reach all of so large a block
        word = word << 64 | key64("count", draw, part)
    return word % size


class Axis:
    """One dimension's discrete choices, numbered from 0: written out, or the whole numbers of an interval."""

    def __init__(self, dimension: Dimension) -> None:
        """Raises ValueError for a continuous law: it has no choices to number."""
        self.names = dimension.names
        self._rows = dimension.rows
        self._numbers: tuple[int, int] | None = None
        self._found: dict[tuple[object, ...], int] | None = None
        self.size = len(dimension.rows)
        if dimension.distribution is not None:
            law = dimension.distribution
            if law.name != "int_uniform" or law.low is None or law.high is None:
                raise ValueError(f"{', '.join(self.names)}: {law.name} has no list of values.")
            self._numbers = (int(law.low), int(law.high))
            self.size = self._numbers[1] - self._numbers[0] + 1

    def rows(self, start: int, stop: int) -> Sequence[tuple[Value, ...]]:
        """The choices [start, stop), each a value for every name."""
        if self._numbers is None:
            return self._rows[start:stop]
        low = self._numbers[0]
        return [(value,) for value in range(low + start, low + stop)]

    def row(self, number: int) -> tuple[Value, ...]:
        """One choice."""
        return self._rows[number] if self._numbers is None else (self._numbers[0] + number,)

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The number of the choice that has these parameters' values; None when there is none."""
        if not all(name in params for name in self.names):
            return None
        row = [params[name] for name in self.names]
        if self._numbers is not None:
            low, high = self._numbers
            return row[0] - low if type(row[0]) is int and low <= row[0] <= high else None
        if self._found is None:
            self._found = {tuple(map(_key, choice)): number for number, choice in enumerate(self._rows)}
        return self._found.get(tuple(map(_key, row)))

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of each name's values."""
        if self._numbers is not None:
            low, high = self._numbers
            wide: set[Kind] = {"wide"} if max(-low, high) > _MAX_FLOAT_INT else set()  # some are not exactly floats
            return {self.names[0]: kinds_of(self._numbers) | wide}
        return {name: kinds_of(row[column] for row in self._rows) for column, name in enumerate(self.names)}

    def values(self, name: str) -> set[str] | None:
        """The texts of a name's values; None when they are too many."""
        if self.size > _MAX_COMPARED:
            return None
        column = self.names.index(name)
        return {encode(row[column]) for row in self.rows(0, self.size)}


def _key(value: Value) -> object:
    """A key that distinguishes values as their canonical texts do, but is faster."""
    if type(value) is str:
        return value
    if type(value) is int or type(value) is bool or value is None:
        return type(value), value
    return type(value) is float, encode(value)


def kinds_of(values: Iterable[Value]) -> set[Kind]:
    """The kinds of these values; a whole number past 64 bits counts as json."""
    values = list(values)
    types = set(map(type, values))
    plain: dict[type, Kind] = {int: "int", float: "float", bool: "bool", str: "str"}
    kinds: set[Kind] = {plain.get(kind, "json") for kind in types if kind is not type(None)}
    if int in types:
        numbers = values if len(types) == 1 else [value for value in values if type(value) is int]
        if not -_MAX_COLUMN_INT <= min(numbers) <= max(numbers) < _MAX_COLUMN_INT:
            kinds.add("json")
        elif any(abs(value) > _MAX_FLOAT_INT and int(float(value)) != value for value in numbers):
            kinds.add("wide")
    return kinds


def common_kind(kinds: set[Kind]) -> Kind:
    """The kind of column that can store all of these without losing a digit."""
    if "wide" in kinds and "float" not in kinds:
        kinds = (kinds - {"wide"}) | {"int"}
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"int", "float"} else "json"


def dimension_kinds(dimensions: Iterable[Dimension], rules: Rules) -> dict[str, set[Kind]]:
    """The kinds of all parameters of a block with dimensions, added keys too."""
    kinds: dict[str, set[Kind]] = {}
    for dimension in dimensions:
        if dimension.distribution is not None and dimension.distribution.name != "int_uniform":
            kinds[dimension.names[0]] = {Law(dimension.distribution).kind}
        else:
            kinds |= Axis(dimension).kinds()
    return added_kinds(kinds, rules)


def added_kinds(kinds: dict[str, set[Kind]], rules: Rules) -> dict[str, set[Kind]]:
    """`kinds` with those of the keys that entries add."""
    for extension in rules.extensions:
        for name, value in extension.add.items():
            kinds.setdefault(name, set()).update(kinds_of([value]))
    return kinds


def required_names(dimensions: Iterable[Dimension]) -> frozenset[str]:
    """The parameters that every point has: those of the unconditional dimensions."""
    return frozenset(name for dimension in dimensions if dimension.when is None for name in dimension.names)
