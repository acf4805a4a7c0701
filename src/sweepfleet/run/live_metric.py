"""The metric while a sweep runs: the best configuration so far, and whether any point returns the metric at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.early_stop import MissingMetric
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.live_best import LiveBest
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.writing import Batch

MOST_BEFORE = 200_000  # rows of earlier commands that are read for the best so far: half a second


class LiveMetric:
    """Follows one metric in what has been recorded."""

    def __init__(self, space: Space, metric: Metric, ledger: Ledger, progress: Progress) -> None:
        """Know which metrics the ledger has."""
        self._name, self._ledger, self._progress = metric.name, ledger, progress
        self._live = LiveBest(space, metric)
        self._missing = MissingMetric(metric.name, seen=metric.name in ledger.metric_names())

    def look_back(self) -> None:
        """Take what earlier commands have computed into the best so far, where it can be read in a moment."""
        before = sum(self._ledger.counts())
        if not before:
            return
        if before > MOST_BEFORE:
            self._progress.best_of_all = False
            return
        for indexes, values in self._ledger.measured(self._name):
            self._live.add(indexes, values)
        self._show()

    def follow(self, batches: Sequence[Batch]) -> None:
        """Look for the metric in what has been recorded now."""
        for rows, _, _, again in batches:
            indexes, values = rows.table["index"].astype(np.int64), rows.measured(self._name)
            if again:
                ended = np.array([place not in again for place in range(len(rows))])
                indexes, values = indexes[ended], values[ended]
            self._live.add(indexes, values)
            if not self._missing.seen:
                self._missing.saw(rows.returned(), points=rows.finished, spent_s=rows.busy_s)
        self._show()

    def is_missing(self, *, ended: bool = False) -> bool:
        """Whether nothing returns it, as far as that can be told; `ended` when no point is left. Says why."""
        missing = self._missing.reason(ended=ended)
        if missing is not None:
            self._progress.why = missing
        return missing is not None

    def _show(self) -> None:
        progress, best = self._progress, self._live.best
        progress.best_of_all = progress.best_of_all and self._live.whole
        progress.best = None if best is None else (best.value, best.first, best.points)
