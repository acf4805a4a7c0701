"""A file with what a client has asked for, so that a driver that is killed goes on without the client."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from sweepfleet.slot.calls.frames import Buffer, Frame, FrameError, Reader, parse, pieces

CLEARED_BYTES = 1 << 20  # a smaller file is not worth it


class Spool:
    """Frames in their order; thread-safe, and for the run's one driver."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises OSError.

        A last frame of which a power cut has left half is dropped.
        """
        self._path = path
        self._lock = threading.Lock()
        self._hello: bytes = b""
        self._functions: dict[str, bytes] = {}
        self._flushed = True
        self.before: list[Frame] = []  # what the drivers before have left
        if path.exists():
            with path.open("rb") as file, contextlib.suppress(FrameError):
                reader = Reader(file.fileno())
                while (frame := reader.receive()) is not None:
                    self.before.append(frame)
        new = path.with_name(f".{path.name}.new")
        self._fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for frame in self.before:
            self._add(frame, b"".join(pieces(frame)))
        os.fsync(self._fd)
        new.replace(path)

    def keep(self, payload: memoryview) -> None:
        """Add a frame of a client, where it is one that a driver needs. Raises OSError."""
        frame = parse(payload)
        with self._lock:
            self._add(frame, payload)

    def _add(self, frame: Frame, payload: Buffer) -> None:
        match frame.kind:
            case "hello":
                self._hello = bytes(payload)
            case "function":
                self._functions[frame.header["digest"]] = bytes(payload)
            case "forget":
                self._functions.pop(frame.header["digest"], None)
            case "bundle":
                pass
            case _:
                return
        self._write([payload])
        self._flushed = False

    def _write(self, payloads: Iterable[Buffer]) -> None:
        for payload in payloads:
            left = memoryview(payload)
            while left:
                left = left[os.write(self._fd, left) :]

    def clear(self) -> None:
        """Drop all bundles: no call is open."""
        with self._lock:
            if os.fstat(self._fd).st_size > CLEARED_BYTES + sum(map(len, self._functions.values())):
                os.ftruncate(self._fd, 0)
                self._write([self._hello, *self._functions.values()])

    def flush(self) -> None:
        """Have everything on the disk, also after a power cut. Raises OSError."""
        with self._lock:
            if self._flushed:
                return
            self._flushed = True
        os.fdatasync(self._fd)

    def remove(self) -> None:
        """Remove it: the driver has ended."""
        self._path.unlink(missing_ok=True)
