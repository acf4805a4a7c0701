"""The runs that are here: found, named, and brought up to date after their driver was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grid.errors import UsageError
from grid.space import Space
from sweep.folder import RunFolder, read_json
from sweep.ledger import Ledger
from sweep.publish import publish
from sweep.summary import Facts


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
    """Every run below `runs`, by name; reads only."""
    for path in sorted(runs.iterdir()) if runs.is_dir() else []:
        folder = RunFolder(path)
        if folder.ledger.exists():
            yield _look(folder)


def _look(folder: RunFolder) -> Listed:
    manifest, summary = read_json(folder.manifest), read_json(folder.summary)
    started = manifest.get("started")
    try:
        with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
            done, failed = ledger.counts()
            plan = ledger.plan()
            count = Space(plan).count() if plan else None
    except UsageError as error:
        return Listed(folder, "unreadable", 0, 0, 0, points_exact=False, started=started, problem=str(error))
    points = max(count.points if count else 0, done + failed)
    exact = bool(count and count.exact)
    if not exact and summary.get("points_exact"):
        points, exact = summary["points"], True
    holder = folder.running()
    if holder is not None:
        state = f"running (pid {holder['pid']} on {holder['host']})"
    elif exact and done + failed >= points:
        state = "failed" if failed else "done"
    else:
        state = "interrupted"
    return Listed(folder, state, done, failed, points, points_exact=exact, started=started)


def find(runs: Path, name: str | None) -> RunFolder:
    """The run of this name; without one, the run whose command was given last.

    Raises:
        UsageError: there is none.
    """
    if name is not None:
        check_name(name)
        folder = RunFolder(runs / name)
        if not folder.ledger.exists():
            known = ", ".join(each.folder.name for each in listed(runs)) or "none yet"
            raise UsageError(f"There is no run {name!r} in {runs}. There are: {known}.")
        return folder
    found = [(read_json(RunFolder(path).manifest).get("started", 0.0), path) for path in runs.glob("*/")]
    found = [(started, path) for started, path in found if RunFolder(path).ledger.exists()]
    if not found:
        raise UsageError(f"There are no runs in {runs} yet. Start one: inv sweep --grid examples/diabetes/grid.yaml")
    return RunFolder(max(found)[1])


def check_name(name: str) -> None:
    """Refuse a name that would lead out of the folder of runs. Raises UsageError."""
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        raise UsageError(f"--name {name!r} looks like a path. A name has letters, digits, '.', '_' and '-'.")


def metric_of(folder: RunFolder) -> tuple[str, str] | None:
    """The metric that the run's last command named."""
    metric = read_json(folder.manifest).get("metric")
    return (metric[0], metric[1]) if metric else None


def refresh(folder: RunFolder, *, always: bool = False) -> None:
    """Make the files again from the ledger, if they do not show all that is in it.

    Raises:
        UsageError: the ledger cannot be read.
    """
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        counts = ledger.counts()
    summary = read_json(folder.summary)
    current = (summary.get("done"), summary.get("failed")) == counts and folder.parquet.exists()
    if always or not current:
        publish(folder, Facts(metric=metric_of(folder)), before=summary if current else None)
