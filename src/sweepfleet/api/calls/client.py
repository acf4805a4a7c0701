"""The client of a driver of calls: sends bundles, receives results, and sets futures.

Two threads: one starts the driver and writes to it, the other reads. They hold no reference to the Executor, so that
one that is dropped is collected; its calls are executed nevertheless, as the standard library's executors do.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from typing import Any

from sweepfleet.api.calls.errors import CallError, ExecutorBrokenError, error_of
from sweepfleet.api.calls.functions import Functions
from sweepfleet.api.calls.queue import Item, Queue
from sweepfleet.api.calls.way import Way
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.run.calls import wire
from sweepfleet.slot.calls.batch import Failure, Outcome
from sweepfleet.slot.calls.frames import Frame, FrameError
from sweepfleet.slot.calls.pickling import dumps_arguments, loads, loads_error

LOGGER = logging.getLogger("concurrent.futures")  # where the standard library's executors tell of an initializer


class Client:
    """The calls of one Executor; thread-safe."""

    def __init__(self, hello: wire.Hello, start: Callable[[], Way], *, slots: int) -> None:
        """Start nothing yet.

        Args:
            hello: what the driver is asked for.
            start: starts the driver, in a thread of its own; raises OSError or SweepfleetError.
            slots: how many there will be; until the driver says it.
        """
        self._hello, self._start = hello, start
        self._durable = hello.run is not None
        self._lock = threading.Condition(threading.Lock())
        self._queue = Queue(slots=slots)
        self._functions = Functions(durable=self._durable)
        self._indexes = itertools.count()
        self._outbox: deque[Frame] = deque()
        self._ending = False  # no more calls will come
        self._answered = False  # whether the driver has accepted what `hello` asks for
        self._ended = False
        self.broken: SweepfleetError | None = None
        self._writing: threading.Thread | None = None
        _all.add(self)

    def begin(self) -> None:
        """Start the driver, unless it has been started."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        if self._writing is None and not self._ended:
            self._writing = threading.Thread(target=self._write, daemon=True, name="sweepfleet executor")
            _open.add(self)
            self._writing.start()

    def accepted(self) -> None:
        """Wait until the driver has accepted what it was asked for. Raises UsageError or ExecutorBrokenError."""
        with self._lock:
            while not (self._answered or self.broken):
                self._lock.wait()
            if self.broken:
                raise self.broken

    def submit(self, function: Callable[..., Any], calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]) -> Any:
        """Futures for calls of one function, lazily: each call is submitted when its future is asked for.

        Args:
            function: anything that can be called.
            calls: arguments by position and by name.
        """
        known = None
        for arguments, keywords in calls:
            future: Future[Any] = Future()
            try:
                if known is None:
                    with self._lock:
                        known = self._functions.get(function)
                packed = dumps_arguments(arguments, keywords)
                key = self._key(known.code, arguments, keywords)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - of this call alone: by the objects' own methods
                future.set_running_or_notify_cancel()
                future.set_exception(error)
                yield future
                continue
            with self._lock:
                self._check()
                known = self._functions.use(known)
                self._queue.add(Item(next(self._indexes), known, packed, key, future))
                self._fill()
            yield future

    def _key(self, code: str | None, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str | None:
        if code is None:
            return None
        from sweepfleet.slot.calls.keys import NoKeyError, key_of

        try:
            return key_of(code, arguments, keywords)
        except NoKeyError as error:
            raise UsageError(
                f"The arguments have no content that could be found again: {error}. Pass plain values, arrays or "
                "tables, or use an Executor without run=."
            ) from error

    def __str__(self) -> str:
        with self._lock:
            state = "broken" if self.broken else "shut down" if self._ending else f"{self._queue.slots} slots"
            return f"{state}, {self._queue}"

    def check(self) -> None:
        """Raise what `submit` raises when no more calls can come: RuntimeError, ExecutorBrokenError."""
        with self._lock:
            self._check()

    def _check(self) -> None:
        if self.broken is not None:
            raise ExecutorBrokenError(str(self.broken))
        if _interpreter_ends:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self._ending:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """No more calls will come.

        Args:
            wait: return when all calls and all processes have ended.
            cancel: cancel those that wait here.
        """
        with self._lock:
            self._ending = True
            dropped = self._queue.drop_waiting() if cancel else []
            if self._writing is None:
                self._ended = True
            self._lock.notify_all()
        for item in dropped:
            item.future.cancel()
            item.future.set_running_or_notify_cancel()
        if wait:
            self.join()

    def forget(self) -> None:
        """Be nothing, in a fork of the process whose threads and driver it has."""
        self._lock = threading.Condition(threading.Lock())  # the other one may have been locked
        self._ending = self._ended = True
        self._writing = None

    def interrupt(self) -> None:
        """Have the driver end all calls that it has, now; their futures raise ExecutorBrokenError."""
        with self._lock:
            self._ending = True
            if self._queue:
                self._outbox.clear()
                self._outbox.append(wire.stop())
            self._lock.notify_all()

    def waiting(self) -> int:
        """How many calls were not sent yet."""
        return self._queue.waiting

    def join(self) -> None:
        """Wait until all calls and all processes have ended."""
        if self._writing is not None and self._writing is not threading.current_thread():
            self._writing.join()

    # The writing thread.

    def _write(self) -> None:
        try:
            way = self._start()
        except BaseException as error:
            self._break(error if isinstance(error, SweepfleetError) else ExecutorBrokenError(f"No driver: {error!r}"))
            self._finish()
            if isinstance(error, OSError | SweepfleetError):
                return
            raise  # what nobody expects keeps its traceback, and nobody waits for ever
        reading = threading.Thread(target=self._read, args=(way,), daemon=True, name="sweepfleet executor's results")
        reading.start()
        try:
            way.send(self._hello.frame())
            while (frame := self._next_frame()) is not None:
                way.send(frame)
                del frame
            if not self._ended:
                way.send(wire.end())
        except OSError:  # the reading thread learns why
            pass
        reading.join()
        way.close()
        self._finish()

    def _next_frame(self) -> Frame | None:
        with self._lock:
            while not self._outbox:
                if self._ended or (self._ending and not self._queue):
                    return None
                self._lock.wait()
            return self._outbox.popleft()

    def _fill(self) -> None:
        """Send what the slots can take; the caller has the lock."""
        if self.broken is None:
            self._begin()
        while (bundle := self._queue.next()) is not None:
            number, items = bundle
            for function in dict.fromkeys(item.function for item in items):
                if not function.sent:
                    function.sent = True
                    self._outbox.append(wire.function(function.digest, function.data, name=function.name))
            self._outbox.append(wire.bundle(number, [item.call() for item in items]))
        self._outbox.extend(map(wire.forget, self._functions.surplus()))
        if self._outbox:
            self._lock.notify_all()

    # The reading thread.

    def _read(self, way: Way) -> None:
        why = "The driver of the calls ended early."
        try:
            while (frame := way.receive()) is not None:
                if frame.kind == "done":
                    break
                self._receive(frame)
                del frame
        except (FrameError, OSError) as error:
            why = f"The driver of the calls is gone: {error}"
        with self._lock:
            early = bool(self._queue) or not self._ending
        if early:
            self._break(ExecutorBrokenError(why))
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def _receive(self, frame: Frame) -> None:
        match frame.kind:
            case "results":
                self._take(wire.outcomes_of(frame))
            case "returned":
                with self._lock:
                    self._queue.give_back(frame.header["indexes"])
                    self._fill()
            case "ready" | "slots":
                with self._lock:
                    self._queue.slots, self._queue.ahead = frame.header["slots"], frame.header["ahead"]
                    self._fill()
            case "accepted":
                with self._lock:
                    self._answered = True
                    self._lock.notify_all()
            case "broken":
                self._refuse(frame.header["broken"], frame.header["why"])
            case "say":
                print(frame.header["text"], file=sys.stderr, flush=True)

    def _refuse(self, kind: str, why: str) -> None:
        if kind == "usage":
            self._break(UsageError(why))
            return
        if kind == "initializer":
            LOGGER.critical("Exception in initializer:\n%s", why)
            why = f"The initializer raised an exception:\n{why}"
        self._break(ExecutorBrokenError(why))

    def _take(self, outcomes: list[Outcome]) -> None:
        with self._lock:
            found = self._queue.end(outcomes)
            self._fill()
            self._lock.notify_all()
        found.reverse()
        while found:  # and nothing here refers to a result that its user has dropped
            _set(*found.pop())

    def _break(self, error: SweepfleetError) -> None:
        """Fail all calls, and those to come."""
        with self._lock:
            self.broken = self.broken or error
            dropped = self._queue.drop_all()
            self._outbox.clear()
            self._lock.notify_all()
        for item in dropped:
            with contextlib.suppress(InvalidStateError):
                if item.begun or item.future.set_running_or_notify_cancel():
                    item.future.set_exception(ExecutorBrokenError(str(self.broken)))

    def _finish(self) -> None:
        with self._lock:
            self._ended = True
            _open.discard(self)
            self._lock.notify_all()


def _set(item: Item, outcome: Outcome) -> None:
    """Set a call's future; its callbacks are called here."""
    value, raised = _value(outcome, item.function.name)
    try:
        if raised:
            item.future.set_exception(value)
        else:
            item.future.set_result(value)
    except InvalidStateError:  # somebody else has set it
        pass
    except BaseException:  # a callback's: the others go on
        LOGGER.exception("exception calling callback for %r", item.future)


def _value(outcome: Outcome, function: str) -> tuple[Any, bool]:
    """What the call returned, or the exception that its future gets; and whether it is one."""
    if isinstance(outcome.value, Failure):
        return error_of(outcome.value, function), True
    try:
        return (loads_error(outcome.value), True) if outcome.raised else (loads(outcome.value), False)
    except BaseException as error:  # noqa: BLE001 - by the object's own methods
        what = "exception" if outcome.raised else "result"
        unreadable = CallError(
            f"{function}: The {what} cannot be unpickled: {type(error).__name__}: {error}", "Unreadable"
        )
        unreadable.__cause__ = error
        return unreadable, True


def open_calls() -> bool:
    """Whether an Executor of this process has calls that have not ended."""
    return any(client._queue for client in list(_all))  # noqa: SLF001 - of this module


_all: weakref.WeakSet[Client] = weakref.WeakSet()
_open: weakref.WeakSet[Client] = weakref.WeakSet()  # whose drivers run
_interpreter_ends = False


def _at_exit() -> None:
    """Have all calls executed, as the standard library's executors do, when Python ends."""
    global _interpreter_ends  # noqa: PLW0603 - it ends once
    _interpreter_ends = True
    clients = list(_open)
    for client in clients:
        client.shutdown(wait=False, cancel=False)
    for client in clients:
        client.join()


# Before threads are joined and `atexit` runs, as in concurrent.futures.process: it has no public name.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # noqa: SLF001


def _after_fork() -> None:
    _open.clear()
    for client in list(_all):
        client.forget()


os.register_at_fork(after_in_child=_after_fork)
