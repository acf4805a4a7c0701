"""The process that drives a sweep for `sweepfleet.sweep`: the same as `inv sweep`, controlled through pipes.

Its standard input has the order, a line of JSON; where the order says so, the end of it means that nobody waits any
more, and the sweep stops as at Ctrl-C. Its standard output has what happens, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from sweepfleet.slot.compiled import keep

EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """A driver's order."""

    text: str  # the grid's
    source: str  # the file that it stands for
    where: tuple[str, ...]  # conditions that choose points of it
    name: str
    runs: str  # the folder of all runs
    root: str  # the project's
    command_line: str
    workers: int | None
    redo: str
    stops_with_its_owner: bool

    def to_json(self) -> str:
        """The order as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """What `to_json` wrote."""
        raw = json.loads(text)
        return cls(**raw | {"where": tuple(raw["where"])})


class Reporter:
    """An observer that sends progress to another process, while that reads it."""

    def __init__(self) -> None:
        self._out: TextIO | None = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a library prints is no event
        self._next_s = 0.0
        self._last: Any = None

    def tell(self, **what: Any) -> None:
        """One event."""
        if self._out is not None:
            try:
                print(json.dumps(what), file=self._out, flush=True)
            except BrokenPipeError:  # nobody listens any more
                self._out = None

    def say(self, text: str) -> None:
        """Print a line."""
        self.tell(say=text)

    def update(self, progress: Any) -> None:
        """Send the progress, when it is due."""
        self._last = progress
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + EVERY_S
            self.tell(progress=asdict(progress))

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Context for a step without other output."""
        self.tell(begins="waiting", what=what)
        try:
            yield
        finally:
            self.tell(ends="waiting")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Context in which points run."""
        self.tell(begins="running")
        try:
            yield
        finally:
            if self._last is not None:
                self.tell(progress=asdict(self._last))
            self.tell(ends="running")


def main() -> int:
    """Carry out the order on standard input; returns the exit code of `inv sweep`."""
    born_s = time.time()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever started this may ignore
    keep()
    order = Order.from_json(sys.stdin.readline())
    from sweepfleet.slot.pool import start_early

    start_early()
    from sweepfleet.grid.errors import SweepfleetError
    from sweepfleet.grid.load import loads
    from sweepfleet.run.request import Request
    from sweepfleet.run.sweep import EXIT_INTERRUPTED, run_sweep

    if order.stops_with_its_owner:
        threading.Thread(target=_stop_at_the_end_of_input, daemon=True, name="owner").start()
    told = Reporter()
    request = Request(
        runs=Path(order.runs),
        root=Path(order.root),
        command_line=order.command_line,
        born_s=born_s,
        workers=order.workers,
        redo=order.redo,
        loaded=gc.freeze,
    )
    try:
        sweep = loads(order.text, source=Path(order.source), where=order.where, name=order.name)
        _, code = run_sweep(sweep, request, told)
    except SweepfleetError as error:
        told.tell(ended=error.exit_code, error=str(error), kind=type(error).__name__)
        return error.exit_code
    except KeyboardInterrupt:  # before a point ran, or for the second time
        told.tell(ended=EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    except BaseException:
        told.tell(ended=1, error=traceback.format_exc(), kind="")
        raise
    told.tell(ended=code)
    return code


def _stop_at_the_end_of_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
