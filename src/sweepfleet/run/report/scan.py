"""The rows of a run as a lazy scan: never more than a few columns in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.run.results import opened

PARAM, METRIC = "param.", "metric."
SIZE_MAX = 1e300  # differences and products of larger numbers overflow, here and in the chart library
INDEX = "row"  # the position of a row in the file, counted from 0


@dataclass(frozen=True, slots=True)
class Results:
    """A results file that has been opened but not read."""

    frame: pl.LazyFrame
    rows: int
    schema: dict[str, pl.DataType]

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters' names, without their prefix, in the file's order."""
        return tuple(name.removeprefix(PARAM) for name in self.schema if name.startswith(PARAM))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics' names, without their prefix, in the file's order."""
        return tuple(name.removeprefix(METRIC) for name in self.schema if name.startswith(METRIC))

    def is_number(self, column: str) -> bool:
        """Whether a column can be averaged: a number, or true/false taken as 1 and 0."""
        kind = self.schema.get(column)
        return kind is not None and (kind.is_numeric() or kind == pl.Boolean)


def open_results(path: Path) -> Results:
    """Open `path` (Parquet); unless it is small, only its footer is read. Raises OSError when it is not there."""
    frame = opened(path)
    schema = dict(frame.collect_schema())
    rows = query(frame.select(pl.len()))
    return Results(frame=frame, rows=int(rows.item()), schema=schema)


def query(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a query in morsels, so that memory follows its answer and not the file."""
    return frame.collect(engine="streaming")


def gather(results: Results, columns: Sequence[str], rows: Sequence[int]) -> pl.DataFrame:
    """The named columns at the given positions, in that order; one whole column in memory at a time."""
    return pl.DataFrame(
        [query(results.frame.select(pl.col(name).gather(list(rows)))).to_series() for name in columns]
    )


def finite(column: str) -> pl.Expr:
    """A metric as a float, null wherever there is no number to average or to draw: NaN, infinities, past 1e300."""
    value = pl.col(column).cast(pl.Float64, strict=False)
    return pl.when(value.abs() <= SIZE_MAX).then(value)


def plain(value: Any) -> Any:
    """A value as JSON can carry it: what a browser's number would lose goes as text.

    That is NaN, the infinities, and integers past 2^53.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value if isinstance(value, int | float | str) else str(value)
