"""What points print: its packed form, and the child's side, which marks where each point's text ends.

Standard output and error of a runner child are one pipe, so text stands in the order in which it was printed. The
child ends each point that printed with a mark in that same pipe; the owner (`slot.drain`) reads both. A mark
begins with 16 random bytes that only owner and child know: no text can be taken for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

TOKEN_BYTES = 16
MARK = struct.Struct(f"<{TOKEN_BYTES}sIB")  # token, the point's place among the job's records, whether it failed
QUIET_S = 0.005  # after which a mark is written though no stream of ours was: what was not may be C code or a program
HIGH_FD = 200  # where a point that closes files it does not know, and opens its own, hardly ever comes to
PLAIN_BYTES = 256  # less is not worth compressing: most points print a line or nothing
_PACKED = struct.Struct("<BQII")  # whether the text is compressed; bytes dropped, of the head, of the text
_IOLBF = 1  # C's line buffering, as glibc, musl and macOS number it


class Printed(NamedTuple):
    """The output of one attempt at a point: all of it, or its beginning and end."""

    head: bytes
    tail: bytes = b""
    dropped: int = 0  # bytes dropped between the two; without both of them, nothing was kept

    @property
    def kept(self) -> bool:
        """Whether any of it is here."""
        return bool(self.head or self.tail)

    @property
    def size(self) -> int:
        """How many bytes were printed."""
        return len(self.head) + self.dropped + len(self.tail)

    @property
    def text(self) -> str:
        """The text; bytes that are not UTF-8 are escaped, and dropped parts are marked."""
        if not self.kept:
            return f"({self.dropped:,} bytes were printed; they were not kept)" if self.dropped else ""
        if not self.dropped:
            return (self.head + self.tail).decode(errors="backslashreplace")
        head = _whole_characters(self.head, end=True).decode(errors="backslashreplace")
        tail = _whole_characters(self.tail, end=False).decode(errors="backslashreplace")
        return f"{head}\n... {self.dropped:,} bytes dropped ...\n{tail}"

    def pack(self) -> bytes:
        """As bytes, compressed where that is worth it."""
        text = self.head + self.tail
        small = len(text) < PLAIN_BYTES
        return _PACKED.pack(not small, self.dropped, len(self.head), len(text)) + (
            text if small else zlib.compress(text, 3)
        )

    @staticmethod
    def without_text(packed: bytes) -> bytes:
        """What `pack` wrote, without the text."""
        _, dropped, _, size = _PACKED.unpack_from(packed)
        return _PACKED.pack(False, dropped + size, 0, 0)

    @classmethod
    def unpack(cls, data: bytes) -> Printed:
        """What `pack` wrote. Raises ValueError when it is damaged."""
        try:
            compressed, dropped, head, size = _PACKED.unpack_from(data)
            text = zlib.decompress(data[_PACKED.size :]) if compressed else data[_PACKED.size :]
        except (struct.error, zlib.error) as error:
            raise ValueError(f"The kept output is damaged: {error}.") from error
        if len(text) != size:
            raise ValueError(f"The kept output is damaged: {len(text):,} bytes in place of {size:,}.")
        return cls(text[:head], text[head:], dropped)


def _whole_characters(data: bytes, *, end: bool) -> bytes:
    """Without the part of a UTF-8 character at the end, or at the beginning, that a cut has left."""
    for count in range(1, min(4, len(data)) + 1):
        byte = data[-count] if end else data[count - 1]
        if byte & 0xC0 != 0x80:  # no continuation: a character begins here
            if not end:
                return data[count - 1 :]
            needs = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 1
            return data[:-count] if needs > count else data
    return data if end or len(data) > 3 else b""


class Output:
    """Standard output and error of a runner child.

    Usage:
        output = Output()                   # before the target is imported: its handlers keep the streams they find
        output.prepare()                    # once it is imported
        output.begin(token)                 # before the first point
        if output.printed or now_s > output.due_s:
            output.mark(number, failed=failed)
    """

    def __init__(self) -> None:
        """Replace the process's streams by line-buffered ones that tell when they are written to."""
        self._token = b""
        self.fd = _high_copy_of(2)  # a point may close 2, or put something else there
        self.printed = False  # whether one of the streams was written to since the last mark
        self.due_s = float("inf")
        self._streams = [_stream(self, fd, name) for fd, name in ((1, "stdout"), (2, "stderr"))]
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]
        self._flush_libc: Callable[[], Any] = _nothing

    def prepare(self) -> None:
        """Make C's standard output line-buffered, too."""
        with contextlib.suppress(Exception):  # a Python without ctypes, a C library that is unlike others
            import ctypes

            libc = ctypes.CDLL(None)
            stdout = ctypes.c_void_p.in_dll(libc, "__stdoutp" if sys.platform == "darwin" else "stdout")
            libc.setvbuf(stdout, None, _IOLBF, ctypes.c_size_t(0))
            flush = libc.fflush
            self._flush_libc = lambda: flush(stdout)

    def begin(self, token: bytes) -> None:
        """From now on, output belongs to points.

        Args:
            token: the beginning of marks; without one, none is written: nobody keeps what points print.
        """
        self.flush()
        self.printed = False
        self._token = token
        self.due_s = time.perf_counter() + QUIET_S if token else float("inf")

    def move_to(self, fd: int) -> None:
        """In a copy of this process: write to another pipe from now on, through the same streams."""
        for each in (1, 2):
            os.dup2(fd, each)
        os.dup2(fd, self.fd, inheritable=False)

    def flush(self) -> None:
        """Flush C's streams, and Python's if one was written to."""
        if self.printed:
            for stream in self._streams:
                with contextlib.suppress(OSError, ValueError):  # closed by the point
                    stream.flush()
        self._flush_libc()

    def mark(self, number: int, *, failed: bool) -> None:
        """Mark the end of a point's output.

        Args:
            number: the point's place among the job's records.
            failed: whether its attempt failed.
        """
        self.flush()
        if self.printed:
            self.printed = False
            _show_warnings_again()
        if self._token:
            self._write(MARK.pack(self._token, number, failed))
            self.due_s = time.perf_counter() + QUIET_S

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            try:
                os.write(self.fd, data)
            except BlockingIOError:  # a program that shares the pipe has made it so
                os.set_blocking(self.fd, True)
                os.write(self.fd, data)


def _nothing() -> None:
    pass


class _Text(io.TextIOWrapper):
    """A standard stream that stays open, whatever a point does with it: the next point prints, too."""

    output: Output

    def write(self, text: str, /) -> int:
        self.output.printed = True
        return super().write(text)

    def close(self) -> None:
        self.flush()

    def detach(self) -> _Bytes:
        self.flush()
        return _bytes(self.output, self.fileno(), self.name)


class _Bytes(io.BufferedWriter):
    output: Output

    def write(self, data: Any, /) -> int:
        self.output.printed = True
        return super().write(data)

    def close(self) -> None:  # as a TextIOWrapper that a point has put around it does in its end
        self.flush()


def _bytes(output: Output, fd: int, name: str) -> _Bytes:
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = name
    buffer = _Bytes(raw)
    buffer.output = output
    return buffer


def _stream(output: Output, fd: int, name: str) -> _Text:
    # Line by line, as in a terminal: a point that is killed has said what it had to say, and the two streams keep
    # their order.
    buffer = _bytes(output, fd, f"<{name}>")
    text = _Text(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    text.output = output
    text.mode = "w"  # type: ignore[misc] # as Python's own has it
    return text


def _high_copy_of(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
    except OSError:  # the limit of open files is reached
        return os.dup(fd)


def _show_warnings_again() -> None:
    """Let the next point show the warnings that this one has shown: by default a line of code warns only once.

    What was shown is remembered together with a version of the filters; leaving `catch_warnings` raises it.
    """
    with contextlib.suppress(Exception), warnings.catch_warnings():
        pass
