"""Points without a final result: their failed attempts, their losses, and when each is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweepfleet.run.bundles import Retries
from sweepfleet.run.rows import Failure, Rows
from sweepfleet.run.writing import Batch

BACKOFF_S = 0.5  # before the first retry; doubles with each
BACKOFF_MAX_S = 60.0
NOT_RETRIED = ("MachineLost", "ProcessLost")  # their losses have been counted against a limit of their own


@dataclass
class Attempts:
    """Decides which failed attempts are tried again, and when; forgets points that have ended."""

    retries: int  # that a point has
    failed: dict[int, int] = field(default_factory=dict)  # attempts of points that are tried again
    lost: dict[int, int] = field(default_factory=dict)  # times that a machine or a process went away
    spared: dict[int, int] = field(default_factory=dict)  # those among them that announced it
    due: Retries = field(default_factory=Retries)
    # Seeded by nothing: it only spreads retries.
    _jitter: random.Random = field(default_factory=random.Random)

    def lose(self, index: int, times: int = 1) -> int:
        """Add losses of a point; returns how many of them count against `infra_retries`."""
        losses = self.lost[index] = self.lost.get(index, 0) + times
        return losses - self.spared.get(index, 0)

    def leave(self, index: int) -> None:
        """Add a loss by a machine that announced it and left in order: the point may be longer than machines stay."""
        self.lose(index)
        self.spared[index] = self.spared.get(index, 0) + 1

    def judge(self, rows: Rows) -> tuple[list[tuple[Failure, bool]], set[int]]:
        """The failures among these rows, whether each is tried again, and the positions of those that are."""
        again: set[int] = set()
        failures = []
        for place, failure in rows.failures():
            tries = self.failed.get(failure.index, 0) + 1
            if tries <= self.retries and failure.error_type not in NOT_RETRIED:
                again.add(place)
            failures.append((failure, place in again))
        return failures, again

    def recorded(self, batches: Sequence[Batch]) -> None:
        """Schedule points to be tried again, and forget points that have ended."""
        if not (self.failed or self.lost or any(again for *_, again in batches)):
            return
        now_s = time.monotonic()
        for rows, _, _, again in batches:
            indexes = rows.table["index"].tolist()
            for place, index in enumerate(indexes):
                if place not in again:
                    self.failed.pop(index, None)
                    self.lost.pop(index, None)
                    self.spared.pop(index, None)
            for place in again:
                index = indexes[place]
                tries = self.failed[index] = self.failed.get(index, 0) + 1
                pause_s = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (tries - 1)) * self._jitter.uniform(0.5, 1.0)
                self.due.add(index, due_s=now_s + pause_s)
