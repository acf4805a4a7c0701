"""What the charts show: aggregates over all rows, small enough to travel inside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from grid.sweep import Metric
from sweep.report.axes import Axis, label
from sweep.report.scan import INDEX, METRIC, PARAM, Results, finite, gather, plain, query

AXES_MAX = 8
METRICS_MAX = 6
CELLS_MAX = 60_000  # over all pairs of axes and all metrics
SAMPLE_MAX = 2000  # lines of the parallel coordinates
LINES_MAX = 10  # axes of the parallel coordinates
HISTOGRAM_BINS = 50
TEXT_BARS_MAX = 20


def numeric_metrics(results: Results, metric: Metric | None) -> tuple[str, ...]:
    """The metrics with a finite number in at least one row, the sweep's own first."""
    names = [name for name in results.metrics if results.is_number(METRIC + name)]
    if not names or not results.rows:
        return ()
    counts = query(results.frame.select(finite(METRIC + name).count().alias(METRIC + name) for name in names))
    found = [name for name in names if counts[METRIC + name][0]]
    return tuple(sorted(found, key=lambda name: metric is None or name != metric.name))


def crosses(results: Results, axes: Sequence[Axis], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Mean, sd, least, greatest and count of each metric over each axis and each pair of axes, from all rows.

    As many axes as fit the budget of cells. None when there is nothing to draw against.
    """
    metrics = metrics[:METRICS_MAX]
    chosen: list[Axis] = []
    cells = 0
    for axis in axes[:AXES_MAX]:
        more = sum(len(axis.levels) * len(other.levels) for other in chosen) * len(metrics)
        if cells + more <= CELLS_MAX:
            chosen.append(axis)
            cells += more
    if not chosen or not metrics:
        return None
    return {
        "axes": [axis.to_json() for axis in chosen],
        "metrics": list(metrics),
        "singles": [_aggregate(results, [axis], metrics) for axis in chosen],
        "pairs": {
            f"{first},{second}": _aggregate(results, [chosen[first], chosen[second]], metrics)
            for first, second in combinations(range(len(chosen)), 2)
        },
    }


def _aggregate(results: Results, axes: Sequence[Axis], metrics: Sequence[str]) -> list[dict[str, list[Any]]]:
    """A table a metric: flat lists, one cell a combination of levels, the last axis varying fastest."""
    keys = [f"axis{position}" for position in range(len(axes))]
    statistics = [
        expression.alias(f"{position} {statistic}")
        for position in range(len(metrics))
        for statistic, expression in (
            ("mean", pl.col(f"metric{position}").mean()),
            ("sd", pl.col(f"metric{position}").std()),
            ("min", pl.col(f"metric{position}").min()),
            ("max", pl.col(f"metric{position}").max()),
            ("n", pl.col(f"metric{position}").count()),
        )
    ]
    found = query(
        results.frame.select(
            *(axis.key().alias(key) for axis, key in zip(axes, keys, strict=True)),
            *(finite(METRIC + name).alias(f"metric{position}") for position, name in enumerate(metrics)),
        )
        .group_by(keys)
        .agg(statistics)
    )
    shape = [len(axis.levels) for axis in axes]
    places = zip(*(axis.places(found[key]) for axis, key in zip(axes, keys, strict=True)), strict=True)
    flat = [None if None in place else int(np.ravel_multi_index(place, shape)) for place in places]
    tables = []
    for position in range(len(metrics)):
        table = {}
        for statistic in ("mean", "sd", "min", "max", "n"):
            cells: list[Any] = [0 if statistic == "n" else None] * math.prod(shape)
            values = found[f"{position} {statistic}"]
            if statistic != "n":
                values = values.set(~values.is_finite(), None).round_sig_figs(6)  # a sum may overflow
            for cell, value in zip(flat, values.to_list(), strict=True):
                if cell is not None:
                    cells[cell] = value
            table[statistic] = cells
        tables.append(table)
    return tables


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


def parallel(results: Results, axes: Sequence[Axis], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Up to 2,000 finished rows, evenly from the whole file, as positions on some ten axes.

    One row is drawn at random from each of as many equal stretches of the file: a fixed stride would fall
    in step with the grid and show one value of a parameter only. None with fewer than two axes.
    """
    measured = list(reversed(metrics[:3]))  # the sweep's own metric ends the line
    lines = sorted(axes[: LINES_MAX - len(measured)], key=lambda axis: results.params.index(axis.name))
    if not measured or len(lines) + len(measured) < 2:
        return None
    done = query(
        results.frame.select(ok=(pl.col("status") == "done") & finite(METRIC + measured[-1]).is_not_null())
        .with_row_index(INDEX)
        .filter("ok")
        .select(INDEX)
    )[INDEX].to_numpy()
    if len(done) < 2:
        return None
    count = min(SAMPLE_MAX, len(done))
    picks = np.arange(count)
    if count < len(done):
        jitter = np.random.default_rng(0).random(count)
        picks = ((picks + jitter) * (len(done) / count)).astype(np.int64)
    rows = done[picks].tolist()
    dimensions = []
    for axis in lines:
        column = gather(results, [PARAM + axis.name], rows)
        if axis.numeric:
            values = [plain(value) for value in column.to_series().to_list()]
            dimensions.append({"label": axis.name, "values": values, "log": axis.log})
        else:
            codes = axis.places(column.to_series())
            labels = [label(level) for level in axis.levels]
            dimensions.append({"label": axis.name, "values": codes, "levels": labels})
    for name in measured:
        numbers = gather(results, [METRIC + name], rows).to_series().cast(pl.Float64).to_list()
        present = [value for value in numbers if value is not None and math.isfinite(value)]
        log = min(present, default=0) > 0 and max(present) >= 1000 * min(present)
        dimensions.append({"label": name, "values": [plain(v) for v in numbers], "log": log, "metric": True})
    return {"dimensions": dimensions, "shown": count, "total": len(done)}
