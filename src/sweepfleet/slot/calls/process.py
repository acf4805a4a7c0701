"""A child that executes calls, from its owner's side: started, given jobs, watched and killed."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepfleet.slot.calls.batch import Call, Outcome, pack_calls
from sweepfleet.slot.calls.frames import Frame, FrameError, Reader, Writer
from sweepfleet.slot.calls.mailbox import Mailbox, open_mailbox
from sweepfleet.slot.calls.spec import Spec
from sweepfleet.slot.calls.tokens import Tokens
from sweepfleet.slot.cores import environment
from sweepfleet.slot.life import Life
from sweepfleet.slot.memory import Meter, Usage


class Child:
    """One process, for one thread; `kill` may come from another one."""

    def __init__(self, spec: Spec, *, mailbox: Path | None = None) -> None:
        """Start it; returns at once. Raises OSError when it cannot be started."""
        self._known: set[str] = set()  # functions that it has got
        self._meter: Meter | None = None
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            messages, its_messages = socket.socketpair()
            ours.enter_context(messages)
            theirs.enter_context(its_messages)
            life, its_life = socket.socketpair()  # ends in the child when this process does
            ours.enter_context(life)
            theirs.enter_context(its_life)
            self.tokens = Tokens()
            ours.callback(self.tokens.close)
            mailbox_fd = open_mailbox(mailbox)
            ours.callback(os.close, mailbox_fd)
            self.mailbox = Mailbox(mailbox_fd)
            fds = [its_messages.fileno(), self.tokens.read_fd, mailbox_fd, its_life.fileno()]
            self.life = Life(life)
            self.life.process = self._process = _spawn(fds, cpus=spec.cpus, folder=spec.folder)
            self._messages = messages
            self._ours = ours.pop_all()
        self._poll = select.poll()
        self._poll.register(messages, select.POLLIN)
        self._reader, self._writer = Reader(messages.fileno()), Writer(messages.fileno())
        order = {"kind": "order", "path": None if spec.path is None else list(spec.path)}
        self._send(Frame(order, [] if spec.initializer is None else [spec.initializer]))

    def give(self, calls: Sequence[Call], functions: Mapping[str, bytes], *, attempt: int) -> None:
        """Give it a job, with the functions that it needs. One that is gone is noticed at the next `reply`."""
        self.life.begin_job()
        self.tokens.give(len(calls))
        if forgotten := self._known - functions.keys():
            self._known -= forgotten
            self._send(Frame({"kind": "forget", "digests": sorted(forgotten)}))
        for digest in dict.fromkeys(call.function for call in calls):
            if digest not in self._known:
                self._known.add(digest)
                self._send(Frame({"kind": "function", "digest": digest}, [functions[digest]]))
        self._send(pack_calls(calls, {"kind": "job", "attempt": attempt}))

    def _send(self, frame: Frame) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._writer.send(frame)

    def reply(self, timeout_s: float | None) -> dict[str, Any] | None:
        """Its next message; None after `timeout_s` without one, `{"kind": "died"}` when it is gone."""
        if not self._poll.poll(None if timeout_s is None else timeout_s * 1000):
            return None
        with contextlib.suppress(ConnectionResetError, FrameError):
            if (frame := self._reader.receive()) is not None:
                return frame.header
        return {"kind": "died"}

    def collect(self) -> list[Outcome]:
        """What it has finished since the last call."""
        return self.mailbox.collect()

    def memory(self, limit_bytes: int) -> Usage:
        """What it and all that it started use."""
        if self._meter is None:
            self._meter = Meter(self._process.pid)  # its supervisor
        return self._meter.usage(limit_bytes)

    def kill(self) -> int:
        """End it and all that it started, if it has not ended; what it finished can still be collected.

        Returns the exit code, negative for a signal.
        """
        return self.life.kill()

    def close(self) -> None:
        """Kill it and free its resources."""
        self.kill()
        self._ours.close()


def _spawn(fds: Sequence[int], *, cpus: int, folder: str | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: a `worker` or `json.py` in the current folder must not come before ours and Python's.
        [sys.executable, "-P", "-m", "sweepfleet.slot.calls.child", *map(str, fds)],
        stdin=subprocess.DEVNULL,
        pass_fds=fds,
        process_group=0,  # Ctrl-C does not reach it
        cwd=folder,
        env=os.environ | environment(cpus),
    )
