"""A run's files in parts: each part has the blocks that changed since the one before; together they are the files.

Databases are copied as they are at one moment, without disturbing their writer. What is put together again is equal
to the copy bit by bit: each part says the SHA-256 that every file then has. The format is docs/decisions/024.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.folder import RunFolder, StorageError

FORMAT = 1
BLOCK = 4096  # bytes; a page of SQLite's
DIGEST = 16  # bytes of a block's hash
CHUNK = 256 * BLOCK
MOST_HEADER = 64 << 20  # bytes
_ANY = RunFolder(Path())
DATABASES = tuple(file.name for file in (_ANY.ledger, _ANY.calls, _ANY.output))
PLAIN = tuple(file.name for file in (_ANY.grid, _ANY.manifest, _ANY.summary, _ANY.function))


class PartError(Exception):
    """A part is damaged, or is not the next one; the message says why."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file in a part."""

    size: int  # bytes, of the whole file
    sha256: str  # of the whole file
    changed: tuple[tuple[int, int], ...]  # the blocks that the part has: from, to


@dataclass(frozen=True, slots=True)
class Header:
    """What a part says of itself; a file that is not in it has gone."""

    at: float  # unix time of the copy
    files: dict[str, Piece]

    @property
    def blocks(self) -> int:
        """How many blocks the files have."""
        return sum(-(-piece.size // BLOCK) for piece in self.files.values())

    @property
    def changed(self) -> int:
        """How many of them the part has."""
        return sum(stop - start for piece in self.files.values() for start, stop in piece.changed)

    def to_json(self) -> str:
        """As `from_json` reads it, on one line."""
        files = {
            name: {"size": one.size, "sha256": one.sha256, "changed": one.changed} for name, one in self.files.items()
        }
        return json.dumps({"format": FORMAT, "at": self.at, "files": files})

    @classmethod
    def from_json(cls, text: bytes) -> Header:
        """Out of a part's first line. Raises PartError: this version does not know it."""
        try:
            said: Any = json.loads(text)
            if said["format"] != FORMAT:
                raise PartError(f"it has the format {said['format']}, of a newer sweepfleet; this one reads {FORMAT}")
            files = {
                name: Piece(int(one["size"]), str(one["sha256"]), tuple((int(a), int(b)) for a, b in one["changed"]))
                for name, one in said["files"].items()
            }
            return cls(float(said["at"]), files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PartError(f"it does not say what it is of: {error!r}") from None


def copied(run: RunFolder, target: Path) -> dict[str, Path]:
    """Copies of a run's files in the folder `target`, each of one moment, by name.

    Raises:
        StorageError: the ledger cannot be read, or the copies cannot be written.
    """
    found = {}
    try:
        for name in (*DATABASES, *PLAIN):
            source, copy = run.path / name, target / name
            if not source.exists():
                continue
            if name in DATABASES:
                try:
                    _copy_database(source, copy)
                except sqlite3.Error:
                    if name != run.output.name:  # results matter more than what points printed
                        raise
                    copy.unlink(missing_ok=True)
                    continue
            else:
                shutil.copyfile(source, copy)
            found[name] = copy
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{run.path} cannot be copied to {target}: {error}") from None
    return found


def _copy_database(source: Path, copy: Path) -> None:
    copy.touch()  # SQLite writes nothing for an empty one
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        target.execute("PRAGMA synchronous = OFF")  # a copy that a power cut harms is not used
        db.backup(target)


def pack(
    files: Mapping[str, Path], part: Path, *, before: Mapping[str, bytes], at: float
) -> tuple[Header, dict[str, bytes]]:
    """Write what has changed in these files.

    Args:
        files: by name; nobody else writes to them.
        part: the file to write.
        before: what this gave for the part before; empty for a first part, which has everything.
        at: unix time of the files' state.

    Returns:
        what the part says, and `before` for the next one.
    """
    pieces, marks = {}, {}
    for name, file in files.items():
        pieces[name], marks[name] = _compared(file, before.get(name, b""))
    header = Header(at, pieces)
    with gzip.open(part, "wb", compresslevel=6) as out:
        out.write(header.to_json().encode() + b"\n")
        for name, piece in pieces.items():
            with files[name].open("rb") as opened:
                for start, stop in piece.changed:
                    opened.seek(start * BLOCK)
                    for length in _lengths((stop - start) * BLOCK):
                        out.write(opened.read(length))
    return header, marks


def _lengths(total: int) -> Iterator[int]:
    for start in range(0, total, CHUNK):
        yield min(CHUNK, total - start)


def _compared(file: Path, before: bytes) -> tuple[Piece, bytes]:
    """What has changed in a file, and the hashes of its blocks."""
    whole, marks, changed = hashlib.sha256(), bytearray(), []
    size = number = 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            whole.update(chunk)
            size += len(chunk)
            for start in range(0, len(chunk), BLOCK):
                mark = hashlib.blake2b(chunk[start : start + BLOCK], digest_size=DIGEST).digest()
                if before[number * DIGEST : (number + 1) * DIGEST] != mark:
                    changed.append(number)
                marks += mark
                number += 1
    return Piece(size, whole.hexdigest(), tuple(_spans(changed))), bytes(marks)


def _spans(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = stop = None
    for number in numbers:
        if number != stop:
            if start is not None and stop is not None:
                yield start, stop
            start = number
        stop = number + 1
    if start is not None and stop is not None:
        yield start, stop


def is_news(header: Header, marks: Mapping[str, bytes], before: Mapping[str, bytes]) -> bool:
    """Whether a part says anything that those before it do not."""
    return bool(header.changed) or dict(marks) != dict(before)


def put_together(parts: Sequence[Path], folder: Path) -> Header:
    """Make a run's files in an empty folder out of all parts, the first one first; returns what the last one says.

    Raises:
        PartError: a part is damaged, or one is missing; the files are not to be used.
        OSError: they cannot be written.
    """
    header = Header(0.0, {})
    for number, part in enumerate(parts):
        try:
            with gzip.open(part) as opened:
                header = Header.from_json(opened.readline(MOST_HEADER))
                _apply(header, opened, folder)
        except (EOFError, gzip.BadGzipFile, zlib.error, PartError) as error:
            raise PartError(f"Part {number} of {len(parts)} cannot be used: {error}") from None
    for name, piece in header.files.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != piece.sha256:
                raise PartError(
                    f"{name} is not what the last of {len(parts)} parts says: a part is missing or damaged"
                )
    return header


def _apply(header: Header, opened: gzip.GzipFile, folder: Path) -> None:
    for name in {file.name for file in folder.iterdir()} - set(header.files):
        (folder / name).unlink()
    for name, piece in header.files.items():
        if name not in (*DATABASES, *PLAIN):
            raise PartError(f"a run has no file {name!r}")
        (folder / name).touch()
        with (folder / name).open("r+b") as file:
            for start, stop in piece.changed:
                file.seek(start * BLOCK)
                left = min(stop * BLOCK, piece.size) - start * BLOCK
                for length in _lengths(left):
                    data = opened.read(length)
                    if len(data) != length:
                        raise PartError("it is cut off")
                    file.write(data)
            file.truncate(piece.size)
    if opened.read(1):  # which also compares gzip's own checksum
        raise PartError("it has more than it says")


def ended_points(folder: Path) -> tuple[int, int]:
    """How many points, or calls, of a run's folder are done and failed.

    Raises:
        UsageError: its ledger cannot be read.
    """
    from sweepfleet.run.calls.about import counts
    from sweepfleet.run.ledger import Ledger

    run = RunFolder(folder)
    if run.calls.exists():
        calls = counts(run)
        return calls.done, calls.failed
    if not run.ledger.exists():
        raise UsageError(f"The run {run.name} has no results.")
    with contextlib.closing(Ledger(run.ledger, readonly=True)) as ledger:
        done, failed = ledger.counts()
    return done, failed
