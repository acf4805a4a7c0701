"""The runs that are here: found, named, and brought up to date after their driver was killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Count, Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.calls.about import counts, is_calls, refuse_calls
from sweepfleet.run.files_note import FilesNote
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.ledger import Counts, Ledger, StorageError
from sweepfleet.run.run_files import space_of, write_files_from
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.summary import Facts, Summary

LOOK = 200_000  # indexes that are looked at for one that has not ended, where a plan's points cannot be counted
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as `inv runs` shows it."""

    folder: RunFolder
    state: str
    done: int
    failed: int
    points: int
    points_exact: bool
    started: float | None  # unix time of its last command
    problem: str = ""  # why its ledger cannot be read


def listed(runs: Path) -> Iterator[Listed]:
    """Every run below `runs`, by name; reads only. Raises UsageError when `runs` cannot be read."""
    for folder in _folders(runs, calls=True):
        yield _look(folder) if _has_ledger(folder) else _look_at_calls(folder)


def _folders(runs: Path, *, calls: bool = False) -> list[RunFolder]:
    """All sweeps, and all runs of calls where these are asked for."""
    try:
        if not runs.exists():
            return []
        folders = [RunFolder(path) for path in sorted(runs.iterdir())]
    except OSError as error:
        raise UsageError(f"{runs} is the folder for runs, and cannot be read: {error.strerror}.") from error
    return [folder for folder in folders if _has_ledger(folder) or (calls and is_calls(folder))]


def _has_ledger(folder: RunFolder) -> bool:
    try:
        return folder.ledger.exists()
    except OSError:
        return False  # another user's folder


def _look(folder: RunFolder) -> Listed:
    started = _started(folder)
    try:
        with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
            done, failed = ledger.counts()
            again = sum(ledger.redo_left())
            plan = ledger.plan()
            count = Space(plan).count() if plan else None
    except (UsageError, StorageError) as error:
        return Listed(folder, "unreadable", 0, 0, 0, points_exact=False, started=started, problem=str(error))
    points = max(count.points if count else 0, done + failed)
    exact = bool(count and count.exact)
    if plan and not exact and _says_ended(_summary(folder), plan.digest(), Counts(done, failed)):
        points, exact = done + failed, True
    holder = folder.running()
    if holder is not None:
        state = f"running (pid {holder['pid']} on {holder['host']})"
    elif exact and done + failed >= points and not again:
        state = "failed" if failed else "done"
    else:
        summary = _summary(folder)
        chosen = (
            summary is not None and summary.state == "partial" and (summary.done, summary.failed) == (done, failed)
        )
        state = "partial" if chosen else "interrupted"
    return Listed(folder, state, done, failed, points, points_exact=exact, started=started)


def _look_at_calls(folder: RunFolder) -> Listed:
    try:
        found = counts(folder)
    except UsageError as error:
        return Listed(folder, "unreadable", 0, 0, 0, points_exact=False, started=None, problem=str(error))
    holder = folder.running()
    state = "calls" if holder is None else f"calls, running (pid {holder['pid']} on {holder['host']})"
    ended = found.done + found.failed
    return Listed(folder, state, found.done, found.failed, ended, points_exact=True, started=found.started)


def find(runs: Path, name: str | None, *, calls: bool = False) -> RunFolder:
    """The run of this name; without one, the sweep whose command was given last.

    Args:
        runs: the folder of all runs.
        name: of the run.
        calls: whether it may be an Executor's.

    Raises:
        UsageError: there is none, or it has an Executor's calls.
    """
    if name is not None:
        check_name(name)
        folder = RunFolder(runs / name)
        if not _has_ledger(folder) and not (calls and is_calls(folder)):
            refuse_calls(folder)
            known = ", ".join(each.folder.name for each in listed(runs)) or "none yet"
            raise UsageError(f"There is no run {name!r} in {runs}. There are: {known}.")
        return folder
    found = [(_started(folder) or 0.0, folder.path) for folder in _folders(runs)]
    if not found:
        raise UsageError(f"There are no runs in {runs} yet. Start one: inv sweep grid.yaml")
    return RunFolder(max(found)[1])


def _started(folder: RunFolder) -> float | None:
    started = read_json(folder.manifest).get("started")
    return started if isinstance(started, int | float) else None


def check_name(name: str) -> None:
    """Refuse a name that would lead out of the folder of runs. Raises UsageError."""
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        raise UsageError(f"--name {name!r} looks like a path. A name has letters, digits, '.', '_' and '-'.")


def metric_of(folder: RunFolder) -> Metric | None:
    """The metric that the run's last command named."""
    return Metric.read(read_json(folder.manifest).get("metric"))


def planned(folder: RunFolder) -> Space:
    """The points that a run is of, whether they have run or not. Raises UsageError when its ledger cannot be read."""
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        return space_of(folder, ledger)


def refresh(folder: RunFolder, *, always: bool = False) -> None:
    """Make the files again from the ledger, if they do not show all that is in it.

    Raises:
        UsageError: the ledger cannot be read.
        StorageError: the files cannot be written.
    """
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        space = space_of(folder, ledger)
        counts, count, before = ledger.counts(), space.count(), _summary(folder)
        progress = Progress(total=max(count.points, sum(counts)), exact=count.exact, resumed=counts.done)
        ended = _all_ended(folder, space, ledger, count)
        if before is not None and not _is_of(before, space, counts, None if ended else progress):
            before = None
        if not always and before is not None and _are_as_made(folder):
            return
        facts = Facts(metric=metric_of(folder))
        if not ended:
            facts = replace(facts, progress=progress, stop="interrupted")
        write_files_from(ledger, space, folder, facts, before=before)


def _are_as_made(folder: RunFolder) -> bool:
    """Whether the files are those that were made of this ledger, as far as it was noted, or can be mended."""
    found = FilesNote.read(folder)
    if found is None or not os.access(folder.path, os.W_OK):
        return folder.parquet.exists()
    return found.holds(folder)


def _all_ended(folder: RunFolder, space: Space, ledger: Ledger, count: Count) -> bool:
    """Whether no point of the plan is left; where that would take too long to find out, no."""
    counts = ledger.counts()
    if sum(ledger.redo_left()):
        return False
    if count.exact:
        return sum(counts) >= count.points
    if _says_ended(_summary(folder), space.plan.digest(), counts):
        return True
    return folder.running() is None and not _may_be_left(space, ledger)


def _may_be_left(space: Space, ledger: Ledger) -> bool:
    """Whether a point has not ended, or `LOOK` indexes were not enough to tell."""
    looked = start = 0
    while start < space.size:
        ended = ledger.ended_from(start, limit=PAGE)
        for index in ended or [space.size]:
            while start < index:
                stop = min(index, start + PAGE)
                if looked >= LOOK or next(iter(space.spans(start, stop)), None) is not None:
                    return True
                looked += stop - start
                start = stop
            start = index + 1
    return False


def _summary(folder: RunFolder) -> Summary | None:
    """The run's summary; None when there is none, or it is damaged or of another version."""
    return Summary.of(read_json(folder.summary))


def _says_ended(summary: Summary | None, plan: str, counts: Counts) -> bool:
    """Whether a command has seen the end of these very points."""
    return (
        summary is not None
        and summary.plan == plan
        and summary.points_exact
        and (summary.done, summary.failed, summary.points) == (*counts, sum(counts))
    )


def _is_of(summary: Summary, space: Space, counts: Counts, left: Progress | None) -> bool:
    """Whether a summary says how the run is now; `left` when points are left."""
    if left is None:
        return _says_ended(summary, space.plan.digest(), counts)
    return (
        summary.plan == space.plan.digest()
        and (summary.done, summary.failed) == counts
        and summary.points_exact == left.exact
        and summary.state != "done"
    )
