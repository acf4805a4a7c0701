"""A note of what a run's files were made from, so that they are not written again when nothing has changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.folder import RunFolder, read_json, write_whole
from sweepfleet.run.summary import Summary
from sweepfleet.slot.modules import HOME

ROOMS = ("grid", "slot", "run")  # whose code makes files out of rows
KINDS = (".py", ".js", ".css", ".html")
LIBRARIES = ("polars", "plotly")

Mark = list[int]  # of a file: its size and its time; none of them when it is not there


class Inputs(NamedTuple):
    """The databases that files are made of."""

    ledger: Mark
    output: Mark


@dataclass(frozen=True, slots=True)
class FilesNote:
    """What the files of a run's folder were made from, and their state then."""

    code: str
    inputs: Inputs
    files: Mapping[str, Mark]
    metric: Metric | None
    summary: Summary  # as the page has it: its account is that of the last command that computed something
    started: float | None  # which of the manifest's commands that was

    @classmethod
    def read(cls, folder: RunFolder) -> FilesNote | None:
        """The note; None when there is none, or it is damaged or another version's."""
        found = read_json(folder.files_note)
        with contextlib.suppress(KeyError, TypeError, ValueError, SweepfleetError):
            summary = Summary.of(found["summary"])
            if summary is not None:
                metric = Metric.read(found["metric"])
                return cls(
                    found["code"], Inputs(*found["inputs"]), dict(found["files"]), metric, summary, found["started"]
                )
        return None

    def write(self, folder: RunFolder) -> None:
        """Note it. On a full disk nothing is noted: then the files are made again."""
        with contextlib.suppress(SweepfleetError):
            write_whole(folder.files_note, json.dumps(asdict(self)) + "\n")

    def holds(self, folder: RunFolder) -> bool:
        """Whether the files and the databases have not changed since."""
        return self.inputs == inputs(folder) and self.files == marks(*files(folder))

    def account(self, summary: Summary, manifest: dict[str, Any]) -> tuple[Summary, dict[str, Any]]:
        """A summary with the account of the command that computed the rows, and what the manifest says of it."""
        commands = [manifest, *manifest.get("history", [])]
        its = next((each for each in commands if each.get("started") == self.started), manifest)
        return summary.with_account_of(self.summary), its


def files(folder: RunFolder) -> tuple[Path, ...]:
    """The files that are made of the ledger, but for the summary, which each command writes."""
    return (folder.parquet, folder.csv, folder.long, folder.report)


def marks(*paths: Path) -> dict[str, Mark]:
    """How these files are now, by their names."""
    return {path.name: _mark(path) for path in paths}


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return [found.st_size, found.st_mtime_ns]


def inputs(folder: RunFolder) -> Inputs | None:
    """The current state of the databases; None while one has uncommitted pages in its log.

    While a ledger is open for reading, SQLite changes nothing in it but that log.
    """
    databases = (folder.ledger, folder.output)
    if any(_mark(path.with_name(f"{path.name}-wal"))[:1] > [0] for path in databases):
        return None
    return Inputs(*map(_mark, databases))


@functools.cache
def own_code() -> str:
    """A hash of the code that makes files from rows: ours, and the libraries' versions."""
    import importlib.metadata

    digest = hashlib.blake2b(" ".join(map(importlib.metadata.version, LIBRARIES)).encode(), digest_size=8)
    for room in ROOMS:
        for path in sorted((HOME / room).rglob("*.*")):
            if path.suffix in KINDS:
                digest.update(f"{path.relative_to(HOME)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
