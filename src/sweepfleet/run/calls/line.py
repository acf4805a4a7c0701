"""One end of a line between a client and its driver elsewhere: every frame arrives once and in order.

A line outlives its connections. Each end numbers its frames and keeps them until the other end has confirmed them;
when a connection breaks and the next one is there, what was not confirmed is sent again. This module does not know
what is in a frame.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PART = struct.Struct("<BQQ")  # kind, number, bytes that follow
FRAME, CONFIRMED, ALIVE, END, HELLO = range(5)
ALIVE_S = 10.0  # between two signs of life
MOST_BYTES = 1 << 34  # of a frame; more is no frame of ours
MOST_HELLO = 1 << 20
SMALL_BYTES = 1 << 14  # a buffer that is copied rather than written alone

Buffer = bytes | bytearray | memoryview


class Connection(Protocol):
    """Bytes both ways, until it breaks. `close` ends a `read` in another thread."""

    def read(self, size: int) -> Buffer:
        """So many bytes. Raises OSError or EOFError when they do not come."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """All of them. Raises OSError."""

    def close(self) -> None:
        """End it; a second call does nothing."""


class SocketConnection:
    """A connection over a stream socket; silence for `silent_s` counts as its end."""

    def __init__(self, stream: socket.socket, *, silent_s: float | None = None) -> None:
        self._stream = stream
        stream.settimeout(silent_s)

    def read(self, size: int) -> Buffer:
        """See `Connection`."""
        data = bytearray(size)
        left = memoryview(data)
        while left:
            count = self._stream.recv_into(left)
            if not count:
                raise EOFError
            left = left[count:]
        return data

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Connection`."""
        for each in joined(buffers):
            self._stream.sendall(each)

    def close(self) -> None:
        """See `Connection`."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()


def joined(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The same bytes, small buffers as one."""
    small: list[Buffer] = []
    for each in buffers:
        if memoryview(each).nbytes <= SMALL_BYTES:
            small.append(each)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield memoryview(each).cast("B")
    if small:
        yield b"".join(small)


def tell(connection: Connection, **what: Any) -> None:
    """Say something at a connection's start. Raises OSError."""
    text = json.dumps(what).encode()
    connection.write([PART.pack(HELLO, 0, len(text)), text])


def hear(connection: Connection) -> dict[str, Any]:
    """What the other end says at a connection's start. Raises OSError, EOFError, ValueError."""
    kind, _, size = PART.unpack(connection.read(PART.size))
    if kind != HELLO or size > MOST_HELLO:
        raise ValueError("this is no line")
    found = json.loads(bytes(connection.read(size)))
    if not isinstance(found, dict):
        raise ValueError("this is no line")  # noqa: TRY004 - as above
    return found


@dataclass(slots=True)
class _Sent:
    number: int
    buffers: Sequence[Buffer]
    size: int


@dataclass
class Line:
    """One end; thread-safe. `carry` works for one connection at a time."""

    deliver: Callable[[memoryview], None]  # called for each frame, by the thread that carries
    received: int = 0  # the number of the other end's last frame that was delivered
    ended: bool = False  # whether the other end has said that nothing more comes
    _numbers: int = 0
    _kept: deque[_Sent] = field(default_factory=deque)  # not confirmed yet
    _sent: int = 0  # the number of the last frame that this connection was given
    _confirm: bool = False  # whether `received` has grown since it was told
    _ends: bool = False  # whether nothing more is sent after what is kept
    _writing: Connection | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def fresh(self) -> bool:
        """Whether the other end is not known to have anything of this line."""
        with self._changed:
            return not self.received and len(self._kept) == self._numbers

    def send(self, *buffers: Buffer) -> None:
        """Send a frame now, or with the next connection. Its buffers must not change meanwhile."""
        with self._changed:
            self._numbers += 1
            self._kept.append(_Sent(self._numbers, buffers, sum(memoryview(each).nbytes for each in buffers)))
            self._changed.notify_all()

    def end(self) -> None:
        """Tell the other end, after all frames, that nothing more comes."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()

    def all_confirmed(self, timeout_s: float) -> bool:
        """Wait until the other end has everything; False when it does not happen in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._kept, timeout_s)

    def carry(self, connection: Connection, *, their_received: int) -> None:
        """Carry frames over a connection until it breaks, or the other end has ended the line; then it is closed.

        Args:
            connection: a new one.
            their_received: the other end's `received`, as it says at the start of each connection.
        """
        with self._changed:
            self._confirmed(their_received)
            self._sent = their_received
            self._confirm = False  # told at the connection's start
            self._writing = connection
        writer = threading.Thread(target=self._write, args=[connection], name="line", daemon=True)
        writer.start()
        try:
            with contextlib.suppress(OSError, EOFError, ValueError):
                while not self.ended:
                    self._read(connection)
        finally:
            with self._changed:
                if self._writing is connection:
                    self._writing = None
                self._changed.notify_all()
            connection.close()
            writer.join()

    def _read(self, connection: Connection) -> None:
        kind, number, size = PART.unpack(connection.read(PART.size))
        if size > MOST_BYTES or kind > END:
            raise ValueError("this is no line")
        if kind == FRAME:
            payload = memoryview(connection.read(size))
            if number != self.received + 1:  # it came over the connection before, unconfirmed
                return
            self.deliver(payload)
            with self._changed:
                self.received = number
                self._confirm = True
                self._changed.notify_all()
        elif kind == CONFIRMED:
            with self._changed:
                self._confirmed(number)
        elif kind == END:
            self.ended = True

    def _confirmed(self, number: int) -> None:
        while self._kept and self._kept[0].number <= number:
            self._kept.popleft()
        self._changed.notify_all()

    def _write(self, connection: Connection) -> None:
        """Write what is to be written, in a thread of its own: the one that reads must never wait for a full pipe."""
        try:
            said_s = time.monotonic()
            ended = False
            while True:
                with self._changed:
                    rest_s = max(0.0, said_s + ALIVE_S - time.monotonic())
                    self._changed.wait_for(functools.partial(self._due, connection, ended=ended), rest_s)
                    if self._writing is not connection:
                        return
                    confirm = self.received if self._confirm else None
                    self._confirm = False
                    frame = None
                    if self._sent < self._numbers:
                        self._sent += 1
                        frame = self._kept[self._sent - self._kept[0].number]
                    ends = self._ends and frame is None and not ended
                if confirm is not None:
                    connection.write([PART.pack(CONFIRMED, confirm, 0)])
                if frame is not None:
                    connection.write([PART.pack(FRAME, frame.number, frame.size), *frame.buffers])
                elif ends:
                    connection.write([PART.pack(END, 0, 0)])
                    ended = True
                elif confirm is None:
                    connection.write([PART.pack(ALIVE, 0, 0)])
                said_s = time.monotonic()
        except (OSError, ValueError):  # ValueError: it was closed meanwhile
            connection.close()

    def _due(self, connection: Connection, *, ended: bool) -> bool:
        return (
            self._writing is not connection
            or self._confirm
            or self._sent < self._numbers
            or (self._ends and not ended)
        )
