"""The ledger: every finished point of a run, in SQLite, written by one process and committed before it shows.

A row stands at its point's index in the plan, which is the table's key: a point cannot be in it twice, rows go
in at the end of the file when the sweep goes in order, and a scan comes out in the grid's order. When the plan
changes, `adopt` moves each row to its point's new index by the point's id; rows of points that the plan no
longer has wait in `former`, and come back with their point. What is to be computed again is named in `redo`,
and keeps its row until the new one is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.run.folder import StorageError as StorageError  # noqa: PLC0414 - callers look for it here
from sweepfleet.run.ledger_file import FIELDS, REMEDY, VERSION, check_version, create, examine, upgrade
from sweepfleet.run.ledger_moving import move
from sweepfleet.run.ledger_reading import Counts as Counts  # noqa: PLC0414
from sweepfleet.run.ledger_reading import Reading
from sweepfleet.run.ledger_reading import Source as Source  # noqa: PLC0414
from sweepfleet.slot.records import ROWS_SCHEMA, TEXT_SCHEMA, Schema, Status

if TYPE_CHECKING:
    from sweepfleet.run.rows import Rows

REDO_REQUEST = "redo_request"  # the note of the command that last asked for points again
# A finished point stays as it is; a failed one that was run again is replaced, and its attempts add up.
INSERT = f"""
    INSERT INTO points (point_index, {FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (point_index) DO UPDATE SET
        seed = excluded.seed, status = excluded.status, attempts = points.attempts + excluded.attempts,
        infra_losses = points.infra_losses + excluded.infra_losses, started = excluded.started,
        duration_s = excluded.duration_s, source = excluded.source, schema = excluded.schema,
        metrics = excluded.metrics, error_type = excluded.error_type, error = excluded.error
    WHERE points.status = {int(Status.FAILED)}
"""  # noqa: S608 - constants
# Run before the new row of a finished point that is computed again: nothing of the old row stays.
MAKE_ROOM = f"""
    DELETE FROM points WHERE point_index = ? AND status = {int(Status.DONE)} AND id IN (SELECT id FROM redo)
"""  # noqa: S608 - constants


class Ledger(Reading):
    """An open ledger. Every method that writes commits, or changes nothing and raises StorageError."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open the ledger, or make an empty one; one that is opened for reading shows the moment of its opening.

        Raises:
            UsageError: what is there is truncated, damaged, from a newer version, or no ledger; it is left as it is.
        """
        self.path = path
        if path.exists():
            examine(path)
        elif readonly:
            raise UsageError(f"{path} does not exist: there are no results yet.")
        self._sources: dict[Source, int] = {}
        self._schemas: dict[Schema, int] = {}
        self._codes: set[str] = set()
        with self._storing():
            self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._open(readonly=readonly)
        except BaseException:
            self._db.close()
            raise

    def _open(self, *, readonly: bool) -> None:
        with self._storing():
            self._db.execute("PRAGMA busy_timeout = 10000")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]  # the log's, where it is newer
            check_version(self.path, version)
            self._version = version
            if readonly:
                if version == 0:
                    raise UsageError(f"{self.path} is empty: there are no results yet.")
                self._db.execute("PRAGMA query_only = ON")
                # One snapshot, so that sources, schemas and rows fit together while a sweep writes; it begins with
                # the first read, and closing ends it.
                self._db.execute("BEGIN")
                self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return
            if version == 0 and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise UsageError(f"{self.path} is a database of another program. {REMEDY}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
            if version < VERSION:
                # One transaction, which two processes may meet at: the second one finds it done.
                with self._transaction():
                    version = self._db.execute("PRAGMA user_version").fetchone()[0]
                    if version == 0:
                        create(self._db)
                    else:
                        upgrade(self._db, version)
                self._version = VERSION

    def close(self) -> None:
        """Close the file; whatever was committed is in it."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._storing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.execute("ROLLBACK")
                self._sources.clear()  # their numbers may be among what was undone
                self._schemas.clear()
                self._codes.clear()
                raise

    def copy_to(self, path: Path) -> None:
        """Copy the current content to `path`; does not block a writer."""
        with self._storing(), contextlib.closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    # Writing.

    def adopt(self, space: Space) -> None:
        """Make the rows' indexes refer to this space's plan. Does nothing when they do already."""
        old, new = self.plan(), space.plan
        if self.is_of(new):
            return
        with self._transaction():
            if old is not None:
                move(self._db, Space(old), space)
            self._set("plan", new.to_json())
            if old is not None and old.seed != new.seed and self.counts().done:
                self._set("seed_changed", f"{old.seed} -> {new.seed}")

    def _set(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def set_meta(self, key: str, value: str) -> None:
        """Store a value for the whole run."""
        with self._transaction():
            self._set(key, value)

    def redo(self, indexes: Iterable[int], *, request: str | None = None) -> None:
        """Have these ended points computed again; each keeps its row until the new one is there.

        Args:
            indexes: of ended points.
            request: names the command that asks. It is remembered: a driver that starts again for the same command
                goes on with what is left instead.
        """
        with self._transaction():
            if request is not None:
                if self.meta(REDO_REQUEST) == request:
                    return
                self._set(REDO_REQUEST, request)
            self._db.executemany(
                "INSERT OR IGNORE INTO redo SELECT id FROM points WHERE point_index = ?",
                ((index,) for index in indexes),
            )

    def forget(self, ids: Iterable[str]) -> None:
        """Remove the rows of these points of the plan, as if they had never been computed."""
        with self._transaction():
            self._db.execute("CREATE TEMP TABLE forgotten (id TEXT PRIMARY KEY)")
            self._db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", ((id_,) for id_ in ids))
            for table in ("redo", "tables", "points"):
                self._db.execute(f"DELETE FROM {table} WHERE id IN (SELECT id FROM forgotten)")  # noqa: S608
            self._db.execute("DROP TABLE forgotten")

    def record(
        self,
        batches: Sequence[tuple[Rows, Mapping[int, int], Mapping[int, int], set[int]]],
        *,
        git_commit: str | None,
        env_hash: str | None,
    ) -> None:
        """Commit the attempts that ended their points, all of them or none.

        Args:
            batches: each the rows of one segment; by index, the failed attempts that came before; by index, the
                times its process or machine was taken away; and the places of rows that are to be tried again,
                which are left out.
            git_commit: of the code that computed them.
            env_hash: of the environment that it ran in.
        """
        with self._transaction():
            redo = self._redoes()
            for rows, attempts, losses, again in batches:
                source = self._source(Source(rows.worker, git_commit, env_hash, self._code(rows.code)))
                found: Iterable[tuple[Any, ...]] = self._tuples(rows, attempts, losses, again, source)
                if redo:
                    found = list(found)
                    self._db.executemany(MAKE_ROOM, ((row[0],) for row in found))
                    self._db.executemany("DELETE FROM redo WHERE id = ?", ((row[1],) for row in found))
                self._db.executemany(INSERT, found)
                self._keep_tables(rows)

    def _keep_tables(self, rows: Rows) -> None:
        """Store the row tables of points whose current rows are these attempts."""
        tables = rows.tables()
        if not tables and not self._has_tables():
            return
        cells = zip(rows.table["index"].tolist(), rows.ids(), rows.table["started"].tolist(), strict=True)
        for place, (index, id_, started) in enumerate(cells):
            now = "SELECT id FROM points WHERE point_index = ? AND id = ? AND started = ?"
            self._db.execute(f"DELETE FROM tables WHERE id IN ({now})", (index, id_, started))  # noqa: S608
            if place in tables:
                self._db.execute(
                    f"INSERT OR IGNORE INTO tables SELECT id, ? FROM ({now})",  # noqa: S608
                    (tables[place], index, id_, started),
                )

    def _tuples(
        self, rows: Rows, attempts: Mapping[int, int], losses: Mapping[int, int], again: set[int], source: int
    ) -> Iterator[tuple[Any, ...]]:
        table = rows.table
        numbers: dict[int, int | None] = {TEXT_SCHEMA: None, ROWS_SCHEMA: None}
        numbers |= {number: self._schema(schema) for number, schema in rows.schemas.items()}
        failures = dict(rows.failures())
        columns = zip(
            table["index"].tolist(),
            rows.ids(),
            table["seed"].tolist(),
            table["started"].tolist(),
            table["duration_s"].tolist(),
            table["schema"].tolist(),
            rows.payloads(),
            strict=True,
        )
        plain = not attempts and not losses and not failures
        for place, (index, id_, seed, started, duration_s, schema, payload) in enumerate(columns):
            if plain:
                yield (index, id_, seed, 0, 1, 0, started, duration_s, source, numbers[schema], payload, None, None)
                continue
            if place in again:
                continue
            tries, lost = attempts.get(index, 0) + 1, losses.get(index, 0)
            failure = failures.get(place)
            status, metrics, packed = Status.DONE, payload, numbers[schema]
            error_type = error = None
            if failure is not None:
                status, packed, error_type, error = Status.FAILED, None, failure.error_type, failure.error
            yield (
                *(index, id_, seed, int(status), tries, lost, started, duration_s, source, packed),
                *(None if failure is not None else metrics, error_type, error),
            )

    def _code(self, files: Mapping[str, str]) -> str | None:
        """The hash of these files, under which they are stored."""
        if not files:
            return None
        text = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
        code = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if code not in self._codes:
            self._db.execute("INSERT OR IGNORE INTO codes VALUES (?, ?)", (code, text))
            self._codes.add(code)
        return code

    def _source(self, source: Source) -> int:
        if source not in self._sources:
            self._sources[source] = self._number("sources", source, self.sources().items())
        return self._sources[source]

    def _schema(self, schema: Schema) -> int:
        if schema not in self._schemas:
            self._schemas[schema] = self._number("schemas", schema, self.schemas().items())
        return self._schemas[schema]

    def _number(self, table: str, value: Source | Schema, known: Any) -> int:
        for number, each in known:
            if each == value:
                return int(number)
        if isinstance(value, Schema):
            cells: tuple[Any, ...] = (json.dumps(value.names), value.kinds)
        else:
            cells = (value.worker, value.git_commit, value.env_hash, value.code)
        marks = ", ".join("?" * len(cells))
        return int(self._db.execute(f"INSERT INTO {table} VALUES (NULL, {marks})", cells).lastrowid or 0)  # noqa: S608
