"""The checkpoints of a run's points: removed when a point is done, kept for those that failed or were cut off."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.slot.records import Status

if TYPE_CHECKING:
    from sweepfleet.run.writing import Batch  # which brings numpy: --preview goes without


class Checkpoints:
    """The folder `checkpoints/` of a run on this machine, as its driver keeps it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ids(self) -> set[str]:
        """The points that have a checkpoint."""
        try:
            return set(os.listdir(self._path))  # noqa: PTH208 - names alone
        except OSError:  # mostly: there is no such folder
            return set()

    def tidy(self, ledger: Ledger, *, again: Iterable[int] = ()) -> None:
        """Remove what no attempt will continue from, before points run.

        Args:
            ledger: the run's. A driver may have been killed between a point's commit and the removal.
            again: indexes of ended points that are to be computed from the beginning.
        """
        if not (ids := self.ids()):
            return
        afresh = set(again)
        found = ledger.ended_of(ids)
        self.remove(
            [id_ for id_, index, status, redo in found if index in afresh or (status == Status.DONE and not redo)]
        )

    def committed(self, batches: Sequence[Batch]) -> None:
        """Remove the checkpoints of points that are done now: their rows are in the ledger."""
        if not (ids := self.ids()):
            return
        for rows, *_ in batches:
            done = rows.table["status"] == Status.DONE
            self.remove(ids.intersection(id_ for id_, ok in zip(rows.ids(), done.tolist(), strict=True) if ok))

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the checkpoints of these points."""
        for id_ in ids:
            shutil.rmtree(self._path / id_, ignore_errors=True)

    def end(self) -> None:
        """Remove the folder if it is empty; no point of this command begins after it."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


def continuing(folder: RunFolder, *, redo: str) -> int:
    """How many points of a run have a checkpoint that their next attempt continues from; reads only."""
    ids = [id_ for id_ in Checkpoints(folder.checkpoints).ids() if any((folder.checkpoints / id_).iterdir())]
    if not ids or not folder.ledger.exists():
        return len(ids)
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        stay = [id_ for id_, _, status, again in ledger.ended_of(ids) if not again and not _retried(status, redo)]
    return len(ids) - len(stay)


def _retried(status: int, redo: str) -> bool:
    return status == Status.FAILED and redo == "failed"
