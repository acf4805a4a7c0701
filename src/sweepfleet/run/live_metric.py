"""The metric while a sweep runs: the best configuration so far, and whether any point returns the metric."""

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
    """Tracks one metric in recorded results."""

    def __init__(self, space: Space, metric: Metric, ledger: Ledger, progress: Progress) -> None:
        """Read which metrics the ledger has."""
        self._name, self._ledger, self._progress = metric.name, ledger, progress
        self._live = LiveBest(space, metric)
        self._missing = MissingMetric(metric.name, seen=metric.name in ledger.metric_names())

    def look_back(self) -> None:
        """Include the results of earlier commands in the best so far, where reading them is fast."""
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
        """Look for the metric in newly recorded results."""
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
        """Whether no point can be expected to return it, and then says why; `ended`: no point is left."""
        missing = self._missing.reason(ended=ended)
        if missing is not None:
            self._progress.why = missing
        return missing is not None

    def _show(self) -> None:
        progress, best = self._progress, self._live.best
        progress.best_of_all = progress.best_of_all and self._live.whole
        progress.best = None if best is None else (best.value, best.first, best.points)
