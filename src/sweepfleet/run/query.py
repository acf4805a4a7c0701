"""Queries of a finished table: which rows, and which of them are best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.expressions import Expression, ExpressionError
from sweepfleet.grid.names import quoted
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.columns import number, readers
from sweepfleet.run.ranking import rank

PREFIXES = ("param.", "metric.")


def select(
    path: Path, *, where: str | None, best: int | None, metric: Metric | None, space: Space | None = None
) -> pl.DataFrame:
    """The rows of a results file, or its best configurations.

    Args:
        path: results.parquet.
        where: a condition in the grid's own language, over parameters, metrics and the other columns.
        best: only this many, the best first: rows, or, where a mean is over several rows, configurations as
            `run.ranking.rank` has them.
        metric: what decides.
        space: the plan's points, where some may not have run yet.

    Raises:
        UsageError: the condition cannot be read, or `best` is asked of a run without a metric.
    """
    table = pl.scan_parquet(path)
    columns = table.collect_schema().names()
    kept = None if where is None else _holding(table, where, columns, readers(path))
    if best is None:
        return (table if kept is None else table.filter(kept)).collect()
    if best < 1:
        raise UsageError(f"--best {best}: must be 1 or more.")
    if metric is None or not _is_number(table, f"metric.{metric.name}"):
        metrics = [name.removeprefix("metric.") for name in columns if name.startswith("metric.")]
        known = f"there are: {', '.join(metrics)}." if metrics else "no point has returned one."
        seen = "--best needs a metric." if metric is None else f"--best: no point has a number as {metric.name!r}."
        raise UsageError(f"{seen} Say which metric in grid.yaml: metric: {{name: ...}}; {known}")
    ranked = rank(table, metric, space=space, kept=kept, top=best).filter(pl.col("mean").is_not_null())
    if metric.over or ranked.select((pl.col("of") > 1).any()).item():
        return ranked
    rows = table.filter(pl.col("point_id").is_in(ranked["point_id"].to_list())).collect()
    return ranked.select("point_id").join(rows, on="point_id", maintain_order="left").select(columns)


def _is_number(table: pl.LazyFrame, name: str) -> bool:
    """Whether a column has numbers; in one of text, those that a point gave while others said "diverged"."""
    schema = table.collect_schema()
    if name not in schema or schema[name] != pl.String:
        return name in schema
    return bool(table.select(pl.col(name).cast(pl.Float64, strict=False).is_not_null().any()).collect().item())


def _holding(table: pl.LazyFrame, where: str, columns: list[str], read: Mapping[str, Any]) -> pl.Series:
    """For every row, whether the condition is true."""
    names = _names(columns)
    try:
        holds = Expression(where, names)
    except ExpressionError as error:
        raise UsageError(f"--where {where!r}: {error.message} {_both(where, names) or error.remedy}") from None
    used = sorted(holds.names)
    if not used:
        return pl.Series([holds({})] * table.select(pl.len()).collect().item(), dtype=pl.Boolean)
    values = table.select([pl.col(names[name]).alias(name) for name in used]).collect()
    more = {name: read[names[name]] for name in used if names[name] in read}  # numbers and lists that are text there
    return pl.Series([holds(_read(row, more)) for row in values.iter_rows(named=True)], dtype=pl.Boolean)


def _both(where: str, names: Mapping[str, str]) -> str:
    """What to write in place of a name that a parameter and a metric share; empty where that is not the mistake."""
    short = {name.removeprefix("param.") for name in names if name.startswith("param.")} - names.keys()
    try:
        used = Expression(where, {*names, *short}).names & short
    except ExpressionError:
        return ""
    found = next((name for name in sorted(used) if f"metric.{name}" in names), None)
    if found is None:
        return ""
    one, other = quoted(f"param.{found}"), quoted(f"metric.{found}")
    return f"A parameter and a metric have this name. Write {one} or {other}."


def _read(row: dict[str, Any], readers: Mapping[str, Any]) -> dict[str, Any]:
    return row | {name: read(row[name]) for name, read in readers.items()} if readers else row


def json_rows(path: Path, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of a results file for JSON; metrics that are text only to keep their digits become numbers."""
    more = {name: read for name, read in readers(path).items() if read is number and name in rows.columns}
    return (_read(row, more) for row in rows.iter_rows(named=True))


def _names(columns: list[str]) -> dict[str, str]:
    """What a condition may call each column: its full name, and the short one where only one column has it."""
    short: dict[str, list[str]] = {}
    for column in columns:
        for prefix in PREFIXES:
            if column.startswith(prefix):
                short.setdefault(column.removeprefix(prefix), []).append(column)
    names = {name: found[0] for name, found in short.items() if len(found) == 1 and name not in columns}
    return names | {column: column for column in columns}
