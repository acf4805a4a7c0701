"""`inv rm`: what it says goes, goes, and nothing else; never while the run is written, never unasked."""

from __future__ import annotations

import contextlib
from pathlib import Path

import polars as pl
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.run import outputs
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.forget import remove, to_remove
from sweepfleet.run.ledger import Counts, Ledger
from sweepfleet.slot.output import Printed
from tests.command import Project
from tests.support import batches, space

HERE = space({"a": range(6)})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Points 0 to 3 are done, 4 failed; all wrote 1,000 bytes and printed."""
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.path.mkdir(parents=True)
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(HERE)
        points = [HERE.point(index) for index in range(5)]
        rows = [(point, ValueError("no") if point.index == 4 else {"x": point.index * 0.5}) for point in points]
        ledger.record(batches(rows), git_commit=None, env_hash=None)
    for point in points:
        (folder.artifacts / point.id).mkdir(parents=True)
        (folder.artifacts / point.id / "model.bin").write_bytes(bytes(1000))
    with contextlib.closing(outputs.Outputs(folder.output)) as kept:
        kept.record([outputs.Attempt(point.id, 1.0, point.index == 4, Printed(b"text").pack()) for point in points])
    return folder


def test_rows_go_with_all_that_is_theirs(folder: RunFolder) -> None:
    """From ledger, tables, report, artifacts and what was printed; the points are to be run again."""
    removal = to_remove(folder, where="status == 'failed' or x >= 1")
    assert (removal.done, removal.failed, removal.rest, removal.size) == (2, 1, 2, 3000)
    assert "3 rows (2 done, 1 failed)" in str(removal)
    assert "1 row (0 done, 1 failed)" in str(to_remove(folder, where="status == 'failed'"))
    before = folder.report.stat().st_mtime_ns
    remove(removal)
    stay = [HERE.point(0).id, HERE.point(1).id]
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        assert ledger.counts() == Counts(2, 0)
        assert ledger.ended_from(0, limit=9) == [0, 1]
    assert pl.read_parquet(folder.parquet)["point_id"].to_list() == stay
    assert folder.report.stat().st_mtime_ns > before
    assert sorted(path.name for path in folder.artifacts.iterdir()) == sorted(stay)
    with contextlib.closing(outputs.Outputs(folder.output, readonly=True)) as kept:
        assert [bool(kept.of(HERE.point(index).id)) for index in range(5)] == [True, True, False, False, False]


def test_a_whole_run_goes_and_its_neighbours_stay(folder: RunFolder) -> None:
    other = folder.path.with_name("two")
    other.mkdir()
    removal = to_remove(folder, where=None)
    assert (removal.done, removal.failed) == (4, 1)
    remove(removal)
    assert list(folder.path.parent.iterdir()) == [other]


@pytest.mark.parametrize("where", [None, "x > 0"])
def test_a_run_that_is_being_written_is_left_alone(folder: RunFolder, where: str | None) -> None:
    removal = to_remove(folder, where=where)
    with folder.locked():
        with pytest.raises(UsageError, match="is being written"):
            to_remove(folder, where=where)
        with pytest.raises(UsageError, match="is being written"):
            remove(removal)
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        assert ledger.counts() == Counts(4, 1)


@pytest.mark.parametrize("where", ["x > 99", "y > 0", "x >"])
def test_a_condition_that_means_no_row_is_refused(folder: RunFolder, where: str) -> None:
    with pytest.raises(UsageError):
        to_remove(folder, where=where)


def test_nothing_goes_unasked(folder: RunFolder, tmp_path: Path) -> None:
    """Without a terminal and without --yes it is refused, and a name has to be given."""
    project = Project(tmp_path)
    assert "Which run" in project.inv("rm", code=2).stderr
    refused = project.inv("rm", "--name", "one", code=2)
    assert "5 rows" in refused.stdout
    assert "nothing was removed" in refused.stderr
    assert folder.ledger.exists()
    project.inv("rm", "one", "--where", "status == 'failed'", "--yes")
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        assert ledger.counts() == Counts(4, 0)
    assert "no run 'none'" in project.inv("rm", "none", "--yes", code=2).stderr
    project.inv("rm", "one", "--yes")
    assert not folder.path.exists()
