"""The best so far: where on the run's clock a row, or a completed configuration, was better than all before it."""

from __future__ import annotations

import numpy as np
import polars as pl

from sweepfleet.run.report.clock import Clock
from sweepfleet.run.report.configurations import Configurations
from sweepfleet.run.report.sample import DIGITS
from sweepfleet.run.report.scan import METRIC, PARAM, Results, finite, query

Line = dict[str, list[float]]


def history(results: Results, found: Configurations, clock: Clock | None) -> dict[str, Line | None] | None:
    """The steps of the best row, and of the best completed configuration where these are means of several rows.

    A configuration is completed with the last of its points. None when no row has a finite metric and a time.
    """
    if clock is None:
        return None
    done = results.frame.filter(pl.col("status") == "done").select(
        *(PARAM + name for name in found.keys if found.grouped),
        value=finite(METRIC + found.metric.name),
        end=(pl.col("started") + pl.col("duration_s")).cast(pl.Float64),
    )
    rows = _steps(done.select("value", "end"), found, clock)
    if rows is None:
        return None
    return {"rows": rows, "configurations": _completed(done, found, clock) if found.grouped else None}


def _completed(done: pl.LazyFrame, found: Configurations, clock: Clock) -> Line | None:
    names = [PARAM + name for name in found.keys]
    complete = found.ranked.filter(pl.col("n") >= pl.col("of")).select(*names, value="mean")
    if not names:
        ended = query(done.select(pl.col("end").max())).item()
        return _steps(complete.with_columns(end=pl.lit(ended, pl.Float64)).lazy(), found, clock)
    ends = done.group_by(names).agg(pl.col("end").max())
    return _steps(complete.lazy().join(ends, on=names, nulls_equal=True).select("value", "end"), found, clock)


def _steps(frame: pl.LazyFrame, found: Configurations, clock: Clock) -> Line | None:
    """The rows of `value` and `end` that are better than all that ended before, in the order of their ends."""
    values = query(frame.filter(pl.col("value").is_not_null() & pl.col("end").is_finite()).sort("end"))
    if values.is_empty():
        return None
    value = values["value"].to_numpy()
    best = np.minimum.accumulate(value) if found.metric.goal == "minimize" else np.maximum.accumulate(value)
    new = np.flatnonzero(np.concatenate([[True], best[1:] != best[:-1]]))
    at = [round(float(when), 4) for when in clock.at(values["end"].to_numpy()[new])]
    return {"at": at, "best": [float(f"{best[place]:.{DIGITS}g}") for place in new]}
