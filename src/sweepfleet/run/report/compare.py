"""Several runs side by side, as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report import compare_page
from sweepfleet.run.report.assemble import PLOTLY, assemble, write_page
from sweepfleet.run.report.axes import Axis, profile
from sweepfleet.run.report.clock import clock_of, spans
from sweepfleet.run.report.configurations import Configurations, configurations
from sweepfleet.run.report.crosses import crosses, numeric_metrics
from sweepfleet.run.report.history import history
from sweepfleet.run.report.pairs import Pairs, pairs
from sweepfleet.run.report.scan import METRIC, Results, finite, open_results, query

SCRIPTS = ("page.js", "chart.js", "drawing.js", "utilisation.js", "compare.js")
METRICS_MAX = 8
BINS = 40


@dataclass(frozen=True, slots=True)
class Run:
    """A run to compare: its name and its files."""

    name: str
    results: Path  # Parquet
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]
    metric: Metric | None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs, looked at."""

    run: Run
    results: Results
    metrics: tuple[str, ...]
    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any]
    compared: Configurations | None


def write_comparison(path: Path, runs: Sequence[Run]) -> Path:
    """Write the page that compares two or more runs, atomically, and return its path.

    The first run's metric, or else the first that all have, decides; the first run is what others are set against.

    Raises:
        UsageError: a run has no finished point, or no metric is a number in all of them.
        OSError: results cannot be read, or the page cannot be written.
    """
    metric, sides = _look(runs)
    shared = [name for name in sides[0].metrics if all(name in side.metrics for side in sides)]
    metrics = shared[:METRICS_MAX]
    over = metric.over
    found = [pairs(sides[0].results, side.results, metrics, over=over) for side in sides[1:]]
    data = {
        "metric": {"name": metric.name, "goal": metric.goal, "over": list(over)},
        "metrics": metrics,
        "runs": [_side_data(side, metrics) for side in sides],
        "spreads": [_spread(sides, name) for name in metrics],
        "pairs": [_pairs_data(each) for each in found],
        "axes": [],
    }
    body = compare_page.body(sides, metric=metric, pairs=found, left_out=len(shared) - len(metrics))
    title = f"{', '.join(side.run.name for side in sides)} · sweepfleet"
    return write_page(path, assemble(title=title, body=body, data=data, scripts=SCRIPTS, libraries=[PLOTLY]))


def _look(runs: Sequence[Run]) -> tuple[Metric, list[Side]]:
    opened = [open_results(run.results) for run in runs]
    problems = [
        f"Run {run.name!r} has no finished point." for run, each in zip(runs, opened, strict=True) if not each.rows
    ]
    if problems:
        raise UsageError(" ".join(problems))
    asked = next((run.metric for run in runs if run.metric is not None), None)
    measured = [numeric_metrics(each, asked.name if asked else None) for each in opened]
    shared = [name for name in measured[0] if all(name in names for names in measured)]
    if not shared:
        known = "; ".join(
            f"{run.name}: {', '.join(names) or 'none'}" for run, names in zip(runs, measured, strict=True)
        )
        raise UsageError(f"These runs have no numeric metric in common. Their metrics: {known}.")
    metric = asked if asked is not None and asked.name in shared else Metric(shared[0])
    sides = []
    for run, results, names in zip(runs, opened, measured, strict=True):
        known_params = profile(results)
        own = Metric(metric.name, metric.goal, run.metric.over if run.metric else metric.over)
        sides.append(Side(run, results, names, known_params.axes, known_params.fixed, configurations(results, own)))
    return metric, sides


def _side_data(side: Side, metrics: Sequence[str]) -> dict[str, Any]:
    """A run's means at each value of its parameters, and its best so far."""
    rows = side.results.frame
    complete = side.compared.complete(side.results) if side.compared else None
    if complete is not None:
        rows = pl.concat([rows, pl.LazyFrame({"complete": complete})], how="horizontal").filter("complete")
    times = spans(side.results).sort("start")
    steps = None
    if side.compared is not None and not times.is_empty():
        clock = clock_of(times["start"].to_numpy(), times["end"].to_numpy())
        steps = history(side.results, side.compared, clock)
    return {
        "name": side.run.name,
        "axes": [axis.to_json() for axis in side.axes],
        "singles": crosses(rows, side.axes, metrics, pairs_max=0)["singles"],
        "history": (steps["configurations"] or steps["rows"]) if steps else None,
    }


def _spread(sides: Sequence[Side], name: str) -> dict[str, Any]:
    """How one metric is spread in each run: shares of its rows over common bins, and its quartiles."""
    value = finite(METRIC + name)
    ends = [
        query(
            side.results.frame.select(
                low=value.min(), high=value.max(), first=value.quantile(0.005), last=value.quantile(0.995),
                lower=value.quantile(0.25), middle=value.median(), upper=value.quantile(0.75), count=value.count(),
            )
        ).row(0, named=True)
        for side in sides
    ]  # fmt: skip
    low, high = min(each["low"] for each in ends), max(each["high"] for each in ends)
    log = low > 0 and high >= 1000 * low
    if not log and high - low > 20 * (max(each["last"] for each in ends) - min(each["first"] for each in ends)) > 0:
        low, high = min(each["first"] for each in ends), max(each["last"] for each in ends)
    if low == high:
        low, high = low - max(0.5, abs(low) / 10), high + max(0.5, abs(high) / 10)
    edges = np.geomspace(low, high, BINS + 1) if log else np.linspace(low, high, BINS + 1)
    edges[0], edges[-1] = low, high
    runs = []
    for side, each in zip(sides, ends, strict=True):
        values = query(side.results.frame.select(value.alias("value")).drop_nulls())["value"].to_numpy()
        counts, _ = np.histogram(values, bins=edges)
        runs.append(
            {
                "shares": [float(f"{count / len(values):.5g}") for count in counts],
                "outside": len(values) - int(counts.sum()),
                **{key: float(f"{each[key]:.6g}") for key in ("lower", "middle", "upper")},
                "count": each["count"],
            }
        )
    return {"name": name, "log": bool(log), "edges": [float(f"{edge:.6g}") for edge in edges], "runs": runs}


def _pairs_data(found: Pairs) -> dict[str, Any]:
    return {
        each.metric: {"first": each.drawn[0], "other": each.drawn[1], "units": each.units}
        for each in found.differences
        if math.isfinite(each.mean)
    }
