"""What is told of a run of calls to who looks for a sweep."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import NamedTuple

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.folder import RunFolder


class CallCounts(NamedTuple):
    """The calls of a run."""

    done: int
    failed: int  # that raised, too
    started: float | None  # unix time of the last one


def counts(folder: RunFolder) -> CallCounts:
    """The calls that have ended; reads only. Raises UsageError when the ledger cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{folder.calls.absolute().as_uri()}?mode=ro", uri=True)) as db:
            query = "SELECT sum(status = 'done'), count(*), max(started) FROM calls"
            done, ended, started = db.execute(query).fetchone()
    except sqlite3.Error as error:
        raise UsageError(f"{folder.calls} cannot be read: {error}.") from error
    return CallCounts(done or 0, ended - (done or 0), started)


def is_calls(folder: RunFolder) -> bool:
    """Whether a run has an Executor's calls."""
    with contextlib.suppress(OSError):  # another user's folder
        return folder.calls.exists()
    return False


def refuse_calls(folder: RunFolder) -> None:
    """Raise UsageError where a sweep is looked for, and the run has an Executor's calls."""
    if is_calls(folder):
        raise UsageError(
            f"The run {folder.name} has the calls of an Executor, and is not a sweep. In Python, "
            f'sweepfleet.Executor(run="{folder.name}") finds their results. A sweep needs another --name.'
        )
