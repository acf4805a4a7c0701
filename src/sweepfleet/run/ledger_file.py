"""The ledger file: its tables and version, and checks for damaged or foreign files before it is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from sweepfleet.grid.errors import UsageError

VERSION = 2
REMEDY = "It was not changed. Restore it from a copy, or start a new run under another --name."
APPLICATION_ID = 0x73776670  # "swfp", in the file's header: other programs' databases are refused
COLUMNS = """
    id TEXT NOT NULL,            -- the point's, 16 hex digits
    seed INTEGER NOT NULL,
    status INTEGER NOT NULL,     -- sweepfleet.slot.records.Status
    attempts INTEGER NOT NULL,
    infra_losses INTEGER NOT NULL,
    started REAL NOT NULL,       -- unix time of the last attempt
    duration_s REAL NOT NULL,    -- of the last attempt
    source INTEGER NOT NULL,     -- where it was computed: sources.number
    schema INTEGER,              -- how the metrics are packed: schemas.number; NULL: as JSON
    metrics BLOB,
    error_type TEXT,
    error TEXT
"""
SOURCES = """
    CREATE TABLE sources (
        number INTEGER PRIMARY KEY, worker TEXT, git_commit TEXT, env_hash TEXT,
        code TEXT,               -- of the files that computed it: codes.code; NULL: not known
        UNIQUE (worker, git_commit, env_hash, code)
    )
"""
# What version 2 added: the code of each row, the points to compute again, and several rows a point.
ADDED = """
    CREATE TABLE codes (code TEXT PRIMARY KEY, files TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE redo (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE tables (id TEXT PRIMARY KEY, rows BLOB NOT NULL)
"""
TABLES = f"""
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    {SOURCES};
    CREATE TABLE schemas (number INTEGER PRIMARY KEY, names TEXT, kinds TEXT, UNIQUE (names, kinds));
    CREATE TABLE points (point_index INTEGER PRIMARY KEY, {COLUMNS});
    CREATE TABLE former (params TEXT NOT NULL, replicate INTEGER NOT NULL, {COLUMNS}, PRIMARY KEY (id)) WITHOUT ROWID;
    {ADDED}
"""
FIELDS = "id, seed, status, attempts, infra_losses, started, duration_s, source, schema, metrics, error_type, error"


def create(db: sqlite3.Connection) -> None:
    """Make the tables of an empty ledger, within the caller's transaction."""
    _execute(db, TABLES)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring an older version's tables up to date, within the caller's transaction; every row stays."""
    if version < 2:
        db.execute("ALTER TABLE sources RENAME TO older_sources")
        db.execute(SOURCES)
        db.execute("INSERT INTO sources SELECT number, worker, git_commit, env_hash, NULL FROM older_sources")
        db.execute("DROP TABLE older_sources")
        _execute(db, ADDED)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _execute(db: sqlite3.Connection, statements: str) -> None:
    # executescript would commit first, and after each statement.
    for statement in statements.split(";\n"):
        if statement.strip():
            db.execute(statement)


def examine(path: Path) -> None:
    """Refuse a file that is not a complete ledger, without changing it. Raises UsageError."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
            size = file.seek(0, 2)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if size == 0:
        return  # killed between making the file and writing to it
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise UsageError(f"{path} is not a ledger: it starts differently. {REMEDY}")
    page = int.from_bytes(header[16:18], "big")
    promised = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < promised and not _whole_with_its_log(path):
        raise UsageError(f"{path} is truncated: it has {size:,} bytes, and its header says {promised:,}. {REMEDY}")
    version, changes = int.from_bytes(header[60:64], "big"), int.from_bytes(header[40:44], "big")
    check_version(path, version)
    # A file of ours that has no version yet has no table either.
    if (version or changes) and int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise UsageError(f"{path} is a database of another program. {REMEDY}")


def check_version(path: Path, version: int) -> None:
    """Refuse a ledger that a newer version wrote. Raises UsageError."""
    if version > VERSION:
        raise UsageError(
            f"{path} was written by a newer sweepfleet (ledger version {version}; this one knows {VERSION}). "
            "It was not changed. Update sweepfleet: git pull && uv sync"
        )


def _whole_with_its_log(path: Path) -> bool:
    """Whether the write-ahead log has the pages that the file lacks, as after a kill during a checkpoint."""
    wal = path.with_name(path.name + "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return False
    try:
        # Read-only: an ordinary connection would write the log into the file when it is closed.
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False
