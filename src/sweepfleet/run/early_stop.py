"""Stops a sweep early when no point returns its metric, or all points fail with one cause."""

from __future__ import annotations

from collections.abc import Iterable

from sweepfleet.grid.wording import choices, close, counted
from sweepfleet.run.causes import cause, failure_line
from sweepfleet.run.rows import Failure
from sweepfleet.slot.printed import ROWS
from sweepfleet.slot.tables import COUNT

FEW_POINTS, MANY_POINTS = 3, 10  # without the metric, before it is taken for a mistake
LONG_S = 60.0  # a point that takes this long is waited for `FEW_POINTS` times only
MOST_ALIKE = 20  # failures of one cause, before it is taken for the cause of all
MOST_CAUSES = 1000


class MissingMetric:
    """Detects that no point returns the metric."""

    def __init__(self, name: str, *, seen: bool) -> None:
        """Start with no result; `seen` when an earlier command's rows have the metric."""
        self.name = name
        self.seen = seen
        self._points = 0
        self._spent_s = 0.0
        self._returned: dict[str, None] = {}

    def saw(self, names: Iterable[str], *, points: int, spent_s: float) -> None:
        """Add finished points that return these names, and the time that they took."""
        names = list(names)
        self.seen = self.seen or self.name in names
        self._points += points
        self._spent_s += spent_s
        self._returned |= dict.fromkeys(names)

    def reason(self, *, ended: bool = False) -> str | None:
        """Why the sweep must stop and how to fix it; None while it need not.

        Args:
            ended: no point is left that could return the metric.
        """
        if self.seen or not self._points:
            return None
        long = self._spent_s / self._points >= LONG_S
        if not ended and self._points < (FEW_POINTS if long else MANY_POINTS):
            return None
        return (
            f"None of the first {self._points:,} finished points returns the metric {self.name!r}. {self._remedy()}"
        )

    def _remedy(self) -> str:
        """What the points return instead, and what to do."""
        names = list(self._returned)
        meant = close(self.name, names)
        hint = f" Did you mean `{meant}`?" if meant else ""
        if names == [COUNT]:
            return (
                f"They return rows, which go into a table of their own, and only one metric, {COUNT!r}, the number "
                f"of rows. Return ({{{self.name!r}: ...}}, rows), or print the metrics above {ROWS}; or remove "
                "metric.name."
            )
        return (
            f"They return {choices(names) or 'nothing'}.{hint} Correct metric.name in the grid: finished points "
            "are kept and do not run again. If only later points return it, run some of those first: --where, or "
            "execution: {order: shuffled}."
        )


class OneCause:
    """Detects that all points fail with the same cause."""

    def __init__(self, *, enabled: bool) -> None:
        """Start with no result; not `enabled`, it never stops anything."""
        self._enabled = enabled
        self._counts: dict[str, int] = {}
        self._examples: dict[str, tuple[int, str]] = {}  # by cause: one point's index, and its failure's line
        self._spent: set[str] = set()  # causes of points that have no retry left
        self.worst: str | None = None  # the cause of most failures, once there are too many

    def succeeded(self) -> None:
        """A point has finished: from now on failures do not stop the sweep."""
        self._enabled = False
        self.worst = None

    def saw(self, failures: Iterable[tuple[Failure, bool]]) -> None:
        """Add failed attempts, each with whether the point is tried again."""
        if not self._enabled:
            return
        for failure, again in failures:
            key = cause(failure.error_type, failure.error)
            if key not in self._counts and len(self._counts) >= MOST_CAUSES:
                continue
            self._counts[key] = self._counts.get(key, 0) + 1
            if key not in self._examples:
                self._examples[key] = failure.index, failure_line(failure.error_type, failure.error)
            if not again:
                self._spent.add(key)
            if self._counts[key] >= MOST_ALIKE and (
                self.worst is None or self._counts[key] > self._counts[self.worst]
            ):
                self.worst = key

    @property
    def holds(self) -> bool:
        """Whether to start no further points: those that failed have retries left, which may succeed."""
        return self.worst is not None

    def reason(self) -> tuple[int, str] | None:
        """A point's index and why the sweep must stop; None while it need not."""
        if self.worst is None or self.worst not in self._spent:
            return None
        index, line = self._examples[self.worst]
        return index, (
            f"{counted(self._counts[self.worst], 'attempt')} failed with the same cause and no point has "
            f"succeeded, so the sweep has stopped: {line}"
        )
