"""The ledger of a run of calls: what it refuses."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.calls.ledger import VERSION, CallLedger


@pytest.mark.parametrize("version", [0, VERSION, VERSION + 1])
def test_another_programs_database_is_refused_and_not_changed(tmp_path: Path, version: int) -> None:
    """Most programs leave user_version at 0, or have a 1 of their own."""
    path = tmp_path / "calls.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE photos (name TEXT)")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another program"):
        CallLedger(path)
    assert path.read_bytes() == before


def test_a_newer_ledger_is_refused_and_not_changed(tmp_path: Path) -> None:
    """What a later version wrote may mean something else."""
    path = tmp_path / "calls.sqlite"
    CallLedger(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="newer sweepfleet"):
        CallLedger(path)
    assert path.read_bytes() == before


def test_its_own_ledger_is_opened_again(tmp_path: Path) -> None:
    """With nothing in it, too."""
    path = tmp_path / "calls.sqlite"
    CallLedger(path).close()
    with contextlib.closing(CallLedger(path)) as again:
        assert again.counts() == {}
