"""Questions to a finished table: which rows, and which of them are best."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from grid.errors import UsageError
from grid.expressions import Expression, ExpressionError

PREFIXES = ("param.", "metric.")


def select(path: Path, *, where: str | None, best: int | None, metric: tuple[str, str] | None) -> pl.DataFrame:
    """The rows of a results file.

    Args:
        path: results.parquet.
        where: a condition in the grid's own language, over parameters, metrics and the other columns.
        best: only this many, the best first.
        metric: its name and "minimize" or "maximize".

    Raises:
        UsageError: the condition cannot be read, or `best` is asked of a run without a metric.
    """
    table = pl.scan_parquet(path)
    columns = table.collect_schema().names()
    if where is not None:
        table = _filtered(table, where, columns)
    if best is None:
        return table.collect()
    if best < 1:
        raise UsageError(f"--best {best}: ask for 1 or more.")
    if metric is None or f"metric.{metric[0]}" not in columns:
        known = ", ".join(name.removeprefix("metric.") for name in columns if name.startswith("metric."))
        raise UsageError(f"--best needs a metric. Say which in grid.yaml: metric: {{name: ...}}; there are: {known}.")
    column = pl.col(f"metric.{metric[0]}")
    ranked = table.filter(column.is_not_null() & column.is_not_nan())
    return ranked.sort(column, descending=metric[1] == "maximize", maintain_order=True).head(best).collect()


def best_of(path: Path, metric: str, *, maximize: bool) -> tuple[str, float, int] | None:
    """The parameters with the best finite metric: the mean over their replicates, for one alone is luck.

    Returns:
        the id of their first point, the mean, and how many replicates it is of; the first in the grid's order
        among equals; None when no point has a finite metric.
    """
    table = pl.scan_parquet(path)
    name = f"metric.{metric}"
    schema = table.collect_schema()
    if name not in schema or not (schema[name].is_numeric() or schema[name] == pl.Boolean):
        return None
    params = [column for column in schema.names() if column.startswith("param.")]
    value = pl.col(name).cast(pl.Float64).alias("value")
    finite = table.select("point_id", "replicate", *params, value).filter(pl.col("value").is_finite())
    if not finite.select(pl.col("replicate").max()).collect().item():  # no replicates, and maybe a million rows
        means = finite.select("point_id", "value", pl.lit(1).alias("count"))
    else:
        ids, count = pl.col("point_id").first(), pl.len().alias("count")
        groups = finite.group_by(params or pl.lit(0), maintain_order=True)
        means = groups.agg(ids, pl.col("value").mean(), count).select("point_id", "value", "count")
    best = pl.col("value").max() if maximize else pl.col("value").min()
    found = means.filter(pl.col("value") == best).head(1).collect()  # arg_min promises no order among equals
    return found.row(0) if found.height else None


def _filtered(table: pl.LazyFrame, where: str, columns: list[str]) -> pl.LazyFrame:
    names = _names(columns)
    try:
        holds = Expression(where, names)
    except ExpressionError as error:
        raise UsageError(f"--where {where!r}: {error.message} {error.remedy}") from None
    used = sorted(holds.names)
    values = table.select([pl.col(names[name]).alias(name) for name in used]).collect()
    mask = [holds(row) for row in values.iter_rows(named=True)] if used else [holds({})] * values.height
    rows = pl.Series("keep", mask, dtype=pl.Boolean)
    return table.filter(rows)


def _names(columns: list[str]) -> dict[str, str]:
    """What a condition may call each column: its full name, and the short one where only one column has it."""
    short: dict[str, list[str]] = {}
    for column in columns:
        for prefix in PREFIXES:
            if column.startswith(prefix):
                short.setdefault(column.removeprefix(prefix), []).append(column)
    names = {name: found[0] for name, found in short.items() if len(found) == 1 and name not in columns}
    return names | {column: column for column in columns}
