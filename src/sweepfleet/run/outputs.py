"""What a run's points printed, in `output.sqlite`: of each point the last attempt, and the last that failed before.

The driver writes it right before the ledger's rows; a row stands for one attempt, told by its point's id and its
start. A sweep does not stop because it cannot be written: results matter more. It stays below a bound: when it is
full, what finished points print is not kept any more, while failed ones have room of their own.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.run.disk import FullDiskError, StorageError, full_disk, is_full
from sweepfleet.slot.output import Printed
from sweepfleet.slot.records import Packet, Status

DONE_BYTES = 256_000_000  # of finished points' output, as packed; a laptop fetches it from a cluster
FAILED_BYTES = 1_000_000_000  # of failed attempts' output
APPLICATION_ID = 0x7377666F  # "swfo", in the file's header
VERSION = 1
CHUNK = 500  # ids that one question asks for
TABLES = (
    "CREATE TABLE printed (id BLOB NOT NULL, started REAL NOT NULL, failed INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE UNIQUE INDEX attempts ON printed (id, started)",
    "CREATE TABLE totals (failed INTEGER PRIMARY KEY, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0), (1, 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class Attempt(NamedTuple):
    """One attempt at one point, and what it printed: a packed `slot.output.Printed`."""

    id: str
    started: float  # unix time, as in the ledger's row
    failed: bool
    data: bytes


def attempts_of(packets: Iterable[Packet]) -> Iterator[Attempt]:
    """The attempts of packets that printed something."""
    for packet in packets:
        if not packet.outputs:
            continue
        from sweepfleet.run.rows import rows_of  # which brings numpy: readers do without

        for rows in rows_of(packet):
            started, status = rows.table["started"].tolist(), rows.table["status"].tolist()
            for place, id_ in enumerate(rows.ids()):
                data = packet.outputs.get(id_)
                if data is not None:
                    yield Attempt(id_, started[place], status[place] == Status.FAILED, data)


class Outputs:
    """An open output.sqlite. Every method that writes commits, or changes nothing and raises StorageError."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open the file, or make an empty one.

        Raises:
            UsageError: what is there is damaged, from a newer version, or some other program's; it is left as it is.
            StorageError: it cannot be made.
        """
        self.path = path
        if readonly and not path.exists():
            raise UsageError(f"{path} does not exist: no output of points was kept.")
        with self._storing():
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            with self._storing():
                self._open(readonly=readonly)
        except BaseException:
            self._db.close()
            raise

    def _open(self, *, readonly: bool) -> None:
        version, application = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        if version > VERSION:
            raise UsageError(f"{self.path} was written by a newer sweepfleet. Update it: git pull && uv sync")
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (version or tables) and application != APPLICATION_ID:
            raise UsageError(f"{self.path} is a database of another program. Move it away.")
        if readonly:
            self._db.execute("PRAGMA query_only = ON")
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last seconds' text, and no result
        if not version:
            with self._transaction():
                for statement in TABLES:
                    self._db.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise UsageError(
                    f"{self.path} is damaged: {error}. Move it away; the results do not depend on it."
                ) from error
            if is_full(self.path, error):
                raise full_disk(self.path) from error
            raise StorageError(f"{self.path} cannot be written: {error}.") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    def of(self, id_: str) -> list[tuple[float, bool, Printed]]:
        """What attempts at a point printed: their start, whether they failed, and the text; the earliest first.

        Raises:
            UsageError: the file is damaged.
        """
        with self._storing():
            rows = self._db.execute(
                "SELECT started, failed, data FROM printed WHERE id = ? ORDER BY started", (bytes.fromhex(id_),)
            ).fetchall()
        try:
            return [(started, bool(failed), Printed.unpack(data)) for started, failed, data in rows]
        except ValueError as error:
            raise UsageError(f"{self.path}: {error} Move it away; the results do not depend on it.") from error

    def of_attempt(self, id_: str, started: float) -> Printed | None:
        """What the attempt at a point that began then printed; None when nothing of it is here.

        Raises:
            UsageError: the file is damaged.
        """
        return next((printed for began, _, printed in self.of(id_) if began == started), None)

    def record(self, attempts: Iterable[Attempt]) -> None:
        """Commit attempts; of a point's earlier ones only the last failed one stays."""
        newest = {attempt.id: attempt for attempt in attempts}
        if not newest:
            return
        with self._storing(), self._transaction():
            self._remove(list(newest), all_of_them=False)
            totals = self._totals()
            rows = []
            for id_, started, failed, data in newest.values():
                room = (FAILED_BYTES if failed else DONE_BYTES) - totals[failed]
                kept = data if len(data) <= room else Printed.without_text(data)
                totals[failed] += len(kept)
                rows.append((bytes.fromhex(id_), started, int(failed), kept))
            self._db.executemany("INSERT OR REPLACE INTO printed VALUES (?, ?, ?, ?)", rows)
            self._set_totals(totals)

    def forget(self, ids: Iterable[str]) -> None:
        """Remove what these points printed."""
        with self._storing(), self._transaction():
            self._remove(list(ids), all_of_them=True)

    def copy_to(self, path: Path) -> None:
        """Copy the current content to `path`; does not block a writer."""
        with self._storing(), contextlib.closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def _remove(self, ids: Sequence[str], *, all_of_them: bool) -> None:
        """Remove attempts at points: all, or those before the last failed one and the finished ones."""
        totals = self._totals()
        for at in range(0, len(ids), CHUNK):
            some = [bytes.fromhex(id_) for id_ in ids[at : at + CHUNK]]
            marks = ", ".join("?" * len(some))
            found = self._db.execute(
                f"SELECT rowid, id, failed, length(data) FROM printed WHERE id IN ({marks}) ORDER BY started DESC",  # noqa: S608
                some,
            ).fetchall()
            kept: set[bytes] = set()
            for rowid, id_, failed, size in found:
                if failed and not all_of_them and id_ not in kept:
                    kept.add(id_)
                    continue
                totals[failed] -= size
                self._db.execute("DELETE FROM printed WHERE rowid = ?", (rowid,))
        self._set_totals(totals)

    def _totals(self) -> list[int]:
        return [row[0] for row in self._db.execute("SELECT bytes FROM totals ORDER BY failed")]

    def _set_totals(self, totals: Sequence[int]) -> None:
        self._db.executemany("UPDATE totals SET bytes = ? WHERE failed = ?", [(n, k) for k, n in enumerate(totals)])


class Recorder:
    """Stores what points print while a sweep runs; on errors the sweep continues, and `notes` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outputs: Outputs | None = None  # until there is something to write
        self._lost = 0
        self._error = ""

    def record(self, packets: Iterable[Packet]) -> None:
        """Store what the points of packets printed. Raises FullDiskError: again later."""
        attempts = list(attempts_of(packets))
        if not attempts:
            return
        try:
            if self._outputs is None:
                self._outputs = Outputs(self._path)
            self._outputs.record(attempts)
        except FullDiskError:
            raise
        except (SweepfleetError, OSError) as error:
            self._lost += len(attempts)
            self._error = str(error)

    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        if not self._lost:
            return ()
        lost = f"What {counted(self._lost, 'attempt')} printed could not be kept; the results are complete."
        return (f"{lost} {self._error}",)

    def close(self) -> None:
        """Close the file."""
        if self._outputs is not None:
            self._outputs.close()


def forget(path: Path, ids: Iterable[str]) -> None:
    """Remove what these points printed from a run's output.sqlite, if it has one.

    Raises:
        UsageError: the file is damaged.
        StorageError: it cannot be written.
    """
    if path.exists():
        with contextlib.closing(Outputs(path)) as outputs:
            outputs.forget(ids)
