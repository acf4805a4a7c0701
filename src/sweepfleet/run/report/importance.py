"""How much each parameter matters: the share of the metric's variance that it explains alone.

The main effects of a functional analysis of variance, with each parameter's own values (or bins) as its levels. For
a parameter with k levels over N configurations, with sums of squares between and within levels SSB and SSW:

    share = (SSB - (k - 1) * SSW / (N - k)) / (SSB + SSW)

which is epsilon squared (Kelley 1935): eta squared less what a parameter without any effect would explain by chance,
so that many levels gain nothing. The interval is a delete-a-group jackknife's, at 90 %: the configurations are put
into up to 200 groups by chance, the share is computed without each group, and 1.645 standard errors are taken. It
costs one pass per parameter and memory for levels times groups, whatever the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.axes import Axis
from sweepfleet.run.report.scan import INDEX, finite, query

GROUPS = 200  # of the jackknife
CONFIDENCE_Z = 1.645  # standard errors to either side: 90 % of a normal distribution
LEAST = 10  # configurations, below which nothing is said
DECADES = 1000  # a positive metric whose values span more than this factor is taken as its logarithm
VALUE = "value"


@dataclass(frozen=True, slots=True)
class Share:
    """What one parameter explains alone, of 1; `low` and `high` bound it with 90 % confidence."""

    axis: Axis
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Importance:
    """All parameters' shares, the greatest first, over `count` configurations."""

    shares: tuple[Share, ...]
    count: int
    log: bool  # of the metric's logarithm


def importance(frame: pl.LazyFrame, axes: Sequence[Axis]) -> Importance | None:
    """The shares of `axes`, over a frame with their `param.*` columns and the metric as `value`.

    None with fewer than ten finite values, or when all are equal.
    """
    value = finite(VALUE)
    low, high, mean, count = query(
        frame.select(low=value.min(), high=value.max(), mean=value.mean(), count=value.count())
    ).row(0)
    if count < LEAST or not axes or not low < high or not math.isfinite(mean):
        return None
    log = low > 0 and high >= DECADES * low
    if log:
        value = value.log(10)
        mean = query(frame.select(value.mean())).item()
    groups = min(GROUPS, count)
    rows = (
        frame.select(*(axis.key().alias(f"axis{place}") for place, axis in enumerate(axes)), y=value - mean)
        .filter(pl.col("y").is_not_null())
        .with_row_index(INDEX)
        .with_columns(group=_group(count, groups))
    )
    shares = [_share(rows, axis, f"axis{place}", groups) for place, axis in enumerate(axes)]
    found = [share for share in shares if share is not None]
    found.sort(key=lambda share: -share.share)
    return Importance(tuple(found), count=count, log=bool(log))


def _group(count: int, groups: int) -> pl.Expr:
    """A row's group: its own where there are few rows; otherwise by chance, and the same every time."""
    index = pl.col(INDEX).cast(pl.UInt64)
    return (index if groups == count else index.hash(seed=0) % groups).cast(pl.Int64)


def _share(rows: pl.LazyFrame, axis: Axis, key: str, groups: int) -> Share | None:
    cells = query(
        rows.group_by(key, "group").agg(n=pl.len(), total=pl.col("y").sum(), squares=(pl.col("y") ** 2).sum())
    )
    places = axis.places(cells[key])
    known = [place is not None for place in places]
    level = np.array([place for place in places if place is not None], dtype=np.int64)
    flat = level * groups + cells["group"].to_numpy()[known]
    shape = (len(axis.levels), groups)
    size = shape[0] * groups
    n, total, squares = (
        np.bincount(flat, weights=cells[name].to_numpy()[known].astype(float), minlength=size).reshape(shape)
        for name in ("n", "total", "squares")
    )
    sums = [part.sum(axis=1, keepdims=True) for part in (n, total, squares)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        share = float(_epsilon_squared(*sums)[0])
        without = _epsilon_squared(sums[0] - n, sums[1] - total, sums[2] - squares)
        without = without[np.isfinite(without)]
        if not math.isfinite(share) or len(without) < 2:
            return None
        error = math.sqrt((len(without) - 1) * float(without.var()))
    bound = CONFIDENCE_Z * error
    return Share(axis, *(min(1.0, max(0.0, each)) for each in (share, share - bound, share + bound)))


def _epsilon_squared(n: Any, total: Any, squares: Any) -> Any:
    """The share from counts, sums and sums of squares per level (rows), once for each column."""
    counts = n.sum(axis=0)
    levels = (n > 0.5).sum(axis=0)
    mean_total = total.sum(axis=0)
    whole = squares.sum(axis=0) - mean_total**2 / counts
    within = np.maximum(squares.sum(axis=0) - np.where(n > 0.5, total**2 / np.maximum(n, 1), 0.0).sum(axis=0), 0.0)
    between = whole - within
    chance = (levels - 1) * within / np.maximum(counts - levels, 1e-9)
    return np.where((whole > 0) & (counts > levels), (between - chance) / whole, np.nan)
