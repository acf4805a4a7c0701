"""Points of two runs that have the same parameters, and how their metrics differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from sweepfleet.run.report.scan import METRIC, PARAM, Results, finite, query

DRAWN_MAX = 1000  # pairs in the chart
CONFIDENCE = 0.95
DIGITS = 7


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of a run against the first run's, over their common points: the other less the first.

    `low` and `high` bound the mean difference with 95 % confidence (Student's t over `units`); `p_value` is of
    Wilcoxon's signed-rank test. Both None with fewer than three units; `p_value` too when no two values differ.
    """

    metric: str
    pairs: int  # of points
    units: int  # what statistics are over: configurations, each the mean of its pairs, or else the pairs
    first_mean: float
    other_mean: float
    mean: float
    low: float | None
    high: float | None
    lower: int  # units in which the other is lower than the first
    higher: int
    p_value: float | None
    drawn: tuple[list[float], list[float]]  # up to 1,000 units: the first's values and the other's


@dataclass(frozen=True, slots=True)
class Pairs:
    """The common part of two runs; `averaged` are parameters that only one has, over which means were taken."""

    keys: tuple[str, ...]
    averaged: tuple[str, ...]
    differences: tuple[Difference, ...]


def pairs(first: Results, other: Results, metrics: Sequence[str], *, over: Sequence[str]) -> Pairs:
    """Pair points by the parameters that both runs have, and by replicate; `over` makes no unit of its own."""
    keys = tuple(name for name in first.params if name in other.params)
    averaged = tuple(name for name in (*first.params, *other.params) if name not in keys)
    names = [PARAM + name for name in keys]
    on = [*names, "replicate"]
    found = query(
        _points(first, other, names, metrics, "a").join(
            _points(other, first, names, metrics, "b"), on=on, how="inner", nulls_equal=True
        )
    )
    units = [PARAM + name for name in keys if name not in over]
    differences = (_difference(found, name, place, units) for place, name in enumerate(metrics))
    return Pairs(keys, averaged, tuple(each for each in differences if each is not None))


def _points(run: Results, against: Results, names: list[str], metrics: Sequence[str], letter: str) -> pl.LazyFrame:
    keys = [_comparable(run, against, name) for name in names]
    rows = run.frame.filter(pl.col("status") == "done").select(
        *keys, "replicate", *(finite(METRIC + name).alias(f"{letter}{place}") for place, name in enumerate(metrics))
    )
    return rows.group_by([*names, "replicate"]).agg(pl.all().mean())


def _comparable(run: Results, against: Results, name: str) -> pl.Expr:
    """A parameter as both runs can have it: 1 and 1.0 are the same value."""
    here, there = run.schema[name], against.schema[name]
    if here == there:
        return pl.col(name)
    return pl.col(name).cast(pl.Float64 if here.is_numeric() and there.is_numeric() else pl.String)


def _difference(found: pl.DataFrame, name: str, place: int, units: list[str]) -> Difference | None:
    both = found.select(*units, a=f"a{place}", b=f"b{place}").drop_nulls(["a", "b"])
    if both.is_empty():
        return None
    of_units = both.group_by(units, maintain_order=True).agg(pl.col("a", "b").mean()) if units else both
    values = of_units if len(of_units) > 1 else both
    a, b = values["a"].to_numpy(), values["b"].to_numpy()
    gap = b - a
    low = high = p_value = None
    if len(gap) > 2:
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(gap) - 1) * gap.std(ddof=1) / math.sqrt(len(gap)))
        low, high = float(gap.mean()) - reach, float(gap.mean()) + reach
        if np.any(gap != 0):
            p_value = float(stats.wilcoxon(gap, method="approx").pvalue)
    picks = np.arange(len(a))
    if len(a) > DRAWN_MAX:
        picks = np.sort(np.random.default_rng(0).choice(len(a), DRAWN_MAX, replace=False))
    drawn = tuple([float(f"{value:.{DIGITS}g}") for value in side[picks]] for side in (a, b))
    return Difference(
        metric=name, pairs=len(both), units=len(values), first_mean=float(a.mean()), other_mean=float(b.mean()),
        mean=float(gap.mean()), low=low, high=high, lower=int((gap < 0).sum()), higher=int((gap > 0).sum()),
        p_value=p_value, drawn=(drawn[0], drawn[1]),
    )  # fmt: skip
