"""The tokens of a job: one byte a call in a pipe, of which the child takes one before each call.

The owner can take back all that are left, which the kernel does at once. So each call is either begun by the child or
the owner's again, and one that takes long holds back none of those after it.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import termios

MOST = 4096  # a pipe has room for more on every system


class Tokens:
    """The owner's ends of the pipe."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)  # the child's too
        os.set_blocking(self._write_fd, False)

    def give(self, count: int) -> None:
        """Put one for each call of a job; the pipe is empty."""
        os.write(self._write_fd, bytes(count))

    def left(self) -> int:
        """How many the child has not taken."""
        count = array.array("i", [0])
        fcntl.ioctl(self.read_fd, termios.FIONREAD, count)
        return count[0]

    def take_back(self) -> int:
        """Take all that are left; how many these were."""
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.read_fd, MOST):
                taken += len(data)
        return taken

    def close(self) -> None:
        """Close it."""
        os.close(self.read_fd)
        os.close(self._write_fd)


def take(fd: int) -> bool:
    """Take a token, in the child; False when none is left."""
    try:
        return bool(os.read(fd, 1))
    except BlockingIOError:
        return False
