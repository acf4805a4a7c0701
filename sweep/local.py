"""The engine of one machine: a thread for each slot hands bundles to the slot's runner, and nothing is between."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

from sweep.bundles import Bundle, Ended, Lost
from sweep.engine_errors import broke_off
from sweep.shortage import stalled
from worker.context import Context
from worker.pool import Pool, dismiss, prepare


class LocalEngine:
    """The slots of this machine, as the driver sees them; see docs/decisions/001-local-slots.md."""

    def __init__(self, pool: Pool, *, slots: int) -> None:
        """Start a thread for each slot. Raises RuntimeError when one cannot be started; then there are none."""
        self.slots = slots
        self._pool = pool
        self._waiting: queue.SimpleQueue[Bundle | None] = queue.SimpleQueue()
        self._out: dict[int, Bundle] = {}
        self._since: dict[int, float] = {}  # by bundle that has a slot: time.monotonic() when it got it
        self._ended: queue.SimpleQueue[tuple[Bundle, bytes | BaseException]] = queue.SimpleQueue()
        self._failure: BaseException | None = None  # met beside results that had to be delivered first
        self._closed = False
        self._threads: list[threading.Thread] = []
        try:
            for slot in range(slots):
                thread = threading.Thread(target=self._serve, name=f"slot-{slot}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self.close()
            raise

    @property
    def flying(self) -> int:
        """How many bundles are out."""
        return len(self._out)

    @property
    def running(self) -> tuple[int, float]:
        """How many bundles have a slot, and the seconds that the longest of them has had it."""
        since = list(self._since.values())
        return len(since), time.monotonic() - min(since) if since else 0.0

    def submit(self, bundle: Bundle) -> None:
        """Queue a bundle for the next free slot."""
        self._out[bundle.number] = bundle
        self._waiting.put(bundle)

    def wait(self, timeout_s: float) -> list[Ended | Lost]:
        """What ended: at least one bundle, unless `timeout_s` goes by without.

        Raises:
            BrokenSweepError: a slot cannot go on.
            ShortageError: a slot's thread has ended, for want of memory.
        """
        if self._failure is not None:
            raise self._failure
        news: list[tuple[Bundle, bytes | BaseException]] = []
        with contextlib.suppress(queue.Empty):
            news.append(self._ended.get(timeout=timeout_s))
            while True:
                news.append(self._ended.get_nowait())
        if not news and self._out and not all(thread.is_alive() for thread in self._threads):
            raise stalled(len(self._out))
        events: list[Ended | Lost] = []
        for bundle, outcome in news:
            if self._out.pop(bundle.number, None) is None:
                continue  # cancelled
            if isinstance(outcome, bytes):
                events.append(Ended(bundle, outcome))
            else:
                self._failure = broke_off(outcome)
        if self._failure is not None and not events:
            raise self._failure
        return events

    def cancel(self, bundle: Bundle) -> None:
        """Forget a bundle; what comes of it is dropped."""
        self._out.pop(bundle.number, None)

    def _serve(self) -> None:
        while (bundle := self._waiting.get()) is not None:
            if self._closed or bundle.number not in self._out:
                continue
            self._since[bundle.number] = time.monotonic()
            outcome: bytes | BaseException
            try:
                outcome = self._pool.run(bundle.spans, shuffle=bundle.shuffle)
            except BaseException as error:  # noqa: BLE001 - `wait` raises it, in the driver's thread
                outcome = error
            self._since.pop(bundle.number, None)
            self._ended.put((bundle, outcome))

    def close(self) -> None:
        """End the threads, once the pool's runners are closed: nothing waits for a point."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def local_engine(context: Context, *, slots: int) -> Iterator[LocalEngine]:
    """An engine on this machine: a runner child for each slot.

    Raises:
        UsageError: the target is refused.
        RuntimeError: there can be no more threads.
    """
    try:
        pool = prepare(context, slots=slots)
        pool.ready()
        engine = LocalEngine(pool, slots=slots)
        try:
            yield engine
        finally:
            dismiss(context)  # first, so that no thread waits for a point
            engine.close()
    finally:
        dismiss(context)
