"""How each metric is spread, over all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.axes import label
from sweepfleet.run.report.crosses import METRICS_MAX
from sweepfleet.run.report.scan import METRIC, Results, finite, query

HISTOGRAM_BINS = 50
TEXT_BARS_MAX = 20


def distributions(results: Results, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """How each metric is spread: bins for numbers, counts for texts; what cannot be drawn is counted."""
    texts = [name for name in results.metrics if results.schema[METRIC + name] == pl.String]
    bars = (_bars(results, name) for name in texts[:METRICS_MAX])
    return [*(_histogram(results, name) for name in metrics[:METRICS_MAX]), *filter(None, bars)]


def _histogram(results: Results, name: str) -> dict[str, Any]:
    column = METRIC + name
    value = finite(column)
    low, high, middle, first, last, count, present = query(
        results.frame.select(
            low=value.min(), high=value.max(), middle=value.median(), first=value.quantile(0.01),
            last=value.quantile(0.99), count=value.count(), present=pl.col(column).count(),
        )
    ).row(0)  # fmt: skip
    log = low > 0 and high >= 1000 * low and middle < 0.2 * high
    if not log and high - low > 20 * (last - first) > 0:  # a few outliers would leave one bar: look at the rest
        low, high = first, last
    if low == high:
        low, high = low - max(0.5, abs(low) / 10), high + max(0.5, abs(high) / 10)
    bins = int(np.clip(math.sqrt(count) * 1.5, 8, HISTOGRAM_BINS))
    edges = np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)
    scale = value.log(10) if log else value
    start, stop = (math.log10(low), math.log10(high)) if log else (low, high)
    code = ((scale - start) * (bins / (stop - start))).floor().clip(0, bins - 1).cast(pl.Int16)
    inside = value.is_between(low * (1 - 1e-12) if log else low, high * (1 + 1e-12) if log else high)
    binned = query(
        results.frame.select(code=pl.when(inside).then(code)).drop_nulls().group_by("code").agg(n=pl.len())
    )
    counts = [0] * bins
    for place, size in binned.iter_rows():
        counts[place] = size
    return {
        "name": name,
        "kind": "number",
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "counts": counts,
        "log": bool(log),
        "outside": count - sum(counts),
        "not_finite": present - count,
        "median": float(f"{middle:.6g}"),
    }


def _bars(results: Results, name: str) -> dict[str, Any] | None:
    column = METRIC + name
    counted = query(
        results.frame.select(column)
        .drop_nulls()
        .group_by(column)
        .agg(n=pl.len())
        .sort(["n", column], descending=[True, False])
        .head(TEXT_BARS_MAX + 1)
    )
    if counted.is_empty():
        return None
    shown = counted.head(TEXT_BARS_MAX)
    return {
        "name": name,
        "kind": "text",
        "labels": [label(text) for text in shown[column]],
        "counts": shown["n"].to_list(),
        "more": len(counted) > len(shown),
    }
