"""Frames on a byte stream: a header and any number of buffers, which are neither joined nor copied.

A frame is two little-endian uint32 (the header's length, the number of buffers), a uint64 for each buffer's size, the
header as a JSON object, and the buffers.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

Buffer = bytes | bytearray | memoryview

_START = struct.Struct("<II")
MAX_HEADER_BYTES = 1 << 30  # more is not a frame
_MAX_PIECES = 512  # of one writev(2); Linux takes 1,024
_READ_BYTES = 1 << 18
JOIN_BYTES = 1 << 14  # smaller pieces are joined: a copy is cheaper than a piece


class FrameError(Exception):
    """The stream has something else than a frame, or ends within one."""


class Frame(NamedTuple):
    """A message."""

    header: dict[str, Any]
    buffers: Sequence[Buffer] = ()

    @property
    def kind(self) -> str:
        """What it is: the header's `kind`."""
        return str(self.header.get("kind"))


def pieces(frame: Frame) -> list[Buffer]:
    """What is written for a frame, in order."""
    header = json.dumps(frame.header, separators=(",", ":")).encode()
    views = [memoryview(each).cast("B") for each in frame.buffers]
    sizes = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
    found: list[Buffer] = [_START.pack(len(header), len(views)) + sizes + header]
    for view in views:
        if view.nbytes < JOIN_BYTES and len(found[-1]) < JOIN_BYTES:
            found[-1] = bytes(found[-1]) + view
        elif view.nbytes:
            found.append(view)
    return found


def parse(payload: memoryview) -> Frame:
    """The frame that `payload` is, whose buffers are parts of it. Raises FrameError when it is none."""
    try:
        length, count = _START.unpack_from(payload)
        sizes = struct.unpack_from(f"<{count}Q", payload, _START.size)
        begin = _START.size + 8 * count
        header = json.loads(bytes(payload[begin : begin + length]))
    except (ValueError, struct.error) as error:
        raise FrameError(f"This is not a frame: {error}") from None
    begin += length
    if begin + sum(sizes) != len(payload):
        raise FrameError("This is not a frame: its size is another one.")
    ends = [begin, *itertools.accumulate(sizes, initial=begin)][1:]
    return Frame(header, [payload[start:end] for start, end in itertools.pairwise(ends)])


class Writer:
    """Writes frames to a file descriptor, which it does not own; thread-safe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Write a frame whole, however long the reader takes. Raises OSError, BrokenPipeError without a reader."""
        rest = pieces(frame)
        with self._lock:
            while rest:
                written = os.writev(self._fd, rest[:_MAX_PIECES])
                done = 0
                while done < len(rest) and written >= len(rest[done]):
                    written -= len(rest[done])
                    done += 1
                del rest[:done]
                if written:
                    rest[0] = memoryview(rest[0])[written:]


class Reader:
    """Reads frames from a file descriptor, which it does not own; for one thread."""

    def __init__(self, fd: int) -> None:
        self._file = io.BufferedReader(io.FileIO(fd, closefd=False), _READ_BYTES)

    def receive(self) -> Frame | None:
        """The next frame; None at the end of the stream.

        Raises:
            FrameError: the stream ends within a frame, or has no frame.
            OSError: it cannot be read.
        """
        start = self._file.read(_START.size)
        if not start:
            return None
        if len(start) < _START.size:
            raise FrameError("The stream ends within a frame.")
        length, count = _START.unpack(start)
        if length > MAX_HEADER_BYTES or count > MAX_HEADER_BYTES:
            raise FrameError("The stream has something else than a frame.")
        sizes = struct.unpack(f"<{count}Q", self._exactly(8 * count))
        try:
            header = json.loads(bytes(self._exactly(length)))
        except ValueError as error:
            raise FrameError(f"A frame's header is not JSON: {error}") from None
        return Frame(header, [self._exactly(size) for size in sizes])

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            read = self._file.readinto(view)
            if not read:
                raise FrameError("The stream ends within a frame.")
            view = view[read:]
        return data
