"""Entries of `exclude`, `include` and points files: maps of parameters, interpreted with the rest of the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence

from sweepfleet.grid.expressions import Expression
from sweepfleet.grid.plan import Value
from sweepfleet.grid.wording import choices, show

Row = dict[str, Value]


def prefixes_of(names: Iterable[str]) -> frozenset[str]:
    """What nested names begin with, dots included: net.sgd.lr has net. and net.sgd."""
    return frozenset(name[: at + 1] for name in names for at, letter in enumerate(name) if letter == ".")


def opened(entry: Row, prefixes: Collection[str]) -> Row:
    """An entry with its maps flattened where they are nested parameters: {net: {depth: 2}} is {net.depth: 2}."""

    def items(values: Row, prefix: str) -> Iterator[tuple[str, Value]]:
        for key, value in values.items():
            if isinstance(value, dict) and f"{prefix}{key}." in prefixes:
                yield from items(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(items(entry, "")) if prefixes else entry


def meeting(rows: Sequence[Row], conditions: Sequence[Expression]) -> list[Row]:
    """The rows that meet all conditions whose parameters they have."""
    return [row for row in rows if all(not ask.names <= row.keys() or ask(row) for ask in conditions)]


def nearest_value(value: Value, values: Sequence[Value]) -> str:
    """What to write instead of a value that never occurs."""
    if not values:
        return "Write a value that it takes."
    number = isinstance(value, int | float) and not isinstance(value, bool)
    numbers = [known for known in values if isinstance(known, int | float) and not isinstance(known, bool)]
    if number and numbers:
        return f"The nearest value is {show(min(numbers, key=lambda known: abs(known - value)))}."
    near = difflib.get_close_matches(str(value), [str(known) for known in values], n=1)
    if near and near[0] == str(value):  # text that reads as a number or a truth value, or the other way round
        meant = next(known for known in values if str(known) == near[0])
        return f"Did you mean {show(json.dumps(meant))}, {'text' if isinstance(meant, str) else 'without quotes'}?"
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Its values are {choices([show(known).strip('`') for known in values])}."
