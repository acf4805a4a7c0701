"""The files that people read, made from the ledger: tables, summary, report.

    python -m sweep.publish RUN_FOLDER < facts.json

They are made in a process of their own, so that the driver stays small, and so that whatever goes wrong here
costs no result: everything can be made again.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all else is imported
    from worker.compiled import keep

    keep()

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from grid.errors import SweepfleetError, UsageError
from grid.space import Space
from sweep.folder import RunFolder, read_json, storage_error, storing, write_whole
from sweep.ledger import Ledger
from sweep.summary import Facts, Summary, summarize

# polars' allocator otherwise keeps what it has freed, which doubles the process at a million rows.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}


class PublishError(SweepfleetError):
    """The results are in the ledger, but the files could not be made from it."""

    at_once = True  # it may have been for want of memory


def publish(folder: RunFolder, facts: Facts) -> Summary:
    """Write results.parquet, results.csv, report.html and summary.json, each whole.

    Args:
        folder: the run's.
        facts: of the command.

    Raises:
        UsageError: there is no ledger, or it cannot be read.
        StorageError: the files cannot be written.
    """
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        return publish_from(ledger, space_of(folder, ledger), folder, facts)


def space_of(folder: RunFolder, ledger: Ledger) -> Space:
    """The points that a ledger's rows belong to. Raises UsageError when it has none."""
    plan = ledger.plan()
    if plan is None:
        raise UsageError(f"{folder.path} has no points yet.")
    return Space(plan)


def publish_from(
    ledger: Ledger, space: Space, folder: RunFolder, facts: Facts, *, before: Summary | None = None
) -> Summary:
    """Do `publish` from an open ledger.

    Args:
        ledger: the run's, opened for reading.
        space: its points.
        folder: the run's.
        facts: of the command.
        before: a summary of the same rows, whose account of the command that computed them is to stay.

    Raises:
        StorageError: the files cannot be written.
    """
    from sweep.report import write_report
    from sweep.results import write_results

    with storing(folder.path), _storing_tables(folder):
        write_results(folder, ledger, space)
        summary = before or summarize(folder.name, space, ledger, folder.parquet, facts)
        write_report(
            folder.path,
            results=folder.parquet,
            summary=summary.to_dict(),
            manifest=read_json(folder.manifest),
            metric=facts.metric,
            space=space,
            output=folder.output,
        )
    if before is None:
        summary = replace(summary, total_s=time.time() - facts.born_s)
    write_whole(folder.summary, json.dumps(summary.to_dict(), indent=2) + "\n")
    return summary


@contextlib.contextmanager
def _storing_tables(folder: RunFolder) -> Iterator[None]:
    """Around what polars writes: of a full disk it says ComputeError, where the system says OSError."""
    import polars as pl

    try:
        yield
    except pl.exceptions.ComputeError as error:
        if "IO error" not in str(error) and "transport error" not in str(error):
            raise
        reason = str(error).rpartition("IO error: ")[2] if "IO error" in str(error) else "the disk may be full"
        raise storage_error(folder.path, reason) from error


def publish_apart(folder: RunFolder, facts: Facts) -> Summary:
    """Do `publish` in a process of its own.

    Raises:
        PublishError: it failed; the ledger is whole.
    """
    child = subprocess.run(
        # -P: a `worker.py` in the current folder must not come before ours.
        [sys.executable, "-P", "-m", "sweep.publish", str(folder.path)],
        input=facts.to_json(),
        capture_output=True,
        env=os.environ | ALLOCATOR,
        text=True,
        check=False,
    )
    if child.returncode:
        raise PublishError(
            f"All that was computed is in {folder.ledger}, but the tables and the report could not be made from it:\n"
            f"{child.stderr.strip()}\nOnce that is fixed: inv report --name {folder.name}"
        )
    return Summary(**json.loads(child.stdout))


def main() -> None:
    """Publish the folder that the command line names."""
    try:
        summary = publish(RunFolder(Path(sys.argv[1])), Facts.from_json(sys.stdin.read()))
    except SweepfleetError as error:
        sys.exit(str(error))
    json.dump(summary.to_dict(), sys.stdout)


if __name__ == "__main__":
    main()
