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
    schema = table.collect_schema()
    columns = schema.names()
    if where is not None:
        table = _filtered(table, where, columns)
    if best is None:
        return table.collect()
    if best < 1:
        raise UsageError(f"--best {best}: ask for 1 or more.")
    if metric is None or not _is_number(table, f"metric.{metric[0]}"):
        known = ", ".join(name.removeprefix("metric.") for name in columns if name.startswith("metric."))
        raise UsageError(f"--best needs a metric. Say which in grid.yaml: metric: {{name: ...}}; there are: {known}.")
    column = pl.col(f"metric.{metric[0]}").cast(pl.Float64, strict=False)
    ranked = table.filter(column.is_finite())
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
    if not _is_number(table, name):
        return None
    params = [column for column in schema.names() if column.startswith("param.")]
    value = pl.col(name).cast(pl.Float64, strict=False).alias("value")
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


def _is_number(table: pl.LazyFrame, name: str) -> bool:
    """Whether a column has numbers; in one of text, those that a point gave while others said "diverged"."""
    schema = table.collect_schema()
    if name not in schema or schema[name] != pl.String:
        return name in schema
    return bool(table.select(pl.col(name).cast(pl.Float64, strict=False).is_not_null().any()).collect().item())


def _filtered(table: pl.LazyFrame, where: str, columns: list[str]) -> pl.LazyFrame:
    names = _names(columns)
    try:
        holds = Expression(where, names)
    except ExpressionError as error:
        raise UsageError(f"--where {where!r}: {error.message} {error.remedy}") from None
    used = sorted(holds.names)
    if not used:
        return table if holds({}) else table.limit(0)
    values = table.select([pl.col(names[name]).alias(name) for name in used]).collect()
    rows = pl.Series("keep", [holds(row) for row in values.iter_rows(named=True)], dtype=pl.Boolean)
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
