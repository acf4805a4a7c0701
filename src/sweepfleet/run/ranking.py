"""Ranks configurations, for the summary, `inv results --best`, the bar and the report.

A configuration is what a point is called by without `metric.over` and without its replicate. The mean of the metric
over its points decides. One of which a point failed, is NaN or infinite, or has not run yet, ranks after every
complete one, whatever the others say: the points that lived may be the easy ones.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.results import param_series

MEASURES = ("mean", "sd", "n", "of")  # the columns beside the parameters
DIGITS = 14  # of means that are compared: the order in which numbers are added up decides the next ones
MOST_PLANNED = 1_000_000  # points that are looked at to count those that have not run yet: a second or two
CHUNK = 1 << 16
PARAM, PLACE, KEPT, TWIN = "param.", "place", "kept", "twin"
COUNT = pl.UInt32
NOTHING, ONE, ALL = pl.lit(None, pl.Float64), pl.lit(1, COUNT), pl.lit(0).alias("all")


def configured(columns: list[str], metric: Metric) -> list[str]:
    """The columns of a results table that tell its configurations apart."""
    return [name for name in columns if name.startswith(PARAM) and name.removeprefix(PARAM) not in metric.over]


def rank(
    table: pl.LazyFrame,
    metric: Metric,
    *,
    space: Space | None = None,
    kept: pl.Series | None = None,
    top: int | None = None,
) -> pl.DataFrame:
    """The configurations of a results table, best first; equals in the grid's order.

    Args:
        table: as results.parquet has it, in the grid's order.
        metric: what decides. Where its column is text, the numbers in it count, and `true` and `false` as 1 and 0.
        space: the plan's points, where some may have no row yet; without it, all are taken to have one.
        kept: one boolean a row: rows whose value counts. The others count as points without one.
        top: no more than this many.

    Returns:
        the `param.*` columns without `metric.over`; `mean`; `sd`, of a sample, null for one value; `n`, the finite
        values; `of`, the points that it has; `point_id`, of its first row. Where `n` is 0, `mean` is null. Among the
        incomplete, a larger share of their points comes first, then the mean. With `metric.over` and more than
        `MOST_PLANNED` planned points that nobody can count in a moment, `of` is what the configuration with the most
        rows has.
    """
    schema = table.collect_schema()
    params = configured(schema.names(), metric)
    if kept is not None:
        table = pl.concat([table, kept.alias(KEPT).to_frame().lazy()], how="horizontal")
    value = _value(schema, metric, kept=kept is not None)
    rows = table.with_row_index(PLACE).select(PLACE, "replicate", *params, value=value)
    replicates = _query(table.select(pl.col("replicate").max())).item() or 0
    if not metric.over and not replicates and (space is None or space.plan.replicates == 1):
        # Each row is a configuration, and there may be millions: sorted without their parameters, which come last.
        means = rows.select(PLACE, mean="value", sd=NOTHING, n=pl.col("value").is_not_null().cast(COUNT), of=ONE)
        ranked = _first(means, pl.col("mean") * metric.sign, top)
        found = _gathered(table, params, ranked[PLACE])
    else:
        means = _grouped(rows, params, metric, space)
        ranked = _first(means, (pl.col("mean") * metric.sign).round_sig_figs(DIGITS), top)
        found = ranked.select(params)
    ids = _gathered(table, ["point_id"], ranked[PLACE])
    return pl.concat([found, ranked.select(MEASURES), ids], how="horizontal")


def _value(schema: pl.Schema, metric: Metric, *, kept: bool) -> pl.Expr:
    name = f"metric.{metric.name}"
    if name not in schema:
        return NOTHING
    number = pl.col(name).cast(pl.Float64, strict=False)
    if schema[name] == pl.String:  # of text, numbers and booleans
        flag = pl.when(pl.col(name) == "true").then(1.0).when(pl.col(name) == "false").then(0.0)
        number = pl.coalesce(number, flag)
    return pl.when(number.is_finite() & pl.col(KEPT) if kept else number.is_finite()).then(number)


def _grouped(rows: pl.LazyFrame, params: list[str], metric: Metric, space: Space | None) -> pl.LazyFrame:
    value = pl.col("value")
    keys: list[str] = params
    if not metric.over and _query(rows.group_by([*params, "replicate"]).len().select(pl.col("len").max() > 1)).item():
        # 1 equals 1.0, and a parameter that is null looks like one that is not there: of points that a table writes
        # alike, the first in the grid's order are one configuration, the second another.
        alike = [*params, "replicate"]
        rows = rows.with_columns(pl.int_range(pl.len(), dtype=COUNT).over(alike).alias(TWIN))
        keys = [*params, TWIN]
    means = (
        rows.group_by(keys or ALL)
        .agg(pl.col(PLACE).min(), mean=value.mean(), sd=value.std(), n=value.count().cast(COUNT), of=pl.len())
        .filter(pl.col("of") > 0)  # a table without rows and parameters gives a group without rows
        .with_columns(mean=pl.when(pl.col("mean").is_finite()).then("mean"))  # a sum can overflow
    )
    if space is None:
        return means
    if not metric.over:  # no condition of a grid looks at the replicate
        return means.with_columns(of=pl.lit(space.plan.replicates, COUNT))
    count = space.count()
    if count.exact and count.points == _query(rows.select(pl.len())).item():
        return means
    if space.size // space.plan.replicates > MOST_PLANNED:
        return means.with_columns(of=pl.col("of").max())
    planned = _planned(space, params)
    return means.drop("of").join(planned, on=params or [ALL.meta.output_name()], how="left", nulls_equal=True)


def _planned(space: Space, params: list[str]) -> pl.LazyFrame:
    """How many points each configuration of a plan has."""
    total = pl.DataFrame()
    once = Space(replace(space.plan, replicates=1))
    for start in range(0, once.size, CHUNK):
        _, columns = once.params_columns(start, start + CHUNK)
        frame = pl.DataFrame(list(param_series(once, columns))).with_columns(of=ONE)
        counts = pl.concat([total, frame]) if total.height else frame
        total = counts.group_by(params or ALL).agg(pl.col("of").sum())
    return total.lazy().with_columns(pl.col("of") * space.plan.replicates)


def _first(means: pl.LazyFrame, key: pl.Expr, top: int | None) -> pl.DataFrame:
    """The `top` configurations: complete ones, then by the share of their points, then by key, then by place."""
    short = pl.when(pl.col("mean").is_null()).then(2.0).otherwise(1 - pl.col("n") / pl.col("of"))
    keyed = means.with_columns(short=short, key=key)
    order = ["short", "key", PLACE]
    return _query(keyed.sort(order) if top is None else keyed.bottom_k(top, by=order).sort(order))


def _gathered(table: pl.LazyFrame, columns: list[str], places: pl.Series) -> pl.DataFrame:
    """These columns of the rows at these places, in that order; one whole column in memory at a time."""
    return pl.DataFrame([_query(table.select(pl.col(name).gather(places.to_list()))).to_series() for name in columns])


def _query(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a query in morsels, so that memory follows its answer and not the file."""
    return frame.collect(engine="streaming")
