"""The queries of a ledger's rows; they change nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.identity import SEED_BITS
from sweepfleet.grid.plan import Plan
from sweepfleet.run.disk import StorageError, full_disk, is_full
from sweepfleet.run.ledger_file import FIELDS, REMEDY
from sweepfleet.slot.records import Schema, Status

if TYPE_CHECKING:
    import numpy as np

MOST_TEXTS = 10_000  # rows that are read to find a metric's name
CODE_SINCE = REDO_SINCE = TABLES_SINCE = 2  # the ledger's version that has them


class Counts(NamedTuple):
    """How many of the plan's points have ended, and how."""

    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows were computed, and by which code."""

    worker: str
    git_commit: str | None
    env_hash: str | None
    code: str | None = None  # the hash of its files: see `codes`


class Reading:
    """The queries. The subclass that opens the database sets `path`, `_db` and `_version`."""

    path: Path
    _db: sqlite3.Connection
    _version: int  # of the file's tables: a ledger of version 1 may be read without being upgraded

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
                raise
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise UsageError(f"{self.path} is damaged: {error}. {REMEDY}") from error
            if is_full(self.path, error):
                raise full_disk(self.path) from error
            raise StorageError(
                f"{self.path} cannot be written: {error}. Committed results are safe. Make room on the disk (or "
                "fix its permissions), then run the same command again: it resumes."
            ) from error

    def _each(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, read as they are asked for."""
        with self._storing():
            for row in self._db.execute(query, values):  # noqa: UP028 - `yield from` would close the cursor in the end,
                yield row  # also that of a closed ledger, when a reader such as `| head` has left

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._storing():
            return self._db.execute(query, values).fetchall()

    # What there is.

    def plan(self) -> Plan | None:
        """The plan that the rows' indexes refer to; None in an empty ledger."""
        text = self._plan_json()
        return None if text is None else Plan.from_json(text)

    def is_of(self, plan: Plan) -> bool:
        """Whether the rows' indexes refer to exactly this plan; plans that differ by 1 and 1.0 alone are equal."""
        return self._plan_json() == plan.to_json()

    def _plan_json(self) -> str | None:
        return self.meta("plan")

    def counts(self) -> Counts:
        """Finished and failed points of the plan."""
        by_status = dict(self._read("SELECT status, count(*) FROM points GROUP BY status"))
        return Counts(by_status.get(Status.DONE, 0), by_status.get(Status.FAILED, 0))

    def former(self) -> int:
        """How many rows belong to points that the plan no longer has."""
        return int(self._read("SELECT count(*) FROM former")[0][0])

    def former_points(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """The points that the plan no longer has: id, parameters, replicate."""
        for id_, params, replicate in self._read("SELECT id, params, replicate FROM former"):
            yield id_, json.loads(params), replicate

    def redo_left(self) -> Counts:
        """How many of the plan's ended points are still to be computed again: finished ones, failed ones."""
        if not self._redoes():
            return Counts(0, 0)
        by_status = dict(
            self._read("SELECT status, count(*) FROM points WHERE id IN (SELECT id FROM redo) GROUP BY status")
        )
        return Counts(by_status.get(Status.DONE, 0), by_status.get(Status.FAILED, 0))

    def ended_of(self, ids: Iterable[str]) -> Iterator[tuple[str, int, int, bool]]:
        """Those of these points that have ended: id, index, status, and whether each must be computed again."""
        redo = "id IN (SELECT id FROM redo)" if self._version >= REDO_SINCE else "0"
        yield from self._each(
            f"SELECT id, point_index, status, {redo} FROM points "  # noqa: S608 - constants
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )

    def _redoes(self) -> bool:
        """Whether any point must be computed again."""
        return self._version >= REDO_SINCE and bool(self._read("SELECT 1 FROM redo LIMIT 1"))

    def meta(self, key: str) -> str | None:
        """A value stored for the whole run."""
        found = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    def has_long_seeds(self) -> bool:
        """Whether a row has a seed of more than 31 bits, as versions before this one gave every other point."""
        return bool(self._read(f"SELECT 1 FROM points WHERE seed >= {1 << SEED_BITS} LIMIT 1"))  # noqa: S608

    def seed_changed(self) -> str | None:
        """How `seed:` changed under finished rows, as `adopt` found; None when it did not."""
        return self.meta("seed_changed")

    def busy_s(self) -> float:
        """The time of every point's last attempt, added up."""
        return float(self._read("SELECT total(duration_s) FROM points")[0][0])

    def mean_s(self) -> float | None:
        """The mean duration of a finished point; None when there is none."""
        found = self._read("SELECT avg(duration_s) FROM points WHERE status = 0")[0][0]
        return None if found is None else float(found)

    def ended(self, *, chunk: int = 1 << 16) -> Iterator[list[tuple[int, int, int, bool]]]:
        """All ended points, ascending: index, status, source, and whether it must be computed again."""
        asked = "EXISTS (SELECT 1 FROM redo WHERE redo.id = points.id)" if self._redoes() else "0"
        start = -1
        while True:
            rows = self._read(
                f"SELECT point_index, status, source, {asked} FROM points WHERE point_index > ? "  # noqa: S608
                "ORDER BY point_index LIMIT ?",
                (start, chunk),
            )
            if not rows:
                return
            self._check_ascent(start, [rows[0][0], rows[-1][0]])
            yield [(index, status, source, bool(again)) for index, status, source, again in rows]
            start = rows[-1][0]

    def ended_from(self, start: int, *, limit: int) -> list[int]:
        """Indexes of ended points that are not computed again, from `start` on, ascending, up to `limit`."""
        which = "AND id NOT IN (SELECT id FROM redo)" if self._redoes() else ""
        rows = self._read(
            f"SELECT point_index FROM points WHERE point_index >= ? {which} ORDER BY point_index LIMIT ?",  # noqa: S608
            (start, limit),
        )
        indexes = [row[0] for row in rows]
        self._check_ascent(start - 1, indexes)
        return indexes

    def has_ended(self, index: int) -> bool:
        """Whether the point at `index` has ended and is not computed again."""
        asked = "EXISTS (SELECT 1 FROM redo WHERE redo.id = points.id)" if self._redoes() else "0"
        found = self._read(f"SELECT {asked} FROM points WHERE point_index = ?", (index,))  # noqa: S608
        return bool(found) and not found[0][0]

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
        code = "NULL" if self._version < CODE_SINCE else "code"
        rows = self._read(f"SELECT number, worker, git_commit, env_hash, {code} FROM sources")  # noqa: S608
        return {row[0]: Source(*row[1:]) for row in rows}

    def codes(self) -> dict[str, dict[str, str]]:
        """The files of each code, with their digests."""
        if self._version < CODE_SINCE:
            return {}
        return {code: json.loads(files) for code, files in self._read("SELECT code, files FROM codes")}

    def rows_by_code(self) -> dict[str | None, tuple[int, float]]:
        """How many of the plan's rows each code has computed, and when it began the first of them (unix time).

        None: those of which it is not known. Rows that nothing has computed, since their machines went away, are
        left out.
        """
        code = "NULL" if self._version < CODE_SINCE else "sources.code"
        rows = self._read(
            f"SELECT {code}, count(*), min(started) FROM points JOIN sources ON sources.number = points.source "  # noqa: S608
            "WHERE sources.worker != '' GROUP BY 1"
        )
        return {each: (count, started) for each, count, started in rows}

    def index_of(self, point_id: str) -> int:
        """The index of an ended point. Raises KeyError when no row has this id."""
        found = self._read("SELECT point_index FROM points WHERE id = ?", (point_id,))
        if not found:
            raise KeyError(point_id)
        return int(found[0][0])

    def text_metrics(self) -> Iterator[bytes]:
        """The metrics that are stored as JSON."""
        with self._storing():
            for (metrics,) in self._db.execute(
                "SELECT metrics FROM points WHERE schema IS NULL AND metrics IS NOT NULL"
            ):
                yield metrics

    def tables(self) -> Iterator[tuple[str, bytes]]:
        """The ids of the finished points that returned several rows, in the plan's order, each with its rows."""
        if not self._has_tables():
            return
        yield from self._each(
            "SELECT points.id, rows FROM points JOIN tables ON tables.id = points.id "
            "WHERE status = ? ORDER BY point_index",
            (int(Status.DONE),),
        )

    def _has_tables(self) -> bool:
        return self._version >= TABLES_SINCE and bool(self._read("SELECT 1 FROM tables LIMIT 1"))

    def packed_metrics(self, schema: int, *, chunk: int) -> Iterator[list[bytes]]:
        """The metrics that are packed in this way, `chunk` rows at a time."""
        with self._storing():
            found = self._db.execute("SELECT metrics FROM points WHERE schema = ?", (schema,))
            while rows := found.fetchmany(chunk):
                yield [row[0] for row in rows]

    def measured(
        self, metric: str, *, chunk: int = 20_000
    ) -> Iterator[tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float64]]]]:
        """Index and metric of points that have ended and stay as they are, in the plan's order, a chunk at a time.

        NaN stands where a point has no number; failed points have none.
        """
        import numpy as np  # which no other question needs

        from sweepfleet.run.rows import as_number, column

        schemas = self.schemas()
        which = "AND id NOT IN (SELECT id FROM redo)" if self._redoes() else ""
        query = f"SELECT point_index, schema, metrics FROM points WHERE point_index > ? {which} ORDER BY point_index"  # noqa: S608
        start = -1
        while rows := self._read(f"{query} LIMIT ?", (start, chunk)):
            values = np.full(len(rows), np.nan)
            packed: dict[int, list[int]] = {}
            for place, (_, schema, metrics) in enumerate(rows):
                if schema is not None:
                    packed.setdefault(schema, []).append(place)
                elif metrics is not None:
                    values[place] = as_number(json.loads(metrics).get(metric))
            for number, places in packed.items():
                found = column(schemas[number], metric, b"".join(rows[place][2] for place in places))
                values[places] = np.nan if found is None else found
            yield np.array([row[0] for row in rows], np.int64), values
            start = rows[-1][0]

    def metric_names(self) -> dict[str, None]:
        """The names of what finished points returned; of those kept as JSON, the first `MOST_TEXTS` are read."""
        names: dict[str, None] = {}
        for schema in self.schemas_in_use().values():
            names |= dict.fromkeys(schema.names)
        for payload in itertools.islice(self.text_metrics(), MOST_TEXTS):
            names |= dict.fromkeys(json.loads(payload))
        return names

    def failures(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Every failed point's id, and its error's type and text, in the grid's order."""
        yield from self._each(
            "SELECT id, error_type, error FROM points WHERE status = ? ORDER BY point_index", (int(Status.FAILED),)
        )

    def lookup(
        self, condition: str, values: Sequence[Any], *, limit: int = -1
    ) -> Iterator[tuple[int, str, int, float, str | None, str | None]]:
        """Index, id, status, start, error type and error of the rows that meet an SQL condition."""
        yield from self._each(
            f"SELECT point_index, id, status, started, error_type, error FROM points WHERE {condition} "  # noqa: S608
            "ORDER BY point_index LIMIT ?",
            (*values, limit),
        )
