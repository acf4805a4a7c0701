"""A run's folder: every path in it, who may write to it, and files that appear whole."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from grid.errors import UsageError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`runs/<name>/`: all paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def grid(self) -> Path:
        """The grid as it is run."""
        return self.path / "grid.yaml"

    @property
    def manifest(self) -> Path:
        """Where the rows come from: commits, versions, command lines."""
        return self.path / "manifest.json"

    @property
    def ledger(self) -> Path:
        """Every finished point; the one file that cannot be made again from the others."""
        return self.path / "ledger.sqlite"

    @property
    def parquet(self) -> Path:
        """One row a point."""
        return self.path / "results.parquet"

    @property
    def csv(self) -> Path:
        """One row a point, for everybody."""
        return self.path / "results.csv"

    @property
    def summary(self) -> Path:
        """The run in numbers."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The run as a page."""
        return self.path / "report.html"

    @property
    def artifacts(self) -> Path:
        """A folder a point, named by its id."""
        return self.path / "artifacts"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that writes here."""
        return self.path / ".lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer; makes the folder.

        Raises:
            UsageError: another process writes here; names its pid and host.
        """
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock_file.open("a+") as file:
            if not _flock(file):
                raise UsageError(
                    f"{self.path} is being written by {self._holder()}. Wait for it, stop it, or give this run "
                    f"another name: --name {self.name}-2"
                )
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)
                if made and not self.ledger.exists():  # refused before anything ran: leave nothing behind
                    self.lock_file.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):
                        self.path.rmdir()

    def running(self) -> dict[str, Any] | None:
        """Who writes here now, as {"pid", "host"}; None when nobody does. Reads only."""
        try:
            with self.lock_file.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return self._read_holder()
        except OSError:
            pass
        return None

    def _read_holder(self) -> dict[str, Any]:
        try:
            holder: dict[str, Any] = json.loads(self.lock_file.read_text())
        except (OSError, ValueError):
            return {"pid": "unknown", "host": "unknown"}
        return holder

    def _holder(self) -> str:
        holder = self._read_holder()
        return f"process {holder['pid']} on {holder['host']}"


def _flock(file: IO[str]) -> bool:
    """Take the lock, unless somebody writes: `running` holds it too, for an instant."""
    for pause_s in (0.02, 0.1, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return True
    return False


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a run's folder; empty when the file is not there or not whole."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
