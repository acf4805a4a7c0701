"""The way to a driver of calls: a byte stream to a process. On this machine a socket, and the process is a child."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from typing import Protocol

from sweepfleet.slot.calls.frames import Frame, Reader, Writer

LEAVE_S = 30.0  # for a driver whose client is gone


class Way(Protocol):
    """An open way."""

    def send(self, frame: Frame) -> None:
        """Write a message. Raises OSError when the driver is gone."""

    def receive(self) -> Frame | None:
        """The next message; None at the end. Raises OSError, or FrameError for what is no message."""

    def close(self) -> None:
        """Close it, and wait for the driver's process where it is a child; it ends by itself then."""


class Here:
    """A driver on this machine."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        with _opening:
            ours, its = socket.socketpair()
            _open.update((ours, its))
        with its:
            # A session of its own: Ctrl-C is the client's, who decides.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweepfleet.run.calls.here", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        _open.discard(its)
        self._socket = ours
        self.send, self.receive = Writer(ours.fileno()).send, Reader(ours.fileno()).receive

    def close(self) -> None:
        """See `Way`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # whatever a fork of this process may hold
        try:
            self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the socket alone."""
        _open.discard(self._socket)
        self._socket.close()


_open: set[socket.socket] = set()
_opening = threading.Lock()  # no fork happens between a socket's birth and its place in the set


def _after_fork() -> None:
    # A child must not hold the way open: the driver would not see that its client is gone.
    _opening.release()
    for each in list(_open):
        each.close()
    _open.clear()


os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_after_fork)
