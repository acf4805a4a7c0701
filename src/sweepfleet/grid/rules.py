"""The rules of a block's points: `when`, `exclude`, the keys that `include` adds, and `where`.

They act in this order. `when` decides which parameters a point has; `exclude` leaves out the points that
have all of an entry's values; an extending entry adds its new keys to the points that have its other values
(GitHub Actions' meaning: an original value is never overwritten, a key added by an earlier entry may be);
`where` then sees the point as it would run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sweepfleet.grid.expressions import Expression, ExpressionError
from sweepfleet.grid.plan import Block, Dimension, Value

Params = dict[str, Value]


@dataclass(frozen=True, slots=True)
class When:
    """A dimension that exists only where its condition is true."""

    position: int  # the dimension's, in its block
    names: tuple[str, ...]
    condition: Expression


@dataclass(frozen=True, slots=True)
class Extension:
    """An entry that adds keys to the points that match it."""

    match: Params
    add: Params


class Rules:
    """The rules of one block, compiled once."""

    def __init__(self, block: Block, known: Collection[str]) -> None:
        """Compile the conditions, over all of the sweep's parameters. Raises ExpressionError."""
        if block.method == "list":
            own = tuple(dict.fromkeys(name for row in block.rows for name in row))
        else:
            own = tuple(name for dimension in block.dimensions for name in dimension.names)
        self.own = frozenset(own)  # the block's parameters before any key is added
        self.whens = _in_order(block.dimensions, known)
        self.excludes = tuple(entry for entry in block.exclude if entry and entry.keys() <= self.own)
        self.extensions = tuple(
            Extension(
                match={name: value for name, value in entry.items() if name in self.own},
                add={name: value for name, value in entry.items() if name not in self.own},
            )
            for entry in block.extend
        )
        self.added = tuple(dict.fromkeys(name for extension in self.extensions for name in extension.add))
        self.names = (*own, *self.added)
        self.wheres = tuple(Expression(text, known) for text in block.where)
        self.keep_all = not (self.whens or self.excludes or self.wheres)

    def apply(self, params: Params) -> Params | None:
        """The finished point from one value for every parameter; None when there is no such point.

        `params` is used up.
        """
        for when in self.whens:
            if not when.condition(params):
                for name in when.names:
                    del params[name]
        return self.thin(params)

    def thin(self, params: Params) -> Params | None:
        """What is left of `apply` once the absent parameters are gone."""
        if any(matches(entry, params) for entry in self.excludes):
            return None
        if self.extensions:
            params |= self.additions([extension for extension in self.extensions if matches(extension.match, params)])
        return params if all(where(params) for where in self.wheres) else None

    @staticmethod
    def additions(extensions: Sequence[Extension]) -> Params:
        """The keys that these entries add; later entries win."""
        added: Params = {}
        for extension in extensions:
            added |= extension.add
        return added


def matches(entry: Mapping[str, Value], params: Mapping[str, Value]) -> bool:
    """Whether a point has all of these values."""
    return all(name in params and same(value, params[name]) for name, value in entry.items())


def same(a: Value, b: Value) -> bool:
    """Equality as readers of YAML expect it: 1 equals 1.0 but not true, and NaN equals NaN."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    return bool(a == b) or bool(a != a and b != b)  # noqa: PLR0124  (NaN alone differs from itself)


def _in_order(dimensions: Sequence[Dimension], known: Collection[str]) -> tuple[When, ...]:
    """The conditional dimensions, each after those that its condition uses."""
    whens: dict[int, When] = {}
    giver: dict[str, int] = {}
    for position, dimension in enumerate(dimensions):
        if dimension.when is not None:
            whens[position] = When(position, dimension.names, Expression(dimension.when, known))
            giver.update(dict.fromkeys(dimension.names, position))
    ordered: dict[int, When] = {}
    while len(ordered) < len(whens):
        ready = {
            position: when
            for position, when in whens.items()
            if position not in ordered and all(giver.get(name, -1) in {-1, *ordered} for name in when.condition.names)
        }
        if not ready:
            stuck = [when.names[0] for position, when in whens.items() if position not in ordered]
            raise ExpressionError(
                f"The conditions in `when` of {', '.join(stuck)} depend on each other.",
                "In a condition, use only parameters that do not depend on it.",
            )
        ordered |= ready
    return tuple(ordered.values())
