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
        with _starting:
            ours, its = socket.socketpair()
            with its:
                try:
                    # A session of its own: Ctrl-C is the client's, who decides.
                    self._process = subprocess.Popen(
                        [sys.executable, "-P", "-m", "sweepfleet.run.calls.here", str(its.fileno())],
                        stdin=subprocess.DEVNULL,
                        pass_fds=[its.fileno()],
                        start_new_session=True,
                    )
                except BaseException:
                    ours.close()
                    raise
            _open.add(ours)
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
        _open.discard(self._socket)
        self._socket.close()


_open: set[socket.socket] = set()
# A fork meanwhile would have the sockets that are not in the set yet, and Popen's own pipe, for whose end it waits.
_starting = threading.Lock()


def _after_fork() -> None:
    # A child must not hold the way open: the driver would not see that its client is gone.
    _starting.release()
    for each in list(_open):
        each.close()
    _open.clear()


os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_after_fork)
