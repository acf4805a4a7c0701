"""Finished rows, all of them or an even sample, as the numbers that charts of single rows draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.axes import Axis
from sweepfleet.run.report.clock import Clock
from sweepfleet.run.report.scan import INDEX, METRIC, PARAM, SIZE_MAX, Results, gather, query

ROWS_MAX = 2000
CELLS_MAX = 60_000  # a sweep of 200 parameters embeds fewer rows
DIGITS = 7


def sample(
    results: Results, axes: Sequence[Axis], metrics: Sequence[str], *, clock: Clock | None, complete: pl.Series | None
) -> dict[str, Any] | None:
    """Up to 2,000 finished rows, evenly from the whole file, as columns; None when no row has finished.

    One row is drawn at random from each of as many equal stretches of the file: a fixed stride would fall
    in step with the grid and show one value of a parameter only.

    `params` holds a list for each axis: the place of each row's level, or its value where levels are bins.
    `metrics` holds finite numbers and nulls, `ended` seconds on the clock. `complete` (one per row of the file)
    marks rows of configurations that have all their points; `left_out` are the sampled rows that are not.
    """
    limit = max(200, min(ROWS_MAX, CELLS_MAX // (len(axes) + len(metrics) + 1)))
    done = query(results.frame.select(ok=pl.col("status") == "done").with_row_index(INDEX).filter("ok").select(INDEX))
    places = done[INDEX].to_numpy()
    if not len(places):
        return None
    count = min(limit, len(places))
    if count < len(places):
        jitter = np.random.default_rng(0).random(count)
        picks = ((np.arange(count) + jitter) * (len(places) / count)).astype(np.int64)
        places = places[picks]
    rows = places.tolist()
    return {
        "params": [_places(axis, gather(results, [PARAM + axis.name], rows).to_series()) for axis in axes],
        "metrics": [_numbers(gather(results, [METRIC + name], rows).to_series()) for name in metrics],
        "ended": _ended(results, rows, clock),
        "left_out": [] if complete is None else np.flatnonzero(~complete.to_numpy()[places]).tolist(),
        "shown": count,
        "total": len(done),
    }


def _places(axis: Axis, values: pl.Series) -> list[Any]:
    return _numbers(values) if axis.edges else axis.places(values)


def _numbers(values: pl.Series) -> list[float | int | None]:
    """Finite numbers, shorter than they are known; true and false as 1 and 0."""
    return [_short(value) for value in values.cast(pl.Float64, strict=False).to_list()]


def _short(value: float | None) -> float | int | None:
    if value is None or not abs(value) <= SIZE_MAX:
        return None
    number = float(f"{value:.{DIGITS}g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _ended(results: Results, rows: Sequence[int], clock: Clock | None) -> list[float | None]:
    if clock is None:
        return []
    times = gather(results, ["started", "duration_s"], rows)
    ended = clock.at((times["started"] + times["duration_s"]).cast(pl.Float64).to_numpy())
    return [round(float(when), 4) if np.isfinite(when) else None for when in ended]
