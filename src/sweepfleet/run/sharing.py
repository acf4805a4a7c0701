"""Several runs on one cluster: each worker counts the thread time of each run's bundles; drivers ask for it."""

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
        """Context in which a bundle of a run has a thread."""
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
        """The calling thread's bundle has released it; a second call does nothing."""
        with self._lock:
            if (found := self._begun.pop(self._here.number, None)) is not None:
                run, begun_s = found
                self._ended[run] = self._ended.get(run, 0.0) + self._clock() - begun_s

    def seconds(self) -> dict[str, float]:
        """The counts by run, until now."""
        with self._lock:
            now_s = self._clock()
            found = dict(self._ended)
            for run, begun_s in self._begun.values():
                found[run] = found.get(run, 0.0) + now_s - begun_s
            return found


_holds = Holds()


def holds_a_slot(task: Callable[..., T]) -> Callable[..., T]:
    """The task, wrapped to count its time for the run of its first argument."""

    @functools.wraps(task)
    def counts(run: str, *more: Any, **named: Any) -> T:
        with _holds.by(run):
            return task(run, *more, **named)

    return counts


def let_go() -> None:
    """The calling thread's bundle frees its slot while it waits."""
    _holds.let_go()


def seconds_held() -> dict[str, float]:
    """This worker's counts."""
    return _holds.seconds()


class Sums:
    """The counts of all workers since a run began; workers join, leave, and restart at zero."""

    def __init__(self, run: str, *, cpus: int) -> None:
        self._run, self._cpus = run, cpus
        self._seen: dict[str, Mapping[str, float]] = {}
        self._mine_s = self._others_s = 0.0
        self._begun = False

    @property
    def used_s(self) -> float:
        """Thread-seconds of the run's own bundles."""
        return self._mine_s

    def add(self, workers: Mapping[str, Mapping[str, float]]) -> Held:
        """Add answers, by worker; the first ones are the start of this run."""
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
    """Asks a cluster's workers now and then, in a thread of its own: one that does not answer blocks nobody."""

    def __init__(self, client: Client, run: str, *, cpus: int) -> None:
        """`begin` starts it."""
        self._client = client
        self._sums = Sums(run, cpus=cpus)
        self._lock = threading.Lock()
        self._news: Held | None = None
        self.fleet = (0, 0)  # the number of workers, and of all their threads
        self._wake, self._asked, self._closed = threading.Event(), threading.Event(), False

    def begin(self) -> None:
        """Ask for the first time: the start of the run."""
        threading.Thread(target=self._ask_on, name="sharing", daemon=True).start()

    def news(self) -> Held | None:
        """The thread time since the run began, when it is newly known."""
        with self._lock:
            found, self._news = self._news, None
            return found

    @property
    def used_s(self) -> float:
        """The thread time of the run's bundles, as it was known last."""
        with self._lock:
            return self._sums.used_s

    def last(self) -> Held | None:
        """The same, asked for now; None when no worker answers soon."""
        with self._lock:  # an answer that arrives now belongs to an earlier question
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
                threads = self._client.nthreads()
                self.fleet = len(threads), sum(threads.values())
            with self._lock:
                if found is not None:
                    self._news = self._sums.add(found)
                self._asked.set()
            self._wake.wait(ASK_EVERY_S)
