"""Columns of tables: the kind that fits all values of a name, and values in that kind.

Whole numbers keep all their digits: a column of them is Int64 where all fit; beside floats it is Float64 only where
each is exactly a float; else it is text. Which text columns hold numbers stands in the Parquet file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

ColumnKind = Literal["int", "float", "bool", "str", "json", "digits"]  # digits: numbers as text
TYPES: dict[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "str": pl.String(),
    "json": pl.String(),
    "digits": pl.String(),
}
METADATA = "sweepfleet.columns"
_EXACT = 1 << 53  # up to here every whole number is a float
_INT64 = 1 << 63


@dataclass(slots=True)
class Seen:
    """The kinds of value that a name has had."""

    kinds: set[str] = field(default_factory=set)  # bool, int, big (past 64 bits), float, str
    inexact: bool = False  # whether some whole number is not exactly a float

    def add(self, value: Any) -> None:
        """Take note of a plain value."""
        if value is None:
            return
        if isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            self.kinds.add("int" if -_INT64 <= value < _INT64 else "big")
            self.inexact = self.inexact or not _is_float(value)
        else:
            self.kinds.add("float" if isinstance(value, float) else "str")

    def add_ints(self, values: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Note whether all of these are exactly floats."""
        large = values[(values > _EXACT) | (values < -_EXACT)]
        self.inexact = self.inexact or not all(map(_is_float, large.tolist()))

    @property
    def asks_for_ints(self) -> bool:
        """Whether the kind depends on the values of its whole numbers."""
        return {"int", "float"} <= self.kinds and "str" not in self.kinds and not self.inexact

    @property
    def kind(self) -> ColumnKind:
        """The kind of column that fits all of it."""
        kinds = self.kinds
        if "str" in kinds:
            return "str"
        if "float" in kinds:
            return "digits" if self.inexact else "float"  # true is 1.0 beside numbers
        if "big" in kinds:
            return "digits"
        return "int" if "int" in kinds else "bool" if kinds else "float"

    @property
    def numbers_in_text(self) -> bool:
        """Whether its column is text and has numbers."""
        return self.kind == "digits" or (self.kind == "str" and len(self.kinds) > 1)


def _is_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def column(name: str, values: Any, kind: str) -> pl.Series:
    """A column of plain values, or of an array of one type, in their common kind."""
    if isinstance(values, np.ndarray):
        if kind not in ("str", "json", "digits"):
            return pl.Series(name, values).cast(TYPES[kind])
        values = values.tolist()
    if kind in ("str", "json", "digits"):
        return pl.Series(name, [_text(value, kind) for value in values], pl.String)
    if kind == "float":
        values = [None if value is None else float(value) for value in values]
    elif kind == "int":
        values = [None if value is None else int(value) for value in values]
    return pl.Series(name, values, TYPES[kind])


def _text(value: Any, kind: str) -> str | None:
    if value is None or (isinstance(value, str) and kind != "json"):
        return value
    return json.dumps(int(value) if kind == "digits" and isinstance(value, bool) else value)


def metadata(*, json_columns: Iterable[str], number_columns: Iterable[str]) -> dict[str, str]:
    """A Parquet file's metadata of its text columns: which are JSON, and which contain numbers."""
    return {METADATA: json.dumps({"json": sorted(json_columns), "numbers": sorted(number_columns)})}


def readers(path: Path) -> Mapping[str, Any]:
    """For each text column of a table with other values than text: the function from a cell to its value."""
    try:
        said = json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}"))
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return {}
    return dict.fromkeys(said.get("json", ()), _value) | dict.fromkeys(said.get("numbers", ()), number)


def _value(cell: str | None) -> Any:
    return None if cell is None else json.loads(cell)


def number(cell: str | None) -> Any:
    """A cell as a number or boolean if it is one, else as it is."""
    if cell is None:
        return None
    try:
        found = json.loads(cell)
    except ValueError:
        return cell
    return found if isinstance(found, int | float) else cell
