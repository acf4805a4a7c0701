"""A run's folder: its paths, its lock, and atomic writes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.disk import StorageError as StorageError  # noqa: PLC0414 - callers look for it here
from sweepfleet.run.disk import storage_error

NAME_CHARS = 120  # of other runs' names in a file's name
LOCK_TRIES = 100  # each one lost to a writer that was leaving: more means that something else is wrong


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
    def calls(self) -> Path:
        """The results of an Executor's calls; a run has either this or a `ledger`."""
        return self.path / "calls.sqlite"

    @property
    def mailboxes(self) -> Path:
        """What an Executor's slots have finished and `calls` does not have yet."""
        return self.path / ".calls"

    @property
    def parquet(self) -> Path:
        """One row a point."""
        return self.path / "results.parquet"

    @property
    def csv(self) -> Path:
        """One row a point, as CSV."""
        return self.path / "results.csv"

    @property
    def long(self) -> Path:
        """Several rows a point, where points returned them."""
        return self.path / "results_long.parquet"

    @property
    def summary(self) -> Path:
        """The run in numbers."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The run as a page."""
        return self.path / "report.html"

    @property
    def files_note(self) -> Path:
        """Of what the files above were made: see `run.files_note`."""
        return self.path / ".files.json"

    def comparison(self, others: Sequence[str]) -> Path:
        """The page that compares this run with others."""
        name = "-".join(others)
        if len(name) > NAME_CHARS:
            name = f"{name[:NAME_CHARS]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return self.path / f"compare-{name}.html"

    @property
    def artifacts(self) -> Path:
        """A folder a point, named by its id."""
        return self.path / "artifacts"

    @property
    def checkpoints(self) -> Path:
        """A folder a point, named by its id: what its next attempt continues from; gone when the point is done."""
        return self.path / "checkpoints"

    @property
    def output(self) -> Path:
        """What points printed."""
        return self.path / "output.sqlite"

    @property
    def function(self) -> Path:
        """The function, where it was sent by value: see `slot.by_value`."""
        return self.path / "function.pickle"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that writes here."""
        return self.path / ".lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer; makes the folder.

        Raises:
            UsageError: another process writes here; names its pid and host.
            StorageError: the folder cannot be made, or not be written to.
        """
        made, number = self._lock()
        try:
            self._sign(number)
            yield
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(number, 0)
            # Refused before anything ran: leave nothing behind.
            if made and not self.ledger.exists() and not self.calls.exists():
                self._leave()
            os.close(number)

    def _lock(self) -> tuple[bool, int]:
        """Take the lock: whether the folder had to be made, and the open lock file."""
        made = False
        for _ in range(LOCK_TRIES):
            try:
                made = not self.path.exists()
                self.path.mkdir(parents=True, exist_ok=True)
                number = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # a writer that was refused has just removed the folder
            except OSError as error:
                if made:
                    self._leave()
                raise storage_error(self.path, error) from error
            taken = False
            try:
                if not _flock(number):
                    raise UsageError(
                        f"{self.path} is being written by {self._holder()}. Wait for it, stop it, or give this run "
                        f"another name: --name {self.name}-2"
                    )
                taken = _stands_at(number, self.lock_file)
            finally:
                if not taken:
                    os.close(number)
            if taken:
                return made, number
        raise StorageError(f"{self.lock_file} cannot be created. Give this run another name: --name {self.name}-2")

    def watch(self) -> Callable[[], None]:
        """A check that the ledger is still the one that is there now; it raises StorageError when not."""
        before = self.ledger.stat()

        def check() -> None:
            try:
                same = os.path.samestat(before, self.ledger.stat())
            except OSError:
                same = False
            if not same:
                raise StorageError(
                    f"{self.path} was removed while the sweep ran, with all results in it. The same command starts "
                    "from the beginning."
                )

        return check

    def _sign(self, number: int) -> None:
        """Write this process's id into the lock file."""
        with storing(self.path):
            os.ftruncate(number, 0)
            os.write(number, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def _leave(self) -> None:
        """Remove a folder in which nothing was recorded."""
        with contextlib.suppress(OSError):
            self.lock_file.unlink(missing_ok=True)
            self.path.rmdir()

    def running(self) -> dict[str, Any] | None:
        """The process that writes here now, as {"pid", "host"}; None when there is none. Only reads."""
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
            holder: Any = json.loads(self.lock_file.read_text())
        except (OSError, ValueError):
            holder = {}
        known = holder if isinstance(holder, dict) else {}
        return {"pid": "unknown", "host": "unknown"} | known

    def _holder(self) -> str:
        holder = self._read_holder()
        return f"process {holder['pid']} on {holder['host']}"


def _flock(number: int) -> bool:
    """Take the lock, unless a process is writing; `running` also takes it, for an instant."""
    for pause_s in (0.02, 0.1, 0.0):
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return True
    return False


def _stands_at(number: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: a lock on a removed file excludes nobody."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Context for writes below `path`: system errors become a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def write_whole(path: Path, text: str | bytes) -> None:
    """Write a file atomically.

    Raises:
        StorageError: it cannot be written; what was there is as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with storing(path):
        try:
            aside.write_bytes(text.encode() if isinstance(text, str) else text)
            aside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a run's folder; empty when the file is not there or not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
