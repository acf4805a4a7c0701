"""When the slots were busy: from every row's start and duration to a few bins for a chart."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.clock import Clock, clock_of, spans
from sweepfleet.run.report.scan import Results

BINS_MAX = 160


def utilisation(results: Results, *, slots: int | None) -> tuple[dict[str, Any], Clock] | None:
    """Busy slots (a mean over each bin) and points finished, over the run's clock, and that clock.

    `cuts` says where long pauses were cut out, and how long each was. Nothing is sampled. None when no row
    says when it ran, or all took no time.

    Times are seconds since the first start. With C and S the count and sum of the starts (or ends) before
    an edge t, the work done before t is t*C_start - S_start - (t*C_end - S_end): two histograms suffice.
    """
    found = spans(results, (pl.col("status") == "failed").alias("failed"))
    if found.is_empty():
        return None
    start, end, failed = (found[name].to_numpy() for name in ("start", "end", "failed"))
    del found
    order = np.argsort(start, kind="stable")
    start, end, failed = start[order], end[order], failed[order]
    del order
    clock = clock_of(start, end)
    length = end - start
    start = clock.at(start)
    end = start + length
    busy_s = float(length.sum())
    del length
    total_s = float(end.max())
    if total_s <= 0:
        return None

    bins = int(np.clip(len(start) // 4, 24, BINS_MAX))
    edges = np.linspace(0.0, total_s, bins + 1)
    started_before = _work_before(start, edges)
    finished_before = _work_before(end, edges)
    busy = np.diff(started_before - finished_before) / (total_s / bins)
    place = _bin(end, total_s, bins)
    all_ended = np.bincount(place, minlength=bins)
    bad_ended = np.bincount(place[failed], minlength=bins)
    shown = {
        "edges": [round(float(edge), 6) for edge in edges],
        "busy": [round(max(float(value), 0.0), 4) for value in busy],
        "done": (all_ended - bad_ended).tolist(),
        "failed": bad_ended.tolist(),
        "slots": slots,
        "busy_s": busy_s,
        "active_s": total_s,
        "cuts": clock.cuts(),
    }
    return shown, clock


def _bin(times: np.ndarray[Any, Any], total_s: float, bins: int) -> np.ndarray[Any, Any]:
    return np.minimum((times * (bins / total_s)).astype(np.int32), bins - 1)


def _work_before(times: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each edge t, the sum of (t - time) over the times that lie before it."""
    bins = len(edges) - 1
    place = _bin(times, float(edges[-1]), bins)
    count = np.concatenate([[0.0], np.bincount(place, minlength=bins).cumsum()])
    total = np.concatenate([[0.0], np.bincount(place, weights=times, minlength=bins).cumsum()])
    work: np.ndarray[Any, Any] = edges * count - total
    return work
