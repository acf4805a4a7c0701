"""How an Executor's calls are doing on the cluster: for its progress file, and for whoever counts workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from sweepfleet.machine.head.demand import workers_for
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.job import SETTLED, JobFolder
from sweepfleet.slot.calls.batch import Outcome

IDLE_S = 600.0  # for which workers are kept for a client that asks for nothing
SPENT = "The run has cost its budget; no more calls are executed."


class CallLoad:
    """An observer of calls; see `run.calls.far.Observer`."""

    def __init__(self, folder: JobFolder, reporter: Reporter, *, slots_each: int, most: int) -> None:
        """Begin with nothing seen.

        Args:
            folder: of the job.
            reporter: writes its progress file.
            slots_each: calls that a worker executes at once, at least.
            most: workers that it may have.
        """
        self._folder, self._reporter = folder, reporter
        self._slots_each, self._most = slots_each, most
        self._lock = threading.Lock()
        self.done = self.failed = 0
        self._wall_s = 0.0
        self._busy_s = self._heard_s = time.monotonic()
        self._needed = self._slots = 0

    def saw(self, outcomes: Sequence[Outcome]) -> None:
        """Calls have ended."""
        with self._lock:
            for outcome in outcomes:
                self.done += outcome.ok
                self.failed += not outcome.ok
                self._wall_s += outcome.wall_s
            self._heard_s = time.monotonic()

    def resized(self, slots: int) -> None:
        """The number of slots has changed."""
        self._slots = slots

    def look(self, *, open_calls: int, pending: int, connected: bool, settled: bool) -> None:
        """Write how it is doing, and how many workers are of use."""
        self._needed = self._workers(open_calls + pending, connected=connected)
        calls = {"done": self.done, "failed": self.failed, "open": open_calls + pending, "connected": connected}
        self._reporter.state(
            "running", workers_needed=self._needed, calls=calls, slots=self._slots, **{SETTLED: settled}
        )

    def spent(self) -> str:
        """Why no more calls may be executed."""
        return SPENT if self._folder.spent.exists() else ""

    def _workers(self, calls: int, *, connected: bool) -> int:
        now_s = time.monotonic()
        if not calls:
            self._heard_s = now_s
            return self._needed if connected and now_s - self._busy_s < IDLE_S else 0
        self._busy_s = now_s
        with self._lock:
            ended = self.done + self.failed
            mean_s = self._wall_s / ended if ended else 0.0
        # What has run for a while without a result is taken to be halfway through.
        point_s = max(mean_s, 2 * (now_s - self._heard_s)) if ended or now_s - self._heard_s > 1 else None
        return workers_for(calls, point_s=point_s, slots_each=self._slots_each, most=self._most)
