"""The ledger of a run of calls: `calls.sqlite` in the run's folder, one row a call that has ended."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.disk import storage_error
from sweepfleet.slot.calls.batch import Call, Failure, Outcome, Pickled

VERSION = 1
APPLICATION_ID = 0x73776663  # "swfc", in the file's header: other programs' databases are refused
_AT_ONCE = 500  # keys of one question
_TABLES = """
    CREATE TABLE functions (function TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE calls (
        key TEXT PRIMARY KEY,        -- of the function's name and code, and the arguments by content
        function TEXT NOT NULL,      -- the digest of the pickled function that computed it
        status TEXT NOT NULL,        -- done, raised, failed
        value BLOB,                  -- what it returned or raised: pickles, end to end
        sizes TEXT,                  -- their sizes, as a JSON list: the pickle, then its buffers
        error_type TEXT,             -- of a call that failed without an exception of its own
        error TEXT,
        attempts INTEGER NOT NULL,
        started REAL NOT NULL,       -- unix time of the last attempt
        duration_s REAL NOT NULL     -- of the last attempt
    ) WITHOUT ROWID
"""


class CallLedger:
    """For one thread, and the run's one writer: it is open only while the folder is locked."""

    def __init__(self, path: Path) -> None:
        """Open a run's ledger, or make it.

        Raises:
            UsageError: there is a file that is no such ledger, or a newer version's.
            StorageError: it cannot be read or written.
        """
        self.path = path
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._check()  # before the first change
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.OperationalError):
            return storage_error(self.path, error)
        return UsageError(f"{self.path} is not a ledger of calls: {error}. Use another run: Executor(run=...)")

    def _check(self) -> None:
        """Raise UsageError for a file of another program or of a newer version; an empty one is nobody's."""
        version, application = self._version(), self._db.execute("PRAGMA application_id").fetchone()[0]
        is_empty = not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if version > VERSION or application != (0 if is_empty else APPLICATION_ID):
            raise UsageError(
                f"{self.path} was written by a newer sweepfleet or by another program. It was not changed."
            )

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _prepare(self) -> None:
        if not self._version():
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("COMMIT")

    def done(self, keys: Sequence[str]) -> set[str]:
        """Those of these calls whose results are here."""
        found: set[str] = set()
        for begin in range(0, len(keys), _AT_ONCE):
            some = keys[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT key FROM calls WHERE status = 'done' AND key IN ({marks})",  # noqa: S608 - question marks
                list(some),
            )
            found.update(key for (key,) in rows)
        return found

    def results(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """What calls of these keys returned, by key; those that failed are computed again."""
        found: dict[str, Outcome] = {}
        for begin in range(0, len(keys), _AT_ONCE):
            some = keys[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT key, value, sizes, attempts, started, duration_s FROM calls "  # noqa: S608 - question marks
                f"WHERE status = 'done' AND key IN ({marks})",
                list(some),
            )
            for key, value, sizes, attempts, started, duration_s in rows:
                found[key] = Outcome(0, _split(value, json.loads(sizes)), False, duration_s, key, attempts, started)
        return found

    def name(self, function: str, name: str) -> None:
        """Note what a function is called."""
        self._db.execute("INSERT OR IGNORE INTO functions VALUES (?, ?)", (function, name))

    def keep(self, ended: Sequence[tuple[Outcome, Call]]) -> None:
        """Commit what came of calls that have keys. Raises StorageError."""
        rows = [_row(outcome, call.key, call.function) for outcome, call in ended if call.key is not None]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise storage_error(self.path, error) from error

    def counts(self) -> dict[str, int]:
        """The number of calls, by status."""
        return dict(self._db.execute("SELECT status, count(*) FROM calls GROUP BY status").fetchall())

    def close(self) -> None:
        """Close it."""
        self._db.close()


def _row(outcome: Outcome, key: str, function: str) -> tuple[object, ...]:
    ended = (outcome.attempts, outcome.started or time.time(), outcome.wall_s)
    if isinstance(outcome.value, Failure):
        return (key, function, "failed", None, None, outcome.value.kind, outcome.value.text, *ended)
    parts = [outcome.value.data, *outcome.value.outside]
    sizes = json.dumps([memoryview(part).nbytes for part in parts])
    value = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    return (key, function, "raised" if outcome.raised else "done", value, sizes, None, None, *ended)


def _split(value: bytes, sizes: Sequence[int]) -> Pickled:
    view, begin = memoryview(value), 0
    parts: list[memoryview] = []
    for size in sizes:
        parts.append(view[begin : begin + size])
        begin += size
    # Buffers that can be written to, as those that come directly.
    return Pickled(parts[0], [bytearray(part) for part in parts[1:]])
