"""The owner's side of what points print: reads a child's pipe and keeps up to the limit of each point.

A child whose pipe is full waits until it is read, so neither memory nor disk holds more than is kept. One thread
reads the pipes of all children of this process: a few times a second, and without a pause while one of them
prints a lot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sweepfleet.slot.output import MARK, TOKEN_BYTES, Printed

PIPE_BYTES = 1 << 18
MANY_BYTES = 1 << 14  # at one time: who prints so much waits for us, and we do not pause
PAUSE_S = 0.25
SHORTEST_PAUSE_S = 0.001
TAIL_BYTES = 3000  # for the text of an error


@dataclass
class Budget:
    """How many bytes of packed output may come back with one bundle."""

    done: int = 8_000_000  # of points that finished
    failed: int = 64_000_000

    def grants(self, size: int, *, failed: bool) -> bool:
        """Whether this many bytes still fit; if so, they are deducted."""
        left = self.failed if failed else self.done
        if size > left:
            return False
        if failed:
            self.failed -= size
        else:
            self.done -= size
        return True


class Ends:
    """The first and the last bytes of what is added, `limit` together."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.size = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(data)
        room = self._head_limit - len(self._head)
        if room:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_limit :] if self._tail_limit else b""
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: -self._tail_limit]

    def printed(self) -> Printed:
        """What was kept."""
        tail = bytes(self._tail[-self._tail_limit :]) if self._tail_limit else b""
        return Printed(bytes(self._head), tail, self.size - len(self._head) - len(tail))


class Log:
    """What one child prints; thread-safe."""

    def __init__(self) -> None:
        """Make the pipe, and read it from now on; only the last bytes are kept, for the text of errors."""
        self.token = b""
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        with contextlib.suppress(AttributeError, OSError):  # not on all systems, and not for all users
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._lock = threading.Lock()
        self._current = Ends(0)  # since the last mark
        self._recent = bytearray()  # the last text of all
        self._carry = b""  # the beginning of what may be a mark
        self._done: dict[int, bytes] = {}  # packed, by place among the job's records
        self._budget = Budget()
        self.size = 0  # bytes of text that came in all
        self._marked = 0  # of them before the last mark
        self.ended = False  # whether nobody can write to it any more
        self._closed = False
        _DRAIN.add(self)

    def keep(self, limit: int | None) -> None:
        """Keep what each point prints, once the child knows the token.

        Args:
            limit: bytes of each point; None: only the last ones of all, as before.
        """
        with self._lock:
            self.token = b"" if limit is None else b"\0" + os.urandom(TOKEN_BYTES - 1)
            self._current = Ends(limit or 0)

    def begin(self, budget: Budget) -> None:
        """Forget what came before the child's next job."""
        self.read()
        with self._lock:
            self._done.clear()
            self._current.clear()
            self._marked = self.size
            self._budget = budget

    def read(self) -> int:
        """Read all that is in the pipe now; returns the number of bytes."""
        count = 0
        with self._lock:
            while not self._closed and count <= 4 * PIPE_BYTES:  # a process may write forever
                try:
                    data = os.read(self.fd, PIPE_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    self.ended = True
                    break
                count += len(data)
                self._feed(data)
        return count

    def _feed(self, data: bytes) -> None:
        if not self.token:
            self._text(data)
            return
        data = self._carry + data
        self._carry = b""
        at, size = 0, MARK.size
        if not self._current.size and self._only_marks(data):
            return  # points that have printed nothing
        while (found := data.find(self.token, at)) >= 0 and found + size <= len(data):
            self._text(data[at:found])
            _, number, failed = MARK.unpack_from(data, found)
            self._end_point(number, failed=bool(failed))
            at = found + size
        cut = next(self._beginnings(data, at), len(data))
        self._text(data[at:cut])
        self._carry = data[cut:]

    def _only_marks(self, data: bytes) -> bool:
        # Of whole ones: between the first and the last, nothing has room.
        whole = data.startswith(self.token) and data.rfind(self.token) == len(data) - MARK.size
        return whole and data.count(self.token) * MARK.size == len(data)

    def _beginnings(self, data: bytes, at: int) -> Iterator[int]:
        """Where in the last bytes a mark may begin."""
        start = max(at, len(data) - MARK.size + 1)
        while (found := data.find(self.token[:1], start)) >= 0:
            rest = data[found : found + TOKEN_BYTES]
            if self.token.startswith(rest):
                yield found
            start = found + 1

    def _text(self, data: bytes) -> None:
        if data:
            self.size += len(data)
            self._current.add(data)
            self._recent += data[-TAIL_BYTES:]
            if len(self._recent) > 2 * TAIL_BYTES:
                del self._recent[:-TAIL_BYTES]

    def _end_point(self, number: int, *, failed: bool) -> None:
        self._marked = self.size
        if self._current.size:
            self._done[number] = self._pack(failed=failed)
            self._current.clear()

    def _pack(self, *, failed: bool) -> bytes:
        packed = self._current.printed().pack()
        return packed if self._budget.grants(len(packed), failed=failed) else Printed.without_text(packed)

    def outputs(self, count: int, *, culprit: bool) -> dict[int, bytes]:
        """What the points of the job printed, packed, by place among its records.

        Args:
            count: of records; what later points printed does not count, since they run again.
            culprit: whether the last one is the point at which the child was ended: what came after the last mark
                is its.
        """
        self.read()
        if not self.token:
            return {}
        with self._lock:
            if culprit and count - 1 not in self._done:
                self._text(self._carry)
                self._carry = b""
                self._end_point(count - 1, failed=True)
            return {number: packed for number, packed in self._done.items() if number < count}

    def tail(self, *, since: int | None = None) -> str:
        """The last lines since the last mark, or since `size` had this value."""
        self.read()
        with self._lock:
            count = min(TAIL_BYTES, self.size - (self._marked if since is None else since))
            return self._recent[-count:].decode(errors="replace") if count > 0 else ""

    def close_write(self) -> None:
        """Close our copy of the child's end of the pipe, so that the pipe ends with the child."""
        os.close(self.write_fd)

    def close(self) -> None:
        """Stop reading."""
        _DRAIN.remove(self)
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)


class _Drain:
    """The thread that reads all pipes; there is one while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[int, Log] = {}
        self._wake: tuple[int, int] | None = None  # a pipe that ends a wait; None: no thread runs

    def add(self, log: Log) -> None:
        """Start reading it."""
        with self._lock:
            self._logs[log.fd] = log
            if self._wake is None:
                self._wake = os.pipe()
                threading.Thread(target=self._serve, args=self._wake, name="output", daemon=True).start()
            else:
                os.write(self._wake[1], b".")

    def remove(self, log: Log) -> None:
        """Stop reading it."""
        with self._lock:
            if self._logs.get(log.fd) is log:
                del self._logs[log.fd]
                if self._wake is not None:
                    os.write(self._wake[1], b".")

    def _serve(self, wake_fd: int, write_fd: int) -> None:
        pause_s = PAUSE_S
        while logs := self._open(wake_fd, write_fd):
            poll = select.poll()
            poll.register(wake_fd, select.POLLIN)
            for fd in logs:
                poll.register(fd, select.POLLIN)
            most = 0
            for fd, _ in poll.poll():
                if fd == wake_fd:
                    os.read(wake_fd, 1 << 12)
                else:
                    most = max(most, logs[fd].read())
            # Who prints a lot waits for us: no pause then, and a short one soon after.
            pause_s = 0.0 if most >= MANY_BYTES else min(PAUSE_S, max(SHORTEST_PAUSE_S, 2 * pause_s))
            if pause_s:
                time.sleep(pause_s)

    def _open(self, *wake: int) -> dict[int, Log]:
        """The pipes that can still be written to; when there are none, the thread ends."""
        with self._lock:
            for fd in [fd for fd, log in self._logs.items() if log.ended]:
                del self._logs[fd]
            if not self._logs:
                self._wake = None
                for fd in wake:
                    os.close(fd)
            return dict(self._logs)


_DRAIN = _Drain()
