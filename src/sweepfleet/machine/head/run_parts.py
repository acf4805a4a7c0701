"""Stores in the bucket what has changed of an active run since it was last stored there.

What is in the bucket already is written down on the data volume after it is there: after a kill between the two, the
same part is stored once more. Where nothing is written down, as on a new volume, a new generation of parts begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sweepfleet.machine.aws import Aws
from sweepfleet.machine.facts import KEYS, Data
from sweepfleet.machine.files import known, write_whole
from sweepfleet.machine.job import JobFolder
from sweepfleet.machine.stored_runs import newest
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.parts import DATABASES, PLAIN, copied, is_news, pack

LEAST_PARTS, MOST_TIMES = 24, 3  # a generation has at least so many parts, and then at most so many times all blocks
SETTLED_NS = 2_000_000_000  # a file that changed later may change again without its time being another


class BusyError(Exception):
    """Another process stores this run now."""


@dataclass(frozen=True, slots=True)
class Note:
    """Which parts of a run are in the bucket."""

    generation: str = ""  # empty: none
    parts: int = 0
    at: float = 0.0  # unix time of what the last one shows
    blocks: int = 0  # in all parts but the first
    whole: int = 0  # blocks of all files at the last part
    marks: dict[str, str] = field(default_factory=dict)  # by file, `run.parts`' hashes of its blocks, as hex digits
    seen: dict[str, list[int]] = field(default_factory=dict)  # sizes and times of the files before they were copied
    old: tuple[str, ...] = ()  # generations to be removed

    @classmethod
    def read(cls, file: Path) -> Note:
        """Out of its file; empty where there is none."""
        try:
            said = json.loads(file.read_text())
        except (FileNotFoundError, ValueError):
            return cls()
        its = known(cls, said)
        return cls(**its | {"old": tuple(its.get("old", ()))})

    def write(self, file: Path) -> None:
        """Into its file, whole."""
        file.parent.mkdir(exist_ok=True)
        write_whole(file, json.dumps(asdict(self)))

    @property
    def is_long(self) -> bool:
        """Whether a new generation would be shorter by far."""
        return self.parts >= LEAST_PARTS and self.blocks > MOST_TIMES * self.whole


@contextlib.contextmanager
def _alone(folder: JobFolder) -> Iterator[None]:
    with folder.storing.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError from None
        yield


def store(folder: JobFolder, data: Data, aws: Aws) -> float | None:
    """Store what has changed of a run; returns the unix time of what the bucket has, None: the run has nothing yet.

    Raises:
        BusyError: another process stores it now.
        StorageError: its files cannot be copied.
        AwsError: the copies cannot be stored, and next time all that has changed since is.
        OSError: what is stored cannot be written down; the same part is stored once more.
    """
    run, file = RunFolder(data.runs / folder.path.name), data.parts(folder.path.name)
    with _alone(folder):
        note, seen = Note.read(file), _seen(run)
        if not {run.ledger.name, run.calls.name} & set(seen):
            return None
        if not note.generation or seen != note.seen:
            note = _store(run, data.copies, aws, note, file, seen=seen)
        _remove_old(run, aws, note, file)
    return note.at


def _store(run: RunFolder, place: Path, aws: Aws, note: Note, file: Path, *, seen: dict[str, list[int]]) -> Note:
    shutil.rmtree(place, ignore_errors=True)  # of a power cut
    place.mkdir()
    try:
        now_s, part = time.time(), place / ".part"
        files = copied(run, place)
        anew = not note.generation or note.is_long
        before = {} if anew else {name: bytes.fromhex(marks) for name, marks in note.marks.items()}
        header, marks = pack(files, part, before=before, at=now_s)
        told = {name: each.hex() for name, each in marks.items()}
        if anew:
            generation = f"{time.time_ns()}"
            # Until its first part is written down, it is one to be removed.
            replace(note, old=(*note.old, generation)).write(file)
            aws.put(part, KEYS.part(run.name, generation, 0))
            old = (*note.old, *([note.generation] if note.generation else ()))
            now = Note(generation, 1, now_s, 0, header.blocks, told, seen, old)
        elif is_news(header, marks, before):
            aws.put(part, KEYS.part(run.name, note.generation, note.parts))
            blocks = note.blocks + header.changed
            now = Note(note.generation, note.parts + 1, now_s, blocks, header.blocks, told, seen, note.old)
        else:
            now = replace(note, at=now_s, seen=seen)
        now.write(file)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return now


def _seen(run: RunFolder) -> dict[str, list[int]]:
    """What changes when one of a run's files does; `now` where some changed just before."""
    names = [*DATABASES, *(f"{name}-wal" for name in DATABASES), *PLAIN]
    found = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            stat = (run.path / name).stat()
            found[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    if any(changed > time.time_ns() - SETTLED_NS for _, changed, _ in found.values()):
        found["now"] = [time.time_ns()]
    return found


def finish(folder: JobFolder, data: Data, aws: Aws) -> bool:
    """Remove the parts of a run that is not active, once the bucket has its results; returns whether none are left.

    Raises:
        BusyError: another process stores it now.
        AwsError: S3 does not answer.
    """
    run, file = RunFolder(data.runs / folder.path.name), data.parts(folder.path.name)
    with _alone(folder):
        note = Note.read(file)
        if note.generation or note.old:
            found = newest(run.name, aws.list(KEYS.parts(run.name)), aws.files(KEYS.results(run.name)))
            if found is None or found.in_parts:
                return False
            note = Note(old=(*note.old, *([note.generation] if note.generation else ())))
            note.write(file)
        _remove_old(run, aws, note, file)
        file.unlink(missing_ok=True)
    return True


def _remove_old(run: RunFolder, aws: Aws, note: Note, file: Path) -> None:
    """Remove generations that are not needed, their last parts first, so that no part is ever missing in between."""
    if not note.old:
        return
    for generation in note.old:
        for one in reversed(aws.list(f"{KEYS.parts(run.name)}{generation}/")):
            aws.delete(one.key)
    replace(note, old=()).write(file)
