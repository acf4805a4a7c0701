"""The files that people read, made from the ledger: tables, summary, report. `files_writer` has a sweep's made."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.run.disk import storage_error
from sweepfleet.run.files_note import FilesNote, files, inputs, marks, own_code
from sweepfleet.run.folder import RunFolder, read_json, storing, write_whole
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.summary import Facts, Summary, best_of, summarize


def write_files(folder: RunFolder, facts: Facts) -> Summary:
    """Write results.parquet, results.csv, report.html and summary.json, each whole.

    Args:
        folder: the run's.
        facts: of the command.

    Raises:
        UsageError: there is no ledger, or it cannot be read.
        StorageError: the files cannot be written.
    """
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        return write_files_from(ledger, space_of(folder, ledger), folder, facts)


def space_of(folder: RunFolder, ledger: Ledger) -> Space:
    """The points that a ledger's rows belong to. Raises UsageError when it has none."""
    plan = ledger.plan()
    if plan is None:
        raise UsageError(f"{folder.path} has no points yet.")
    return Space(plan)


def write_files_from(
    ledger: Ledger, space: Space, folder: RunFolder, facts: Facts, *, before: Summary | None = None
) -> Summary:
    """Do `write_files` from an open ledger.

    Args:
        ledger: the run's, opened for reading.
        space: its points.
        folder: the run's.
        facts: of the command.
        before: a summary of the same rows, whose account of the command that computed them is to stay.

    Raises:
        StorageError: the files cannot be written.
    """
    from sweepfleet.run.report import write_report
    from sweepfleet.run.results import write_results

    with storing(folder.path), _storing_tables(folder):
        earlier, made_of = FilesNote.read(folder), inputs(folder)
        folder.files_note.unlink(missing_ok=True)
        write_results(folder, ledger, space)
        made = marks(*files(folder))
        summary = before or summarize(
            folder.name, space, ledger, facts, best=best_of(facts.metric, space, ledger, folder.parquet)
        )
        shown, manifest = summary, read_json(folder.manifest)
        if earlier and made_of and earlier.inputs.ledger == made_of.ledger:  # no row is of this command
            shown, manifest = earlier.account(summary, manifest)
        write_report(
            folder.path,
            results=folder.parquet,
            summary=shown.to_dict(),
            manifest=manifest,
            metric=facts.metric,
            space=space,
            output=folder.output,
        )
        made |= marks(folder.report)
    if before is None:
        summary = replace(summary, total_s=time.time() - facts.born_s)
    write_whole(folder.summary, _text(summary))
    if made_of:
        started = manifest.get("started")
        FilesNote(own_code(), made_of, made, facts.metric, shown, started).write(folder)
    return summary


def write_summary(folder: RunFolder, facts: Facts) -> Summary | None:
    """Write summary.json alone, where all other files show the run as it is; None where they do not.

    Imports none of what makes the others.

    Args:
        folder: the run's.
        facts: of a command that computed nothing.

    Raises:
        UsageError: the ledger cannot be read.
        StorageError: the summary cannot be written.
    """
    found = FilesNote.read(folder)
    if found is None or found.metric != facts.metric or found.code != own_code():
        return None
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        if not found.holds(folder):
            return None
        summary = summarize(folder.name, space_of(folder, ledger), ledger, facts, best=found.summary.best)
    if _text(summary.with_account_of(found.summary)) != _text(found.summary):
        return None  # another name, other notes
    write_whole(folder.summary, _text(summary))
    return summary


def _text(summary: Summary) -> str:
    return json.dumps(summary.to_dict(), indent=2) + "\n"


@contextlib.contextmanager
def _storing_tables(folder: RunFolder) -> Iterator[None]:
    """Context for polars' writes: on a full disk it raises ComputeError, not OSError."""
    import polars as pl

    try:
        yield
    except pl.exceptions.ComputeError as error:
        if "IO error" not in str(error) and "transport error" not in str(error):
            raise
        reason = str(error).rpartition("IO error: ")[2] if "IO error" in str(error) else "the disk may be full"
        raise storage_error(folder.path, reason) from error
