"""The way to a driver of calls: a byte stream to a process. On this machine a socket, and the process is a child."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from typing import Protocol

from sweepfleet.api import forks
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
        with forks.starting:
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
            forks.keep_here(ours.fileno())
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
        forks.forget(self._socket.fileno())
        self._socket.close()
