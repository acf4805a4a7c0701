"""Runs compared on one page, in the folder of the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.folder import RunFolder, read_json, storing
from sweepfleet.run.runs import metric_of, refresh


def compare(folders: Sequence[RunFolder]) -> Path:
    """Write the page that compares these runs, the first against each other one, and return its path.

    Raises:
        UsageError: a run is named twice, a ledger cannot be read, a run has no finished point, or the runs have no
            metric in common.
        StorageError: the page cannot be written.
    """
    from sweepfleet.run.report.compare import Run, write_comparison

    names = [folder.name for folder in folders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--name {twice[0]} is given twice. A comparison needs two different runs.")
    for folder in folders:
        refresh(folder)
    runs = [
        Run(
            name=folder.name,
            results=folder.parquet,
            summary=read_json(folder.summary),
            manifest=read_json(folder.manifest),
            metric=metric_of(folder),
        )
        for folder in folders
    ]
    first = folders[0]
    with storing(first.path):
        return write_comparison(first.comparison(names[1:]), runs)
