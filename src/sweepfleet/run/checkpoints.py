"""The checkpoints of a run's points: removed when a point is done, kept for those that failed or were cut off."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.slot.records import Status

if TYPE_CHECKING:
    from sweepfleet.run.writing import Batch  # which brings numpy: --preview goes without


class Stored(Protocol):
    """Where a run's checkpoints are."""

    def ids(self, *, wait: bool = False) -> set[str]:
        """The points that have a checkpoint; `wait` until that is known, else none where it is not."""

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the checkpoints of these points."""

    def end(self) -> None:
        """No further point of this command runs."""


class Folder:
    """`checkpoints/` in a run's folder on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ids(self, *, wait: bool = False) -> set[str]:  # noqa: ARG002 - a disk answers
        """The points that have a checkpoint."""
        try:
            return set(os.listdir(self._path))  # noqa: PTH208 - names alone
        except OSError:  # mostly: there is no such folder
            return set()

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the checkpoints of these points."""
        for id_ in ids:
            shutil.rmtree(self._path / id_, ignore_errors=True)

    def end(self) -> None:
        """Remove the folder if it is empty."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


class Checkpoints:
    """A run's checkpoints, as its driver keeps them."""

    def __init__(self, stored: Stored, ledger: Ledger, *, every_s: float = 0.0) -> None:
        """Start.

        Args:
            stored: where they are.
            ledger: the run's.
            every_s: how often those of finished points are removed; 0: at once.
        """
        self._stored, self._ledger, self._every_s = stored, ledger, every_s
        self._next_s = time.monotonic() + every_s

    def begin(self, *, again: Iterable[int] = ()) -> None:
        """Remove what no attempt will continue from, before points run.

        Args:
            again: indexes of ended points that are to be computed from the beginning.
        """
        if ids := self._stored.ids(wait=True):
            self._remove_of_done(ids)  # a driver may have been killed between a point's commit and the removal
            afresh = set(again)
            self._stored.remove([id_ for id_, index, *_ in self._ledger.ended_of(ids) if index in afresh])

    def _remove_of_done(self, ids: set[str]) -> None:
        found = self._ledger.ended_of(ids)
        self._stored.remove([id_ for id_, _, status, redo in found if status == Status.DONE and not redo])

    def committed(self, batches: Sequence[Batch]) -> None:
        """Remove the checkpoints of points that are done now: their rows are in the ledger."""
        if self._every_s:
            if time.monotonic() >= self._next_s:
                self._remove_of_done(self._stored.ids())
                self._next_s = time.monotonic() + self._every_s
            return
        if not (ids := self._stored.ids()):
            return
        for rows, *_ in batches:
            done = rows.table["status"] == Status.DONE
            self._stored.remove(
                ids.intersection(id_ for id_, ok in zip(rows.ids(), done.tolist(), strict=True) if ok)
            )

    def end(self) -> None:
        """Likewise, when no further point of this command runs."""
        if self._every_s:
            self._remove_of_done(self._stored.ids())
        self._stored.end()


def continuing(folder: RunFolder, *, redo: str) -> int:
    """How many points of a run have a checkpoint that their next attempt continues from; reads only."""
    ids = [id_ for id_ in Folder(folder.checkpoints).ids() if any((folder.checkpoints / id_).iterdir())]
    if not ids or not folder.ledger.exists():
        return len(ids)
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        stay = [id_ for id_, _, status, again in ledger.ended_of(ids) if not again and not _retried(status, redo)]
    return len(ids) - len(stay)


def _retried(status: int, redo: str) -> bool:
    return status == Status.FAILED and redo == "failed"
