"""The runs that are here: their state is the ledger's, whatever happened to their driver."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.run_files import write_files
from sweepfleet.run.runs import Listed, find, listed, metric_of, refresh
from sweepfleet.run.summary import Facts
from tests.support import batches, space

WIDE = 30_000  # more points than are counted one by one


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    path = tmp_path / "runs" / "mine"
    path.mkdir(parents=True)
    return RunFolder(path)


def counted() -> Space:
    return space({"a": range(10)})


def estimated() -> Space:
    here = space({"a": range(WIDE)}, where=("a % 10000 == 7",))
    assert not here.count().exact
    return here


def record(folder: RunFolder, here: Space, outcomes: dict[int, Any]) -> None:
    """What a driver leaves that is killed after these points."""
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(here)
        if outcomes:
            pairs = [(here.point(index), outcome) for index, outcome in outcomes.items()]
            ledger.record(batches(pairs), git_commit=None, env_hash=None)


def look(folder: RunFolder) -> Listed:
    (run,) = listed(folder.path.parent)
    return run


def facts(folder: RunFolder) -> tuple[Any, ...]:
    summary = read_json(folder.summary)
    return summary["state"], summary["done"], summary["points"], summary["points_exact"]


def test_a_killed_run_stays_interrupted_when_its_files_are_made(folder: RunFolder) -> None:
    """With all the plan's points in sight, not only those that ended; done once all have."""
    here = counted()
    record(folder, here, {0: 1.0, 1: 2.0})
    for always in (False, True, True):
        refresh(folder, always=always)
        assert facts(folder) == ("interrupted", 2, 10, True)
        assert (look(folder).state, look(folder).done, look(folder).points) == ("interrupted", 2, 10)
    record(folder, here, dict.fromkeys(range(2, 10), 1.0))
    refresh(folder)
    assert facts(folder) == ("done", 10, 10, True)
    assert look(folder).state == "done"


def test_a_killed_run_whose_points_cannot_be_counted_is_not_called_done(folder: RunFolder) -> None:
    here = estimated()
    record(folder, here, {7: 1.0})
    for _ in range(2):
        refresh(folder)
        state, done, points, exact = facts(folder)
        assert (state, done, exact) == ("interrupted", 1, False)
        assert points == max(1, here.count().points)
        assert (look(folder).state, look(folder).points_exact) == ("interrupted", False)
    record(folder, here, {10_007: 1.0, 20_007: ValueError("no")})
    assert look(folder).state == "interrupted", "nobody has looked for further points yet"
    refresh(folder)
    assert facts(folder) == ("failed", 2, 3, True)
    assert (look(folder).state, look(folder).points) == ("failed", 3)


def test_a_summary_of_an_earlier_grid_says_nothing_about_this_one(folder: RunFolder) -> None:
    """The grid grew, and the driver was killed before its first result: as many rows as when all was done."""
    here = estimated()
    record(folder, here, {7: 1.0, 10_007: 1.0, 20_007: 1.0})
    write_files(folder, Facts(metric=None))
    assert look(folder).state == "done"
    record(folder, space({"a": range(2 * WIDE)}, where=("a % 10000 == 7",)), {})
    assert look(folder).state == "interrupted"
    refresh(folder)
    assert facts(folder)[0] == "interrupted"
    assert look(folder).state == "interrupted"


def test_a_running_sweep_is_not_called_done(folder: RunFolder) -> None:
    here = estimated()
    with folder.locked():
        record(folder, here, {7: 1.0, 10_007: 1.0, 20_007: 1.0})
        refresh(folder)
        assert facts(folder)[0] == "interrupted", "who knows what its driver is about to do"
        assert look(folder).state.startswith("running (pid ")
    refresh(folder)
    assert facts(folder)[0] == "done"


def test_the_account_of_the_command_that_ran_stays(folder: RunFolder) -> None:
    """`inv report` makes files again; it does not claim the run for itself."""
    record(folder, counted(), dict.fromkeys(range(10), 1.0))
    write_files(folder, Facts(metric=None, warnings=("seen",)))
    before = folder.summary.read_text()
    folder.report.unlink()
    refresh(folder, always=True)
    assert folder.summary.read_text() == before
    assert folder.report.exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"points_exact": true}', '{"state": 3}', "\x00"])
def test_damaged_notes_beside_the_ledger_stop_nothing(folder: RunFolder, text: str) -> None:
    """The ledger is what counts; a summary is made again, a manifest is done without."""
    record(folder, estimated(), {7: 1.0})
    folder.manifest.write_text(text)
    folder.summary.write_text(text)
    assert (look(folder).state, look(folder).started) == ("interrupted", None)
    assert find(folder.path.parent, None) == folder
    assert metric_of(folder) is None
    refresh(folder, always=True)
    assert facts(folder)[0] == "interrupted"
    assert pl.read_parquet(folder.parquet).height == 1


@pytest.mark.parametrize("metric", [3, "rmse", [], ["rmse"], ["rmse", "best"], [1, "minimize"], {"name": "rmse"}])
def test_a_manifest_of_other_shapes_names_no_metric_and_no_time(folder: RunFolder, metric: Any) -> None:
    record(folder, counted(), {0: 1.0})
    folder.manifest.write_text(json.dumps({"metric": metric, "started": "today"}))
    assert metric_of(folder) is None
    assert look(folder).started is None
    assert find(folder.path.parent, None) == folder
    folder.manifest.write_text(json.dumps({"metric": ["rmse", "maximize"], "started": 3.5}))
    assert (metric_of(folder), look(folder).started) == (Metric("rmse", "maximize"), 3.5)


def test_a_run_that_cannot_be_read_does_not_hide_the_others(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the ledger's place, another file, and a disk that fails: each is listed with what is wrong."""
    record(folder, counted(), {0: 1.0})
    runs = folder.path.parent
    (runs / "directory" / "ledger.sqlite").mkdir(parents=True)
    (runs / "text").mkdir()
    (runs / "text" / "ledger.sqlite").write_text("hello" * 100)
    (runs / "failing").mkdir()
    (runs / "a file").touch()
    (runs / "failing" / "ledger.sqlite").write_bytes(folder.ledger.read_bytes())
    (runs / "failing" / "ledger.sqlite-wal").mkdir()  # SQLite cannot open it
    found = {run.folder.name: run for run in listed(runs)}
    assert {name: run.state for name, run in found.items()} == {
        "directory": "unreadable",
        "failing": "unreadable",
        "text": "unreadable",
        "mine": "interrupted",
    }
    assert "Is a directory" in found["directory"].problem
    assert "is not a ledger" in found["text"].problem


def test_a_file_in_place_of_the_folder_of_runs_is_named(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert list(listed(runs)) == []
    runs.write_text("")
    with pytest.raises(UsageError, match="is the folder for runs"):
        list(listed(runs))
    with pytest.raises(UsageError, match="is the folder for runs"):
        find(runs, None)
    with pytest.raises(UsageError):
        find(runs, "mine")
