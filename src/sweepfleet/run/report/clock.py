"""A run's clock: seconds since its first point started, without the long pauses in which nothing ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.scan import Results, query

IDLE_MIN_S = 60.0  # shorter pauses stay
IDLE_SHARE = 0.1  # of the active time; shorter pauses stay

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Clock:
    """The time in which anything ran. A resumed run may span days; its long pauses are cut out."""

    origin: float  # Unix time of the first start
    resumed: tuple[float, ...]  # Unix times at which the run went on after a pause that is cut out
    pauses_s: tuple[float, ...]  # how long each was

    def at(self, times: Array) -> Array:
        """Unix times as seconds on this clock."""
        removed = np.concatenate([[0.0], np.cumsum(self.pauses_s)])
        shifted: Array = times - self.origin - removed[np.searchsorted(self.resumed, times, side="right")]
        return shifted

    def cuts(self) -> list[dict[str, float]]:
        """Where on this clock each pause was, and its length."""
        at = self.at(np.asarray(self.resumed, dtype=float))
        return [{"at": float(when), "pause_s": pause} for when, pause in zip(at, self.pauses_s, strict=True)]


def spans(results: Results, *more: pl.Expr) -> pl.DataFrame:
    """The `start` and `end` (Unix times) of the rows that have both, and more columns of them."""
    return query(
        results.frame.select(
            pl.col("started").cast(pl.Float64).alias("start"),
            (pl.col("started") + pl.col("duration_s")).cast(pl.Float64).alias("end"),
            *more,
        ).filter(pl.col("start").is_finite() & pl.col("end").is_finite() & (pl.col("end") >= pl.col("start")))
    )


def clock_of(start: Array, end: Array) -> Clock:
    """The clock of points with these times (Unix), sorted by start; at least one."""
    pauses = np.maximum(start[1:] - np.maximum.accumulate(end)[:-1], 0.0)
    active_s = float(end.max() - start[0] - pauses.sum())
    cut: Sequence[int] = np.flatnonzero(pauses > max(IDLE_MIN_S, IDLE_SHARE * active_s)).tolist()
    return Clock(
        origin=float(start[0]),
        resumed=tuple(float(start[place + 1]) for place in cut),
        pauses_s=tuple(float(pauses[place]) for place in cut),
    )
