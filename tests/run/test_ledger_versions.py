"""A ledger of an older version: read as it is, upgraded in place when it is written to, and never by halves."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.run import ledger_file
from sweepfleet.run.ledger import Counts, Ledger, Source
from sweepfleet.run.results import Table, frames
from tests.support import batches, grid

# As version 1 made it. Not from today's code, which must read what was written then.
VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY, worker TEXT, git_commit TEXT, env_hash TEXT, UNIQUE (worker, git_commit, env_hash)
);
CREATE TABLE schemas (number INTEGER PRIMARY KEY, names TEXT, kinds TEXT, UNIQUE (names, kinds));
CREATE TABLE points (point_index INTEGER PRIMARY KEY,
    id TEXT NOT NULL, seed INTEGER NOT NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL,
    infra_losses INTEGER NOT NULL, started REAL NOT NULL, duration_s REAL NOT NULL, source INTEGER NOT NULL,
    schema INTEGER, metrics BLOB, error_type TEXT, error TEXT
);
CREATE TABLE former (params TEXT NOT NULL, replicate INTEGER NOT NULL,
    id TEXT NOT NULL, seed INTEGER NOT NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL,
    infra_losses INTEGER NOT NULL, started REAL NOT NULL, duration_s REAL NOT NULL, source INTEGER NOT NULL,
    schema INTEGER, metrics BLOB, error_type TEXT, error TEXT, PRIMARY KEY (id)
) WITHOUT ROWID;
INSERT INTO sources VALUES (1, 'host/0', 'c0ffee-dirty', 'env');
INSERT INTO sources VALUES (2, 'host/1', NULL, 'env');
INSERT INTO schemas VALUES (1, '["x"]', 'd');
PRAGMA application_id = 1937204848;
PRAGMA user_version = 1;
"""
PLAN = grid({"a": [1, 2, 3]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of version 1: one done point, one failed one, one of a former plan."""
    path = tmp_path / "ledger.sqlite"
    here, former = Space(PLAN), Space(grid({"a": [9]})).point(0)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(VERSION_1)
        db.execute("INSERT INTO meta VALUES ('plan', ?)", (PLAN.to_json(),))
        row = "INSERT INTO points VALUES (?, ?, ?, ?, 1, 0, 7.0, 0.5, ?, ?, ?, ?, ?)"
        done, failed = here.point(0), here.point(1)
        db.execute(row, (0, done.id, done.seed, 0, 1, 1, struct.pack("<d", 1.5), None, None))
        db.execute(row, (1, failed.id, failed.seed, 1, 2, None, None, "ValueError", "ValueError: no"))
        db.execute(
            "INSERT INTO former VALUES (?, 0, ?, ?, 0, 1, 0, 7.0, 0.5, 1, 1, ?, NULL, NULL)",
            (json.dumps(former.params), former.id, former.seed, struct.pack("<d", 9.5)),
        )
        db.commit()
    return path


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def content(ledger: Ledger) -> list[object]:
    sources = {number: (each.worker, each.git_commit, each.env_hash) for number, each in ledger.sources().items()}
    return [list(ledger.scan(chunk=10)), sources, ledger.schemas(), ledger.counts(), ledger.former(), ledger.plan()]


def test_an_older_ledger_is_read_as_it_is(path: Path) -> None:
    """Opened for reading it stays what it was, and its rows have no code."""
    with contextlib.closing(Ledger(path, readonly=True)) as ledger:
        assert (ledger.counts(), ledger.former()) == (Counts(1, 1), 1)
        assert ledger.sources()[1] == Source("host/0", "c0ffee-dirty", "env", None)
        assert (ledger.codes(), ledger.rows_by_code()) == ({}, {None: (2, 7.0)})
        assert ledger.redo_left() == Counts(0, 0)
        assert ledger.ended_from(0, limit=9) == [0, 1]
        assert ledger.has_ended(1)
        assert list(ledger.tables()) == []
        table = next(frames(ledger, Table(ledger, Space(PLAN))))
        assert table["metric.x"].to_list() == [1.5, None]
    assert version(path) == 1


def test_an_older_ledger_is_upgraded_with_all_its_rows(path: Path) -> None:
    """Opened for writing it has today's tables; every row, waiting ones too, is what it was, and work goes on."""
    with contextlib.closing(Ledger(path, readonly=True)) as ledger:
        before = content(ledger)
    with contextlib.closing(Ledger(path)) as ledger:
        assert content(ledger) == before
        assert ledger.rows_by_code() == {None: (2, 7.0)}
        outcome = ({"x": 2.5}, [{"fold": 1}])
        ledger.record(batches([(Space(PLAN).point(2), outcome)]), git_commit="d00d", env_hash="env")
        assert len(list(ledger.tables())) == 1
        assert ledger.counts() == Counts(2, 1)
        ledger.adopt(Space(grid({"a": [9, 1]})))
        assert (ledger.counts(), ledger.former()) == (Counts(2, 0), 2)
    assert version(path) == ledger_file.VERSION


def test_an_upgrade_that_is_cut_off_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "ADDED", "CREATE TABLE codes (code);\nCREATE TABLE nonsense")
    with contextlib.suppress(Exception):
        Ledger(path)
    monkeypatch.undo()
    assert version(path) == 1
    with contextlib.closing(Ledger(path)) as ledger:
        assert (ledger.counts(), ledger.codes()) == (Counts(1, 1), {})


def test_a_newer_ledger_is_refused_and_left_alone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {ledger_file.VERSION + 1}")
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(UsageError, match="newer sweepfleet"):
            Ledger(path, readonly=readonly)
    assert path.read_bytes() == before
