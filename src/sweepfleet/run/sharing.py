"""Several runs on one cluster: each worker counts for how long bundles of which run hold its threads, drivers ask."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from distributed import Client

from sweepfleet.run.slot_time import Held

ASK_EVERY_S = 5.0
ASK_LAST_S = 3.0  # that the end of a run waits for a last answer
T = TypeVar("T")


class Holds:
    """Thread-seconds by run, of one worker process; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}
        self._begun: dict[int, tuple[str, float]] = {}
        self._numbers = 0
        self._here = threading.local()  # `number`: of the bundle that the thread computes

    @contextlib.contextmanager
    def by(self, run: str) -> Iterator[None]:
        """Around the time in which a bundle of a run holds a thread."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._begun[number] = run, self._clock()
        outer, self._here.number = getattr(self._here, "number", 0), number
        try:
            yield
        finally:
            self.let_go()
            self._here.number = outer

    def let_go(self) -> None:
        """The bundle of the calling thread holds its thread no more; a second time it does nothing."""
        with self._lock:
            if (found := self._begun.pop(self._here.number, None)) is not None:
                run, begun_s = found
                self._ended[run] = self._ended.get(run, 0.0) + self._clock() - begun_s

    def seconds(self) -> dict[str, float]:
        """By run, until now."""
        with self._lock:
            now_s = self._clock()
            found = dict(self._ended)
            for run, begun_s in self._begun.values():
                found[run] = found.get(run, 0.0) + now_s - begun_s
            return found


_holds = Holds()


def holds_a_slot(task: Callable[..., T]) -> Callable[..., T]:
    """The task, which counts its time for the run that its first argument names."""

    @functools.wraps(task)
    def counts(run: str, *more: Any, **named: Any) -> T:
        with _holds.by(run):
            return task(run, *more, **named)

    return counts


def let_go() -> None:
    """The bundle of the calling thread leaves its slot to others, while it waits for something."""
    _holds.let_go()


def seconds_held() -> dict[str, float]:
    """What this worker has counted."""
    return _holds.seconds()


class Sums:
    """What all workers have counted since a run began; workers come, go, and begin again at zero."""

    def __init__(self, run: str, *, cpus: int) -> None:
        self._run, self._cpus = run, cpus
        self._seen: dict[str, Mapping[str, float]] = {}
        self._mine_s = self._others_s = 0.0
        self._begun = False

    def add(self, workers: Mapping[str, Mapping[str, float]]) -> Held:
        """Take in the answers, by worker; the first ones are where this run begins."""
        for worker, now in workers.items():
            before = self._seen.get(worker, {} if self._begun else now)
            for run, seconds in now.items():
                news_s = seconds - before.get(run, 0.0)
                news_s = seconds if news_s < 0 else news_s
                if run == self._run:
                    self._mine_s += news_s
                else:
                    self._others_s += news_s
            self._seen[worker] = now
        self._begun = True
        return Held(self._mine_s / self._cpus, self._others_s / self._cpus)


class Sharing:
    """Asks the workers of a cluster now and then, beside the driver: one that does not answer holds up nobody."""

    def __init__(self, client: Client, run: str, *, cpus: int) -> None:
        """`begin` starts it."""
        self._client = client
        self._sums = Sums(run, cpus=cpus)
        self._lock = threading.Lock()
        self._news: Held | None = None
        self._wake, self._asked, self._closed = threading.Event(), threading.Event(), False

    def begin(self) -> None:
        """Ask for the first time, which is where the run begins."""
        threading.Thread(target=self._ask_on, name="sharing", daemon=True).start()

    def news(self) -> Held | None:
        """What has been held since the run began, when it is known anew."""
        with self._lock:
            found, self._news = self._news, None
            return found

    def last(self) -> Held | None:
        """The same, asked for now; None when no worker answers in a moment."""
        with self._lock:  # an answer that comes now is no answer to this
            self._asked.clear()
        self._wake.set()
        self._asked.wait(ASK_LAST_S)
        return self.news()

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        self._wake.set()

    def _ask_on(self) -> None:
        while not self._closed:
            self._wake.clear()
            found: dict[str, dict[str, float]] | None = None
            with contextlib.suppress(Exception):  # workers and scheduler may be gone: what is known then stays
                found = self._client.run(seconds_held, on_error="ignore")
            with self._lock:
                if found is not None:
                    self._news = self._sums.add(found)
                self._asked.set()
            self._wake.wait(ASK_EVERY_S)
