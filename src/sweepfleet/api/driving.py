"""A driver's process from its owner's side: started, followed, stopped."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from sweepfleet.api import forks
from sweepfleet.api.driver import Order
from sweepfleet.api.hints import in_python
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.run.progress import Observer
from sweepfleet.run.run_progress import Progress

LOOK_S = 0.2  # between two looks for an interrupt


class DriverError(SweepfleetError):
    """A sweep's driver ended before its sweep."""


class Driver:
    """The process that drives one sweep, and its messages so far."""

    def __init__(self, order: Order) -> None:
        """Start it. Side effect: a thread reads its messages until it has ended."""
        self._events: deque[dict[str, Any]] = deque()  # that nobody has followed yet
        self._said = threading.Condition()
        self.exit_code: int | None = None  # once the end of its sweep was followed
        self._interrupted = False
        self._now: dict[str, Any] = {}  # the event that began what it does
        with forks.starting:
            # A session of its own: Ctrl-C is the owner's, who decides.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweepfleet.api.driver"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                # One that outlives its owner keeps no terminal and no pipe open.
                stderr=None if order.stops_with_its_owner else subprocess.DEVNULL,
            )  # fmt: skip
            self._ends = (self._input.fileno(), self._output.fileno())
            forks.keep_here(*self._ends)
        with contextlib.suppress(BrokenPipeError):  # its end will be told
            self._input.write(order.to_json() + "\n")
            self._input.flush()
        threading.Thread(target=self._read, daemon=True, name=f"driver of {order.name}").start()

    @property
    def _input(self) -> Any:
        return self._process.stdin

    @property
    def _output(self) -> Any:
        return self._process.stdout

    def _read(self) -> None:
        ended = False
        for line in self._output:
            event = json.loads(line)
            ended = ended or "ended" in event
            self._put(event)
        code = self._process.wait()
        forks.forget(*self._ends)
        with contextlib.suppress(OSError):
            self._input.close()
        self._output.close()
        if not ended and self._interrupted and code == -signal.SIGINT:  # before it could say so: nothing has run
            self._put({"ended": 128 + signal.SIGINT})
        elif not ended:
            self._put({"ended": 1, "error": f"The sweep's driver ended with {code}.", "kind": "DriverError"})

    def _put(self, event: dict[str, Any]) -> None:
        with self._said:
            if "progress" in event and self._events and "progress" in self._events[-1]:
                self._events.pop()  # an older state: nobody may look for hours
            self._events.append(event)
            self._said.notify()

    def _next(self) -> dict[str, Any] | None:
        """The next event; None when there was none for a moment."""
        with self._said:
            if not self._events:
                self._said.wait(LOOK_S)
            return self._events.popleft() if self._events else None

    def follow(self, observer: Observer, *, until: Callable[[dict[str, Any]], bool] = lambda _: False) -> None:
        """Show its messages, until its sweep has ended, or `until` an event.

        Raises:
            UsageError: the sweep was refused.
            SweepfleetError: it could not go on.
            KeyboardInterrupt: as ever; what follows can be followed later.
        """
        with contextlib.ExitStack() as screen:
            self._show(self._now, observer, screen)
            while self.exit_code is None:
                event = self._next()
                if event is not None:
                    self._show(event, observer, screen)
                    if until(event):
                        return

    def _show(self, event: dict[str, Any], observer: Observer, screen: contextlib.ExitStack) -> None:
        match event:
            case {"say": str(text)}:
                observer.say(in_python(text, stack=""))
            case {"begins": "waiting", "what": str(what)}:
                screen.close()
                self._now = event
                screen.enter_context(observer.waiting(what))
            case {"begins": "running"}:
                screen.close()
                self._now = event
                screen.enter_context(observer.running())
            case {"ends": _}:
                screen.close()
                self._now = {}
            case {"progress": dict(found)}:
                observer.update(Progress(**found | {"best": tuple(found["best"]) if found["best"] else None}))
            case {"ended": int(code), **how}:
                screen.close()
                self._process.wait()  # the run's folder is then nobody's
                self.exit_code = code
                if "error" in how:
                    kinds = {"UsageError": UsageError, "GridError": UsageError, "DriverError": DriverError}
                    raise kinds.get(how["kind"], SweepfleetError)(how["error"])

    def interrupt(self) -> None:
        """Stop it; finished points are kept."""
        self._interrupted = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
