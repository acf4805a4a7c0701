"""Statistics of the metrics over one parameter and over pairs of them, small enough to travel inside the page.

A page whose sample holds every row needs none of them: the browser works them out, for any pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.axes import Axis
from sweepfleet.run.report.scan import METRIC, Results, finite, query

METRICS_MAX = 12
CELLS_MAX = 60_000  # over all pairs of axes and all metrics
PAIRS_MAX = 21  # each costs a pass over the rows
SINGLES_MAX = 60


def numeric_metrics(results: Results, first: str | None) -> tuple[str, ...]:
    """The metrics with a finite number in at least one row, the one named first before all others.

    Of that one, numbers count where other rows have a text.
    """
    names = [name for name in results.metrics if name == first or results.is_number(METRIC + name)]
    if not names or not results.rows:
        return ()
    counts = query(results.frame.select(finite(METRIC + name).count().alias(METRIC + name) for name in names))
    found = [name for name in names if counts[METRIC + name][0]]
    return tuple(sorted(found, key=lambda name: name != first))


def crosses(
    rows: pl.LazyFrame, axes: Sequence[Axis], metrics: Sequence[str], *, pairs_max: int = PAIRS_MAX
) -> dict[str, Any]:
    """Mean, sd, least, greatest and count of each metric over each axis, and over each pair within the budgets.

    `rows` are those to count, with their `param.*` and `metric.*` columns. The first axes' pairs come first. Keys
    of `singles` are positions of axes, those of `pairs` two of them with a comma between.
    """
    cells = 0
    pairs: dict[str, Any] = {}
    # Pairs whose later axis comes early first: (0, 1), (0, 2), (1, 2), (0, 3), ...
    for first, second in sorted(combinations(range(len(axes)), 2), key=lambda pair: (pair[1], pair[0])):
        more = len(axes[first].levels) * len(axes[second].levels) * len(metrics)
        if len(pairs) >= pairs_max:
            break
        if cells + more <= CELLS_MAX:
            pairs[f"{first},{second}"] = _aggregate(rows, [axes[first], axes[second]], metrics)
            cells += more
    singles = {str(place): _aggregate(rows, [axis], metrics) for place, axis in enumerate(axes[:SINGLES_MAX])}
    return {"singles": singles, "pairs": pairs}


def _aggregate(rows: pl.LazyFrame, axes: Sequence[Axis], metrics: Sequence[str]) -> list[dict[str, list[Any]]]:
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
        rows.select(
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
