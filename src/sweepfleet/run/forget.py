"""Removes rows of a run, or a whole run: first says what, then removes it."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.run import outputs
from sweepfleet.run.calls.about import counts, is_calls
from sweepfleet.run.folder import RunFolder, storing
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.runs import refresh


@dataclass(frozen=True, slots=True)
class Removal:
    """What will be removed."""

    folder: RunFolder
    ids: tuple[str, ...] | None  # of the points whose rows go; None: the whole folder
    done: int
    failed: int
    rest: int  # rows that stay
    size: int  # bytes of the folder, or of the artifacts and checkpoints of these points

    def __str__(self) -> str:
        count = self.done + self.failed
        what = "row" if self.folder.ledger.exists() else "call"
        rows = f"{counted(count, what)} ({self.done:,} done, {self.failed:,} failed)"
        if self.ids is None:
            return f"The run {self.folder.name}, {rows}, {megabytes(self.size)}: all of {self.folder.path}"
        return (
            f"{rows} of the run {self.folder.name}, with what their points printed and wrote ({megabytes(self.size)} "
            f"of artifacts and checkpoints); {self.rest:,} stay"
        )


def to_remove(folder: RunFolder, *, where: str | None) -> Removal:
    """What would be removed of a run: the rows that meet a condition of `inv results`, or all.

    Raises:
        UsageError: the run is being written, is a link, or the condition cannot be read or holds for no row.
    """
    holder = folder.running()
    if holder is not None:
        raise UsageError(
            f"{folder.path} is being written by process {holder['pid']} on {holder['host']}. Stop it first. Nothing "
            "was removed."
        )
    if folder.path.is_symlink():
        raise UsageError(f"{folder.path} is a symbolic link. Remove it, and what it points to, by hand.")
    if is_calls(folder):
        if where is not None:
            raise UsageError(
                f"The run {folder.name} has the calls of an Executor, and no rows to choose from. Remove it whole: "
                f"inv rm {folder.name}"
            )
        found = counts(folder)
        return Removal(folder, None, found.done, found.failed, 0, size_of(folder.path))
    if where is None:
        done, failed = 0, 0
        with contextlib.suppress(SweepfleetError), contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
            done, failed = ledger.counts()
        return Removal(folder, None, done, failed, 0, size_of(folder.path))
    from sweepfleet.run.query import select  # which brings polars: a whole run goes without

    refresh(folder)
    rows = select(folder.parquet, where=where, best=None, metric=None)
    if rows.is_empty():
        raise UsageError(
            f"No row of the run {folder.name} meets --where {where!r}. Show its rows: inv results {folder.name}"
        )
    ids = tuple(rows["point_id"])
    done = int((rows["status"] == "done").sum())
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        rest = sum(ledger.counts()) - len(ids)
    size = sum(size_of(place / id_) for id_ in ids for place in (folder.artifacts, folder.checkpoints))
    return Removal(folder, ids, done, len(ids) - done, rest, size)


def remove(removal: Removal) -> None:
    """Remove it. Tables and report are written again from the rest.

    Raises:
        UsageError: another process writes there.
        StorageError: it cannot be removed, or the files cannot be written.
    """
    folder = removal.folder
    with folder.locked(), storing(folder.path):
        if removal.ids is None:
            # Aside first: a folder that is half removed must not be taken for a run.
            aside = folder.path.with_name(f".{folder.name}.removed-{os.getpid()}")
            folder.path.rename(aside)
            shutil.rmtree(aside)
            return
        with contextlib.closing(Ledger(folder.ledger)) as ledger:
            ledger.forget(removal.ids)
        if folder.output.exists():
            outputs.forget(folder.output, removal.ids)
        for id_ in removal.ids:
            for place in (folder.artifacts, folder.checkpoints):
                shutil.rmtree(place / id_, ignore_errors=True)
    refresh(folder, always=True)


def size_of(folder: Path) -> int:
    """How many bytes the files below a folder have; links are not followed."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += Path(place, file).lstat().st_size
    return total


def megabytes(size: int) -> str:
    """A size as text."""
    return f"{size / 1e6:,.1f} MB" if size >= 50_000 else f"{size / 1e3:,.1f} kB"
