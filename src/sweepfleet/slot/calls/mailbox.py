"""What a child has finished, in a file that outlives it: a child that dies takes no finished call with it.

The child appends a record for each call. The slot's owner reads what is complete, and empties the file before the
next job. It is in memory, or in the run's folder where results are kept: there it outlives the driver, too.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweepfleet.slot.calls.batch import Outcome, Pickled
from sweepfleet.slot.calls.frames import Buffer

SUFFIX = ".mailbox"
# The record's whole size, the call's index, whether it raised, the attempt, unix time when it began, seconds, the
# lengths of key and pickle, and the number of buffers; then a uint64 for each buffer's size.
_RECORD = struct.Struct("<QI?HddHQI")
_MAX_PIECES = 512


def open_mailbox(path: Path | None) -> int:
    """An empty mailbox's file descriptor; at `path`, or in memory."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    if path is not None:
        return os.open(path, flags, 0o600)
    if sys.platform == "linux":
        return os.memfd_create("sweepfleet-calls")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def append(fd: int, outcome: Outcome) -> None:
    """Write a record; only the child does."""
    value = outcome.value
    if not isinstance(value, Pickled):
        raise TypeError("a child has pickles")  # pragma: no cover
    key = (outcome.key or "").encode()
    buffers = [memoryview(each).cast("B") for each in value.outside]
    sizes = struct.pack(f"<{len(buffers)}Q", *(each.nbytes for each in buffers))
    size = _RECORD.size + len(sizes) + len(key) + len(value.data) + sum(each.nbytes for each in buffers)
    head = _RECORD.pack(
        size, outcome.index, outcome.raised, outcome.attempts, outcome.started, outcome.wall_s,
        len(key), len(value.data), len(buffers),
    )  # fmt: skip
    rest: list[Buffer] = [b"".join((head, sizes, key, value.data)), *buffers]
    while rest:
        written = os.writev(fd, rest[:_MAX_PIECES])
        while rest and written >= len(rest[0]):
            written -= len(rest[0])
            del rest[0]
        if written:
            rest[0] = memoryview(rest[0])[written:]


class Mailbox:
    """The owner's view of a mailbox."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._read = 0  # bytes of records that were read

    def collect(self) -> list[Outcome]:
        """What was finished since the last call."""
        size = os.fstat(self._fd).st_size - self._read
        if size <= 0:
            return []
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size and (read := os.preadv(self._fd, [view[got:]], self._read + got)):
            got += read
        found, used = records(view[:got])
        self._read += used
        return found

    def empty(self) -> None:
        """Forget what was read; the child writes nothing now."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)  # in memory there is one position, the child's as well
        self._read = 0


def records(data: memoryview) -> tuple[list[Outcome], int]:
    """The complete records at the beginning of a mailbox's content, and their size."""
    found: list[Outcome] = []
    end = 0
    for outcome, size in _records(data):
        found.append(outcome)
        end += size
    return found, end


def _records(data: memoryview) -> Iterator[tuple[Outcome, int]]:
    begin = 0
    while begin + _RECORD.size <= len(data):
        size, index, raised, attempts, started, wall_s, key_size, length, count = _RECORD.unpack_from(data, begin)
        if begin + size > len(data):  # its writer was killed meanwhile
            return
        place = begin + _RECORD.size
        sizes: Sequence[int] = struct.unpack_from(f"<{count}Q", data, place)
        place += 8 * count
        key = bytes(data[place : place + key_size]).decode() or None
        place += key_size
        pickled = data[place : place + length]
        place += length
        outside: list[Buffer] = []
        for each in sizes:
            outside.append(data[place : place + each])
            place += each
        yield Outcome(index, Pickled(pickled, outside), raised, wall_s, key, attempts, started), size
        begin += size
