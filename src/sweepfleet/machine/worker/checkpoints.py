"""Checkpoints on a cluster's worker: fetched before a point's next attempt, stored while it runs.

What is left when a point has ended is stored with its artifacts (`machine.worker.artifacts`). A point has one archive
in the bucket, which S3 replaces whole: until a new one is there, the next attempt gets the one before.
"""

from __future__ import annotations

import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from sweepfleet.machine.in_process import bucket, reason_of
from sweepfleet.machine.refusals import is_final
from sweepfleet.run.machine_port import ArtifactsLeftError
from sweepfleet.run.pauses import pauses
from sweepfleet.slot.archives import pack, signature, unpack
from sweepfleet.slot.checkpoints import OUTBOX, asked_file
from sweepfleet.slot.context import Context
from sweepfleet.slot.leaving import leaving
from sweepfleet.slot.points import space_of
from sweepfleet.slot.pool import Pool
from sweepfleet.slot.records import Packet, Status

LOOK_S = 0.1  # between two looks at what points have asked for
TRIES = 3  # to pack a folder in which nothing changes meanwhile
SUFFIX = ".tar"
T = TypeVar("T")

_stores: dict[str, _Store] = {}  # by the digest of a sweep that has runners here
_changing = threading.Lock()


def restore(pool: Pool, points: Callable[[], Iterable[str]]) -> None:
    """Fetch these points' checkpoints from the bucket; from now on, what running points leave is stored there.

    Waits for S3 as long as it takes: without its answer it is not known where a point is to continue.

    Raises:
        ArtifactsLeftError: the sweep left this worker first.
    """
    context = pool.context
    if context.checkpoints is None or context.checkpoints_url is None:
        return
    with _changing:
        store = _stores.get(context.digest)
        if store is None or store.pool is not pool:
            store = _stores[context.digest] = _Store(pool, Path(context.checkpoints), context.checkpoints_url)
    store.restore(points)


def key_of(context: Context, point_id: str) -> str:
    """The key of a point's checkpoint in the bucket."""
    return f"{(context.checkpoints_url or '').removeprefix('s3://').partition('/')[2]}/{point_id}{SUFFIX}"


def left_by(context: Context, packet: Packet) -> tuple[dict[str, Path], list[Path]]:
    """What a bundle's points have left in their checkpoints' folders.

    Returns:
        the archives to store, by key, of points that did not finish; and what is to be removed then. Where a point
        chose the moment itself, what it has written since is no checkpoint.
    """
    if context.checkpoints is None or context.checkpoints_url is None:
        return {}, []
    place = Path(context.checkpoints)
    try:
        left = {name for name in os.listdir(place) if not name.startswith(".")}  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return {}, []
    rows = [row for segment in packet.segments for row in segment.rows()] if left else []
    ended = {row.id.hex(): row.status == Status.DONE for row in rows}
    if left:
        ended |= {space_of(context).point(index).id: False for index in packet.unfinished}
    files: dict[str, Path] = {}
    gone: list[Path] = []
    for id_ in sorted(left & ended.keys()):
        folder = place / id_
        gone += [folder, asked_file(folder)]
        if not ended[id_] and not asked_file(folder).exists() and any(folder.iterdir()):
            archive = place / OUTBOX / f"{id_}.left"
            archive.parent.mkdir(exist_ok=True)
            pack(folder, archive, asked=False)
            files[key_of(context, id_)] = archive
            gone.append(archive)
    return files, gone


class _RefusedError(Exception):
    """S3 refuses for good."""


class _Store:
    """The checkpoints of one sweep's points on this worker."""

    def __init__(self, pool: Pool, place: Path, url: str) -> None:
        """Begin to store what points ask for, until the sweep leaves this worker."""
        self.pool, self._place = pool, place
        self._name, _, self._prefix = url.removeprefix("s3://").partition("/")
        self._outbox = place / OUTBOX
        self._outbox.mkdir(parents=True, exist_ok=True)
        self._stored: dict[str, frozenset[tuple[str, int, int]]] = {}  # by point: what is in the bucket, unasked
        self._said = False
        threading.Thread(target=self._watch, name="checkpoints", daemon=True).start()

    def restore(self, points: Callable[[], Iterable[str]]) -> None:
        try:
            stored = self._tried(self._ids)
            for id_ in stored.intersection(points()) if stored else ():
                self._tried(partial(self._fetch, id_))
        except _RefusedError as error:
            if not self._said:
                print(
                    f"checkpoints are not stored: {error}. If the machines' rights are older: inv up, and "
                    "the boundary as inv doctor says",
                    flush=True,
                )
            self._said = True

    def _ids(self) -> set[str]:
        import obstore

        pages = obstore.list(bucket(self._name), prefix=f"{self._prefix}/")
        return {one["path"].rpartition("/")[2].removesuffix(SUFFIX) for page in pages for one in page}

    def _fetch(self, id_: str) -> None:
        import obstore

        archive = self._outbox / f"{id_}.fetched"
        try:
            with archive.open("wb") as opened:
                for chunk in obstore.get(bucket(self._name), f"{self._prefix}/{id_}{SUFFIX}").stream():
                    opened.write(chunk)
            folder = self._place / id_
            if unpack(archive, folder):
                asked_file(folder).touch()
        except FileNotFoundError:  # removed since: the point has finished elsewhere
            return
        finally:
            archive.unlink(missing_ok=True)

    def _put(self, archive: Path, id_: str) -> None:
        import obstore

        self._tried(lambda: obstore.put(bucket(self._name), f"{self._prefix}/{id_}{SUFFIX}", archive))

    def _tried(self, call: Callable[[], T]) -> T:
        """The result of a call of S3's, which is tried until it answers.

        Raises:
            _RefusedError: no later try can change the answer.
            ArtifactsLeftError: the sweep left this worker first.
        """
        from obstore.exceptions import BaseError

        for pause_s in pauses():
            try:
                return call()
            except tarfile.TarError as error:
                raise _RefusedError(f"an archive is damaged: {error}") from None
            except (BaseError, OSError, ValueError) as error:
                said = reason_of(error)
                if is_final(said):
                    raise _RefusedError(said) from None
            if self.pool.ended.wait(pause_s):
                break
        raise ArtifactsLeftError("a checkpoint was neither fetched nor stored")

    def _watch(self) -> None:
        every_s = self.pool.context.checkpoint_every_s
        due_s = time.monotonic() + every_s if every_s else None
        told = False
        with suppress(ArtifactsLeftError):
            while not self.pool.ended.wait(LOOK_S):
                for archive in sorted(self._outbox.glob(f"*{SUFFIX}")):
                    self._store_asked(archive)
                leaves = not told and leaving() is not None
                if leaves or (due_s is not None and time.monotonic() >= due_s):
                    self._store_running()
                    told = told or leaves
                    due_s = time.monotonic() + every_s if every_s else None

    def _store_asked(self, archive: Path) -> None:
        """Store what a point has packed itself; it waits until the file is gone."""
        going = archive.replace(archive.with_suffix(".going"))
        try:
            self._put(going, archive.stem)
        except _RefusedError as error:
            archive.with_suffix(".refused").write_text(str(error))
        going.unlink(missing_ok=True)

    def _store_running(self) -> None:
        """Store what running points have in their folders, unless they choose the moment themselves."""
        for id_ in self.pool.running:
            folder, archive = self._place / id_, self._outbox / f"{id_}.unasked"
            with suppress(FileNotFoundError, _RefusedError):  # the point has ended; what is refused was said before
                for _ in range(TRIES):
                    seen = signature(folder)
                    if not seen or seen == self._stored.get(id_) or asked_file(folder).exists():
                        break
                    pack(folder, archive, asked=False)
                    if signature(folder) == seen:
                        self._put(archive, id_)
                        self._stored[id_] = seen
                        break
            archive.unlink(missing_ok=True)
