"""What the points of a cluster's run wrote, brought from a worker's disk to the bucket before their rows go back.

While S3 does not answer, a bundle waits with its files and its results, and leaves its slot to other points. A worker
holds a bounded number of such bundles; beyond it they keep their slots, and the worker begins no more points.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, wait
from functools import cache
from pathlib import Path

from sweepfleet.machine.in_process import bucket, reason_of
from sweepfleet.machine.refusals import is_final
from sweepfleet.machine.worker.checkpoints import left_by
from sweepfleet.run.machine_port import ArtifactsLeftError, Slot, Waits
from sweepfleet.run.pauses import pauses
from sweepfleet.slot.checkpoints import OUTBOX
from sweepfleet.slot.context import Context
from sweepfleet.slot.records import Packet

TRANSFERS = 8  # at once, of one worker's files
SLOT_S = 5.0  # that storing a bundle's files may keep its slot
HELD_BUNDLES = 256  # which wait on one worker
HELD_BYTES = 256_000_000  # of their packed results, in the worker's memory
FREE_SHARE = 0.2  # of the worker's disk, for what points may still write
FREE_BYTES = 8_000_000_000  # which is enough on a large disk


class ArtifactsError(Exception):
    """A point's files cannot be stored: its row would promise what is not there."""


@cache
def transfers() -> Executor:
    """The threads that bring files to the bucket; dask's, which do not keep a process from its end."""
    from distributed.threadpoolexecutor import ThreadPoolExecutor

    executor: Executor = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="artifacts")
    return executor


class _Held:
    """The bundles that wait on this worker, of all sweeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bundles = self._bytes = 0
        self.away = False  # whether S3 did not answer when it was asked last: then no slot waits for it

    def take(self, size: int, folder: Path) -> bool:
        """Whether there is room for another one, which then counts."""
        usage = shutil.disk_usage(folder)
        with self._lock:
            full = self._bundles >= HELD_BUNDLES or self._bytes + size > HELD_BYTES
            if full or usage.free < min(FREE_SHARE * usage.total, FREE_BYTES):
                return False
            self._bundles, self._bytes = self._bundles + 1, self._bytes + size
            return True

    def give_back(self, size: int) -> None:
        """One has gone."""
        with self._lock:
            self._bundles, self._bytes = self._bundles - 1, self._bytes - size


_held = _Held()


def keep_artifacts(context: Context, packet: bytes, slot: Slot) -> None:
    """Store what a bundle's points wrote in the bucket, and remove it from this disk.

    Files go to `<artifacts_url>/<point id>/`; those of a point that failed, too. A point's row is sent only after
    this, so whoever reads that it is done finds its files. Waits for S3 as long as it takes.

    Args:
        context: of the sweep; without an `artifacts_url` nothing is done.
        packet: a `slot.records.Packet` as bytes.
        slot: in which they ran.

    Raises:
        ArtifactsError: a file cannot be stored, now or later.
        ArtifactsLeftError: the sweep left this worker first.
    """
    if context.artifacts is None or context.artifacts_url is None:
        return
    written = {name for place in (context.artifacts, context.checkpoints) if place for name in _names(place)}
    if not written - {OUTBOX}:
        return
    unpacked = Packet.from_bytes(packet)
    ids = {row.id.hex() for segment in unpacked.segments for row in segment.rows()}
    folders = [Path(context.artifacts, name) for name in sorted(written & ids)]
    name, _, prefix = context.artifacts_url.removeprefix("s3://").partition("/")
    files = {
        f"{prefix}/{folder.name}/{file.relative_to(folder).as_posix()}": file
        for folder in folders
        for file in _files(folder)
    }
    archives, left = left_by(context, unpacked)
    if files | archives:
        scratch = Path(context.artifacts)
        scratch.mkdir(parents=True, exist_ok=True)
        bundle = _Bundle(scratch, size=len(packet), points=unpacked.attempts, slot=slot)
        bundle.store(files | archives, name)
    for folder in (*folders, *left):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)


def _names(folder: str) -> list[str]:
    """What is in a folder: of this bundle, and of those that run meanwhile."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return []


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


class _Bundle:
    """The files of one bundle's points, on their way."""

    def __init__(self, scratch: Path, *, size: int, points: int, slot: Slot) -> None:
        self._scratch, self._size, self._points, self._slot = scratch, size, points, slot
        self._apart = False
        self._said: Waits | None = None

    def store(self, files: dict[str, Path], name: str) -> None:
        """Store these files, by their keys, in the bucket of this name."""
        try:
            for pause_s in pauses():
                tasks = {transfers().submit(_store, file, name, key): key for key, file in files.items()}
                patience_s = None if self._apart else 0.0 if _held.away else SLOT_S
                if wait(tasks, timeout=patience_s).not_done:
                    self._wait("")
                failures = {key: error for task, key in tasks.items() if (error := task.exception()) is not None}
                if (final := next((e for e in failures.values() if not isinstance(e, _AwayError)), None)) is not None:
                    raise final
                if not failures:
                    return
                files = {key: files[key] for key in failures}
                self._wait(str(next(iter(failures.values()))))
                if self._slot.ended.wait(pause_s):
                    raise ArtifactsLeftError(f"{len(files)} files were not stored")
        finally:
            if self._apart:
                _held.give_back(self._size)

    def _wait(self, why: str) -> None:
        """Leave the slot if that can be, and tell what is waited for when that is news."""
        if not self._apart and _held.take(self._size, self._scratch):
            self._apart = True
            self._slot.leave()
        waits = Waits(self._points, self._apart, why or (self._said.why if self._said else ""))
        if self._said is None or (self._said.apart, bool(self._said.why)) != (waits.apart, bool(waits.why)):
            self._said = waits
            self._slot.tell(waits)


class _AwayError(Exception):
    """S3 did not answer, or asks for patience."""


def _store(file: Path, name: str, key: str) -> None:
    import obstore  # loaded for points that write something, and for no others
    from obstore.exceptions import BaseError, InvalidPathError, NotSupportedError, PermissionDeniedError

    try:
        obstore.put(bucket(name), key, file)
    except (BaseError, OSError, ValueError) as error:
        said = reason_of(error)
        ours = isinstance(error, InvalidPathError | NotSupportedError | PermissionDeniedError | OSError | ValueError)
        if not ours and not is_final(said):
            _held.away = True
            raise _AwayError(said) from None
        fix = (
            ". If the workers' rights are of an older version, inv up updates them" if "AccessDenied" in said else ""
        )
        raise ArtifactsError(f"the artifact {file.name!r} cannot be stored as {key}: {said}{fix}") from None
    _held.away = False
