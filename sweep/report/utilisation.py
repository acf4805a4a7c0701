"""When the slots were busy: from every row's start and duration to a few bins for a chart."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sweep.report.scan import Results, query

BINS_MAX = 160
IDLE_MIN_S = 60.0  # shorter pauses are drawn as they were
IDLE_SHARE = 0.1  # of the active time; shorter pauses are drawn as they were


def utilisation(results: Results, *, slots: int | None) -> dict[str, Any] | None:
    """Busy slots (a mean over each bin) and points finished, over the time in which anything ran.

    A resumed run may span days: pauses longer than a minute and a tenth of the active time are left out,
    and `cuts` says where and how long each was. Nothing is sampled. None when no row says when it ran.

    Times are seconds since the first start. With C and S the count and sum of the starts (or ends) before
    an edge t, the work done before t is t*C_start - S_start - (t*C_end - S_end): two histograms suffice.
    """
    spans = query(
        results.frame.select(
            start=pl.col("started").cast(pl.Float64),
            end=(pl.col("started") + pl.col("duration_s")).cast(pl.Float64),
            failed=pl.col("status") == "failed",
        ).filter(pl.col("start").is_finite() & pl.col("end").is_finite() & (pl.col("end") >= pl.col("start")))
    )
    if spans.is_empty():
        return None
    start, end, failed = (spans[name].to_numpy() for name in ("start", "end", "failed"))
    del spans
    order = np.argsort(start, kind="stable")
    origin = float(start[order[0]])
    start, end, failed = start[order] - origin, end[order] - origin, failed[order]
    del order

    pauses = np.maximum(start[1:] - np.maximum.accumulate(end)[:-1], 0.0)
    active_s = float(end.max() - pauses.sum())
    cut = pauses > max(IDLE_MIN_S, IDLE_SHARE * active_s)
    cuts = []
    removed_s = 0.0
    for position in np.flatnonzero(cut):
        pause_s = float(pauses[position])
        removed_s += pause_s
        first = int(position) + 1
        cuts.append({"at": float(start[first]) - pause_s, "pause_s": pause_s})
        start[first:] -= pause_s
        end[first:] -= pause_s
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
    return {
        "edges": [round(float(edge), 6) for edge in edges],
        "busy": [round(max(float(value), 0.0), 4) for value in busy],
        "done": (all_ended - bad_ended).tolist(),
        "failed": bad_ended.tolist(),
        "slots": slots,
        "busy_s": float((end - start).sum()),
        "active_s": total_s,
        "cuts": cuts,
    }


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
