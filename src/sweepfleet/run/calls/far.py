"""Drives calls for clients elsewhere: what they ask for comes over lines, and is executed on a cluster's workers."""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.driver import Driver, FromClient, Message
from sweepfleet.run.calls.ledger import CallLedger
from sweepfleet.run.calls.port import Broke, CallsEngine, Event, Finished, Resized
from sweepfleet.run.calls.sessions import Sessions
from sweepfleet.run.calls.spool import Spool
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.slot.calls.batch import Outcome
from sweepfleet.slot.calls.frames import Frame

LOOK_S = 1.0
FAREWELL_S = 30.0  # for the last results to come to the client


class Observer(Protocol):
    """Whoever is told how the calls are doing."""

    def saw(self, outcomes: Sequence[Outcome]) -> None:
        """Calls have ended. From any thread."""

    def resized(self, slots: int) -> None:
        """The number of slots has changed."""

    def look(self, *, open_calls: int, pending: int, connected: bool, settled: bool) -> None:
        """Every second: calls that the driver has, those that the client has yet to send, whether one is there.

        `settled`: see `FarCallsEngine`.
        """

    def spent(self) -> str:
        """Why no more calls may be executed; empty: they may."""


class FarCallsEngine(CallsEngine, Protocol):
    """An engine whose workers may have calls of a driver that died."""

    @property
    def settled(self) -> bool:
        """Whether the scheduler knows of all calls that workers execute."""


class _Messages(queue.SimpleQueue[Message]):
    """The driver's queue, which says when the driver is about to wait."""

    waits: Callable[[], None] = staticmethod(lambda: None)

    def get(self, block: bool = True, timeout: float | None = None) -> Message:  # noqa: FBT001, FBT002 - its parent's
        if self.empty():
            self.waits()
        return super().get(block, timeout)


@dataclass
class FarDriver:
    """The calls of one Executor, from the first client's hello on; one use."""

    ledger: CallLedger | None
    spool: Spool | None  # what clients asked for, where the driver goes on without them
    observer: Observer
    _messages: _Messages = field(default_factory=_Messages)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Make the sessions, which do not listen yet."""
        self.sessions = Sessions(self._messages, keep=self.spool.keep if self.spool else lambda _: None)
        self._before = self.spool.before if self.spool else []

    def hello(self, timeout_s: float) -> wire.Hello | None:
        """What the client asks for, or the one of a driver before; None when no client comes in time."""
        before = next((frame for frame in self._before if frame.kind == "hello"), None)
        found = before or self.sessions.hello(timeout_s)
        return None if found is None else wire.Hello.read(found)

    def refuse(self, why: str) -> None:
        """Tell the client why it cannot be served."""
        self.sessions.answer(lambda _: wire.broken("usage", why))
        self.sessions.close(patience_s=FAREWELL_S)

    def tell(self, event: Event) -> None:
        """Take an event of the engine, from any thread."""
        if isinstance(event, Finished):
            self.observer.saw(event.outcomes)
        if isinstance(event, Resized):
            self.observer.resized(event.slots)
        if isinstance(event, Broke) and event.kind == "cluster" and self.ledger is not None:
            self.sessions.hush()  # the next driver goes on, and the client finds it
        self._messages.put(event)

    def drive(self, asked: wire.Hello, engine: AbstractContextManager[FarCallsEngine]) -> None:
        """Execute calls until their client has ended; with a ledger, until all that it sent have, too.

        Args:
            asked: what `hello` returned.
            engine: tells its events to `tell`.

        Raises:
            ClusterError: the scheduler is gone; with a ledger, the next driver goes on.
            SweepfleetError: no call can be executed any more; the client has been told.
        """
        driver = Driver(self._messages, ledger=self.ledger, outlives=self.ledger is not None)
        if self.spool is not None:
            spool = self.spool
            self._messages.waits = lambda: None if driver.open else self.sessions.when_settled(spool.clear)
        with engine as its:
            if self._before:
                for frame in self._before:
                    self._messages.put(FromClient(frame))
                self._before = []
                self.sessions.expect()
            self.sessions.answer(lambda frame: _answer(asked, frame))
            threading.Thread(target=self._look_on, args=[driver, its], name="look", daemon=True).start()
            gc.freeze()
            try:
                driver.drive(its)
            finally:
                self._over.set()
            broken = driver.broken
            if broken is not None and broken.kind == "cluster" and self.ledger is not None:
                raise ClusterError(broken.why)
        if self.spool is not None:
            self.spool.remove()
        driver.farewell()
        self.sessions.close(patience_s=FAREWELL_S)
        if broken is not None:
            raise SweepfleetError(broken.why)

    def _look_on(self, driver: Driver, engine: FarCallsEngine) -> None:
        while not self._over.wait(LOOK_S):
            pending = self.sessions.pending
            connected = self.sessions.connected
            self.observer.look(open_calls=driver.open, pending=pending, connected=connected, settled=engine.settled)
            if self.spool is not None:
                with contextlib.suppress(OSError):  # the disk is full: the client has it still
                    self.spool.flush()
            if why := self.observer.spent():
                self._messages.put(Broke("driver", why))
                return


def check(asked: wire.Hello) -> None:
    """Raise UsageError for a client that this release cannot serve."""
    if asked.version != wire.VERSION:
        raise UsageError("The cluster's release has another sweepfleet than this machine. Push this one: inv push")
    if asked.python != wire.PYTHON:
        raise UsageError(
            f"This is Python {asked.python}, and the cluster has Python {wire.PYTHON}. A function that is sent has "
            f"the bytecode of one minor version. Use Python {wire.PYTHON} here."
        )


def _answer(asked: wire.Hello, frame: Frame) -> Frame:
    """To a client that comes: whether it asks for the same slots as those that there are."""
    its = wire.Hello.read(frame)
    try:
        check(its)
    except UsageError as error:
        return wire.broken("usage", str(error))
    names = ("max_workers", "cpus", "memory_bytes", "timeout_s", "retries", "path")
    other = [name for name in names if getattr(asked, name) != getattr(its, name)]
    if bytes(asked.initializer or b"") != bytes(its.initializer or b""):
        other.append("initializer")
    if other:
        return wire.broken(
            "usage",
            f"The run is active with another {', '.join(other)}. Use the same, or wait until it has ended, or cancel "
            "it: inv cancel",
        )
    return wire.accepted()
