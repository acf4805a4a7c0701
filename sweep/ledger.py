"""The ledger: every finished point of a run, in SQLite, written by one process and committed before it shows.

A row stands at its point's index in the plan, which is the table's key: a point cannot be in it twice, rows go
in at the end of the file when the sweep goes in order, and a scan comes out in the grid's order. When the plan
changes, `adopt` moves each row to its point's new index by the point's id; rows of points that the plan no
longer has wait in `former`, and come back with their point.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from grid.errors import UsageError
from grid.plan import Plan
from grid.space import Space
from sweep.folder import StorageError as StorageError  # noqa: PLC0414 - callers look for it here
from sweep.ledger_file import APPLICATION_ID, COLUMNS, FIELDS, REMEDY, TABLES, VERSION, check_version, examine
from sweep.rows import Rows
from worker.records import TEXT_SCHEMA, Schema, Status

MOST_SEARCHED_DRAWS = 1_000_000  # of continuous laws, for rows that nothing else finds: some seconds
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


class Counts(NamedTuple):
    """How many of the plan's points have ended, and how."""

    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows were computed."""

    worker: str
    git_commit: str | None
    env_hash: str | None


class Ledger:
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
                raise UsageError(f"{self.path} is a database of some other program. {REMEDY}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
            if version == 0:
                self._create()

    def _create(self) -> None:
        # One transaction: executescript would commit after each statement.
        with self._transaction():
            for statement in TABLES.split(";\n"):
                if statement.strip():
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file; whatever was committed is in it."""
        self._db.close()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
                raise
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise UsageError(f"{self.path} is damaged: {error}. {REMEDY}") from error
            raise StorageError(
                f"{self.path} cannot be written: {error}. What was committed is safe: make room on the disk (or "
                "repair its rights), then give the same command again; it goes on where this one stopped."
            ) from error

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
                raise

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._storing():
            return self._db.execute(query, values).fetchall()

    def copy_to(self, path: Path) -> None:
        """Make `path` a ledger of what is in this one now; whoever writes to this one is not held up."""
        with self._storing(), contextlib.closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    # What there is.

    def plan(self) -> Plan | None:
        """The plan that the rows' indexes refer to; None in an empty ledger."""
        text = self._plan_json()
        return None if text is None else Plan.from_json(text)

    def is_of(self, plan: Plan) -> bool:
        """Whether the rows' indexes refer to exactly this plan; plans that differ by 1 and 1.0 alone are equal."""
        return self._plan_json() == plan.to_json()

    def _plan_json(self) -> str | None:
        found = self._read("SELECT value FROM meta WHERE key = 'plan'")
        return str(found[0][0]) if found else None

    def counts(self) -> Counts:
        """Finished and failed points of the plan."""
        by_status = dict(self._read("SELECT status, count(*) FROM points GROUP BY status"))
        return Counts(by_status.get(Status.DONE, 0), by_status.get(Status.FAILED, 0))

    def former(self) -> int:
        """How many rows belong to points that the plan no longer has."""
        return int(self._read("SELECT count(*) FROM former")[0][0])

    def seed_changed(self) -> str | None:
        """How `seed:` changed under finished rows, as `adopt` found; None when it did not."""
        found = self._read("SELECT value FROM meta WHERE key = 'seed_changed'")
        return found[0][0] if found else None

    def busy_s(self) -> float:
        """The time of every point's last attempt, added up."""
        return float(self._read("SELECT total(duration_s) FROM points")[0][0])

    def mean_s(self) -> float | None:
        """The mean duration of a finished point; None when there is none."""
        found = self._read("SELECT avg(duration_s) FROM points WHERE status = 0")[0][0]
        return None if found is None else float(found)

    def ended_from(self, start: int, *, limit: int, failed_too: bool = True) -> list[int]:
        """Indexes of ended points from `start` on, ascending, `limit` at the most."""
        which = "" if failed_too else f"AND status = {int(Status.DONE)}"
        rows = self._read(
            f"SELECT point_index FROM points WHERE point_index >= ? {which} ORDER BY point_index LIMIT ?",  # noqa: S608
            (start, limit),
        )
        indexes = [row[0] for row in rows]
        self._check_ascent(start - 1, indexes)
        return indexes

    def has_ended(self, index: int, *, failed_too: bool = True) -> bool:
        """Whether the point at `index` has ended."""
        found = self._read("SELECT status FROM points WHERE point_index = ?", (index,))
        return bool(found) and (failed_too or found[0][0] == Status.DONE)

    def scan(self, *, chunk: int) -> Iterator[list[tuple[Any, ...]]]:
        """All rows in the plan's order, `chunk` at a time: the point's index, then FIELDS."""
        start = -1
        while True:
            rows = self._read(
                f"SELECT point_index, {FIELDS} FROM points WHERE point_index > ? ORDER BY point_index LIMIT ?",  # noqa: S608
                (start, chunk),
            )
            if not rows:
                return
            self._check_ascent(start, [rows[0][0], rows[-1][0]])
            yield rows
            start = rows[-1][0]

    def _check_ascent(self, before: int, indexes: Sequence[int]) -> None:
        # SQLite does not look: a page of a damaged file may lead back to an earlier one, for ever.
        if indexes and not before < indexes[0] <= indexes[-1]:
            raise UsageError(f"{self.path} is damaged: its rows are out of order. {REMEDY}")

    def schemas(self) -> dict[int, Schema]:
        """How metrics are packed, by number."""
        rows = self._read("SELECT number, names, kinds FROM schemas")
        return {number: Schema(tuple(json.loads(names)), kinds) for number, names, kinds in rows}

    def schemas_in_use(self) -> dict[int, Schema]:
        """How the metrics of the plan's points are packed, by number; without those that only `former` rows have."""
        used = {row[0] for row in self._read("SELECT DISTINCT schema FROM points WHERE schema IS NOT NULL")}
        return {number: schema for number, schema in self.schemas().items() if number in used}

    def sources(self) -> dict[int, Source]:
        """Where rows were computed, by number."""
        return {
            row[0]: Source(*row[1:]) for row in self._read("SELECT number, worker, git_commit, env_hash FROM sources")
        }

    def index_of(self, point_id: str) -> int:
        """The index of an ended point. Raises KeyError when no row has this id."""
        found = self._read("SELECT point_index FROM points WHERE id = ?", (point_id,))
        if not found:
            raise KeyError(point_id)
        return int(found[0][0])

    def text_metrics(self) -> Iterator[bytes]:
        """The metrics that are kept as JSON."""
        with self._storing():
            for (metrics,) in self._db.execute(
                "SELECT metrics FROM points WHERE schema IS NULL AND metrics IS NOT NULL"
            ):
                yield metrics

    def commits(self) -> list[str | None]:
        """The distinct commits that the plan's rows come from."""
        rows = self._read(
            "SELECT DISTINCT git_commit FROM sources WHERE number IN (SELECT DISTINCT source FROM points)"
        )
        return [row[0] for row in rows]

    # Writing.

    def adopt(self, space: Space) -> None:
        """Make the rows' indexes refer to this space's plan. Does nothing when they do already."""
        old, new = self.plan(), space.plan
        if self.is_of(new):
            return
        with self._transaction():
            if old is not None:
                self._move(Space(old), space)
            self._set("plan", new.to_json())
            if old is not None and old.seed != new.seed and self.counts().done:
                self._set("seed_changed", f"{old.seed} -> {new.seed}")

    def _set(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _move(self, old: Space, new: Space) -> None:
        self._db.execute(f"CREATE TABLE moved (point_index INTEGER PRIMARY KEY, {COLUMNS})")
        into = f"INSERT OR IGNORE INTO moved SELECT ?, {FIELDS} FROM"
        homeless: list[int] = []
        for (index,) in self._db.execute("SELECT point_index FROM points"):
            point = old.point(index)
            same_draw = index // old.plan.replicates * new.plan.replicates + point.replicate
            near = (same_draw, *new.drawn_at(old.place(index), point.replicate))
            home = _home(new, near, point.id, point.params, point.replicate)
            if home is None:
                homeless.append(index)
            else:
                self._db.execute(f"{into} points WHERE point_index = ?", (home, index))
        for id_, params, replicate in self._db.execute("SELECT id, params, replicate FROM former").fetchall():
            home = _home(new, (), id_, json.loads(params), replicate)
            if home is not None:
                self._db.execute(f"{into} former WHERE id = ?", (home, id_))
                self._db.execute("DELETE FROM former WHERE id = ?", (id_,))
        for index in homeless:
            point = old.point(index)
            self._db.execute(
                f"INSERT OR IGNORE INTO former SELECT ?, ?, {FIELDS} FROM points WHERE point_index = ?",  # noqa: S608
                (json.dumps(point.params), point.replicate, index),
            )
        self._bring_back_draws(new)
        self._db.execute("DROP TABLE points")
        self._db.execute("ALTER TABLE moved RENAME TO points")

    def _bring_back_draws(self, new: Space) -> None:
        """Move rows of draws that only a look at every draw can place from `former` to `moved`."""
        blocks = new.drawn()
        if not self.former() or sum(stop - start for start, stop in blocks) > MOST_SEARCHED_DRAWS:
            return
        for start, stop in blocks:
            self._db.executemany(
                f"INSERT OR IGNORE INTO moved SELECT ?, {FIELDS} FROM former WHERE id = ?",  # noqa: S608
                ((point.index, point.id) for point in new.points(start, stop)),
            )
        if blocks:
            self._db.execute("DELETE FROM former WHERE id IN (SELECT id FROM moved)")

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
            for rows, attempts, losses, again in batches:
                source = self._source(Source(rows.worker, git_commit, env_hash))
                self._db.executemany(INSERT, self._tuples(rows, attempts, losses, again, source))

    def _tuples(
        self, rows: Rows, attempts: Mapping[int, int], losses: Mapping[int, int], again: set[int], source: int
    ) -> Iterator[tuple[Any, ...]]:
        table = rows.table
        numbers = {number: self._schema(schema) for number, schema in rows.schemas.items()} | {TEXT_SCHEMA: None}
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
            cells = (value.worker, value.git_commit, value.env_hash)
        marks = ", ".join("?" * len(cells))
        return int(self._db.execute(f"INSERT INTO {table} VALUES (NULL, {marks})", cells).lastrowid or 0)  # noqa: S608


def _home(space: Space, near: Iterable[int], id_: str, params: Mapping[str, Any], replicate: int) -> int | None:
    """The index of a point with this id: the first of `near` that holds it, or where its parameters are found.

    `near` is the old index, which holds where a grid grew at its end, and the old places of draws.
    """
    for index in near:
        if space.exists(index) and space.point(index).id == id_:
            return index
    found = space.find(params, replicate)
    return found if found is not None and space.point(found).id == id_ else None
