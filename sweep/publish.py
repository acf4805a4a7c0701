"""The files that people read, made from the ledger: tables, summary, report. A sweep has them made by `publisher`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace

from grid.errors import UsageError
from grid.space import Space
from sweep.folder import RunFolder, read_json, storage_error, storing, write_whole
from sweep.ledger import Ledger
from sweep.summary import Facts, Summary, summarize


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
