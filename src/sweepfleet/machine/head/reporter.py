"""What a run on the head says of itself: its progress file, for whoever follows it, and lines for the journal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from typing import Any

from sweepfleet.machine.head.demand import workers_for
from sweepfleet.machine.job import SETTLED, JobFolder
from sweepfleet.run.pauses import pauses
from sweepfleet.run.progress import Words
from sweepfleet.run.run_progress import Progress

EVERY_S = 1.0
NOTE_EVERY_S = 60.0
PAUSED_S = 600.0  # for which workers are kept while a full volume lets nothing run


def point_s(progress: Progress) -> float | None:
    """How long a point takes, as far as it is known: of those that ended, or of one that has run for a while; pure.

    What has run for some time without a result is taken to be halfway through.
    """
    return max(progress.mean_s, 2 * progress.longest_s if progress.running else 0.0) or None


class Reporter:
    """Tells whoever follows the job how it is doing, through its progress file."""

    def __init__(
        self, folder: JobFolder, *, workers_needed: int, slots_each: int = 1, deadline: float | None = None
    ) -> None:
        """Begin where the driver before this one stopped: its workers may compute for this one.

        Args:
            folder: of the job.
            workers_needed: at most.
            slots_each: of a worker.
            deadline: unix time at which it is to be done; None: any time.
        """
        self._folder = folder
        self._most, self._slots_each, self._deadline = workers_needed, slots_each, deadline
        before = folder.read_progress()
        went_on = {"workers_needed"} <= before.keys() and before.get("state") != "ended"
        self._before = min(workers_needed, int(before["workers_needed"])) if went_on else 0
        self._points: int | None = None  # left to run; None: they are not counted yet
        self._measured_s: float | None = None  # that a point takes
        self._said: dict[str, Any] = {"workers_needed": self._before, SETTLED: False}
        self._paused_s = 0.0  # time.monotonic() since when nothing runs, for want of room; 0: something does
        self.words: Words | None = None  # once the grid is read
        self._last: Progress | None = None
        self._next_s = 0.0
        self._waits, self._noted_s = "", 0.0

    def say(self, text: str) -> None:
        """A line for the journal."""
        print(text, flush=True)

    def state(self, state: str, **more: Any) -> None:
        """What it is doing now."""
        self._said |= {"state": state, **more}
        self._write()

    def update(self, progress: Progress) -> None:
        """How far it is, when it is time."""
        self._last = progress
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + EVERY_S
        self._note(self.words.waits(progress) if self.words else progress.waits)
        self._points = progress.left or (0 if progress.exact else 1)  # an estimate may be too low
        self._measured_s = point_s(progress) or self._measured_s
        self._count_workers(paused=progress.paused)
        self._said[SETTLED] = True
        best = self.words.best(progress) if self.words else ""
        self._said |= {"state": "running", "progress": dataclasses.asdict(progress), "best": best}
        self._write()

    def counted(self, points: int) -> None:
        """How many points are left, before any runs."""
        self._points = points
        self._said["workers_needed"] = self._workers_needed
        self._write()

    @property
    def _workers_needed(self) -> int:
        """The number of workers that are of use; those that were there before stay until something is measured."""
        if self._points is None:
            return self._before
        least = self._before if self._measured_s is None else 0
        room = {"slots_each": self._slots_each, "most": self._most}
        time_s = None if self._deadline is None else self._deadline - time.time()
        now = workers_for(self._points, point_s=self._measured_s, time_s=time_s, **room)
        return max(now, min(least, workers_for(self._points, point_s=math.inf, **room)))

    def needs_no_workers(self) -> None:
        """All that is left to do is done on the head."""
        self._said["workers_needed"] = 0
        self._write()

    @contextlib.contextmanager
    def without_workers(self) -> Iterator[None]:
        """Around a time in which workers would cost money for nothing."""
        self.needs_no_workers()
        yield
        self._said["workers_needed"] = self._workers_needed
        self._write()

    def end(self, **how: Any) -> None:
        """It has ended: whoever waits for it reads how, so this is written however long it takes."""
        self._said |= {"state": "ended", **how}
        for pause_s in pauses():
            if self._write():
                return
            time.sleep(pause_s)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Context for a step without other output."""
        self.state("waiting", waiting_for=what)
        yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around the time in which points run; where it has come to then is always written."""
        self._next_s = 0.0
        yield
        self._next_s = 0.0
        if self._last is not None:
            self.update(self._last)

    def _write(self) -> bool:
        """Write what is said; whether that could be."""
        try:
            self._folder.write_progress(json.dumps(self._said | {"at": time.time()}))
        except OSError as error:  # of which the run must be able to end
            print(f"how far it is cannot be written: {error}", flush=True)
            return False
        return True

    def _count_workers(self, *, paused: bool) -> None:
        """Ask for no workers once nothing has run for a while, and for them again when something is to run."""
        now_s = time.monotonic()
        self._paused_s = (self._paused_s or now_s) if paused else 0.0
        idle = bool(self._paused_s) and now_s - self._paused_s > PAUSED_S
        self._said["workers_needed"] = 0 if idle else self._workers_needed

    def _note(self, waits: str) -> None:
        """Say in the journal what finished points wait for: at first, every minute, and when that is over."""
        now_s = time.monotonic()
        if waits and (not self._waits or now_s > self._noted_s + NOTE_EVERY_S):
            print(waits, flush=True)
            self._noted_s = now_s
        elif self._waits and not waits:
            print("finished points wait for nothing any more", flush=True)
        self._waits = waits
