"""The slots of one Executor on one machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from sweepfleet.slot.calls.batch import Call
from sweepfleet.slot.calls.mailbox import SUFFIX
from sweepfleet.slot.calls.runner import GiveBack, Runner, SlotClosedError, Tell
from sweepfleet.slot.calls.spec import Spec


class Pool:
    """A fixed number of slots; thread-safe. A slot's process is started when it is needed."""

    def __init__(self, spec: Spec, *, slots: int) -> None:
        """Have the first process start at once: it takes Python a while."""
        folder = Path(spec.mailboxes) if spec.mailboxes is not None else None
        self._functions: dict[str, bytes] = {}
        self._runners = [
            Runner(spec, mailbox=None if folder is None else folder / f"{number}{SUFFIX}") for number in range(slots)
        ]
        self._free = list(reversed(self._runners))  # the last one is used first: it is warm
        self._changed = threading.Condition()
        self._closed = False
        self._runners[0].start()

    def add_function(self, digest: str, pickled: bytes) -> None:
        """Have a function for calls that come later."""
        self._functions[digest] = pickled

    def forget_function(self, digest: str) -> None:
        """Drop a function: no call of it is open, and none will come before it is added again."""
        self._functions.pop(digest, None)

    def execute(self, calls: Sequence[Call], tell: Tell, give_back: GiveBack) -> None:
        """Execute calls on the next free slot; see `Runner.execute`."""
        with self._changed:
            while not self._free and not self._closed:
                self._changed.wait()
            if self._closed:
                raise SlotClosedError
            runner = self._free.pop()
        try:
            runner.execute(calls, self._functions, tell, give_back)
        finally:
            with self._changed:
                self._free.append(runner)
                self._changed.notify_all()

    def close(self) -> None:
        """End all slots and everything that calls started, now; returns when no call is executed any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for runner in self._runners:
            runner.close()
        with self._changed:
            while len(self._free) < len(self._runners):
                self._changed.wait()
        for runner in self._runners:
            runner.free()
