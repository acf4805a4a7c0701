"""The files that people read: of the last command, of one commit, and without what nobody can use."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweepfleet.grid.load import load
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.provenance import provenance
from sweepfleet.run.runs import find
from tests.command import Project
from tests.support import batches, space

GRID = "name: twice\nrun: fit:fit\nparameters: {a: [1, 2]}\nmetric: {name: loss, goal: minimize}\n"
CODE = "def fit(a):\n    return {'loss': a, 'gain': -a}\n"
FULL = """\
import resource, sys
from pathlib import Path
from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.runs import refresh
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: as on a full disk
try:
    refresh(RunFolder(Path(sys.argv[1])), always=True)
except SweepfleetError as error:
    sys.stderr.write(f"clear: {error}")
"""


def one_row(path: Path) -> RunFolder:
    folder, here = RunFolder(path), space({"a": [1]})
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(here)
        ledger.record(batches([(here.point(0), 1.0)]), git_commit=None, env_hash=None)
    return folder


def test_a_command_that_finds_nothing_left_is_still_the_last_one(tmp_path: Path) -> None:
    """Its metric and its grid are those of the files, and `inv results` means its run."""
    project = Project(tmp_path).write(GRID, CODE)
    project.sweep()
    project.sweep("--name", "other")
    assert find(project.runs, None).name == "other"
    changed = GRID.replace("loss, goal: minimize", "gain, goal: minimize")
    project.write(changed)
    assert "Nothing is left to run" in project.sweep().stdout
    folder = find(project.runs, None)
    assert folder.name == "twice"
    assert folder.grid.read_text() == changed
    manifest = read_json(folder.manifest)
    assert manifest["metric"] == {"name": "gain", "goal": "minimize", "over": []}
    assert [each["metric"]["name"] for each in manifest["history"]] == ["loss"]
    best = json.loads(project.inv("results", "--best", "1", "--json").stdout)
    assert best["metric.gain"] == -2


def test_files_that_cannot_be_written_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    """A full disk: no traceback, and nothing half-made beside the ledger."""
    folder = one_row(tmp_path)
    command = [sys.executable, "-c", FULL, str(folder.path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert said.startswith(f"clear: {folder.path}"), said
    assert "Make room" in said
    assert {path.name.partition("-")[0] for path in folder.path.iterdir()} == {"ledger.sqlite"}


TABLES_FULL = """
import resource, sys
from pathlib import Path
from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.run_files import write_files_from, space_of
from sweepfleet.run.summary import Facts
folder = RunFolder(Path(sys.argv[1]))
ledger = Ledger(folder.ledger, readonly=True)
space = space_of(folder, ledger)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    write_files_from(ledger, space, folder, Facts(metric=None))
except SweepfleetError as error:
    sys.stderr.write(f"clear: {error}")
"""


@pytest.mark.parametrize("limit", [100, 1000, 10_000], ids=["tables", "footer", "report"])
def test_a_disk_that_fills_up_while_tables_are_made_is_an_error_with_a_remedy(tmp_path: Path, limit: int) -> None:
    """polars says it as a ComputeError, Python as an OSError."""
    folder = one_row(tmp_path)
    command = [sys.executable, "-c", TABLES_FULL, str(folder.path), str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert said.startswith(f"clear: {folder.path} cannot be written: File too large"), said
    assert "Make room" in said
    assert "Traceback" not in said


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_a_target_that_was_never_added_makes_the_commit_a_dirty_one(tmp_path: Path) -> None:
    """New files beside the target count, changes anywhere too; not the grid, runs, or what Python writes."""
    folder = tmp_path / "grids"
    folder.mkdir()
    git(tmp_path, "init")
    (folder / "grid.yaml").write_text("run: fit:fit\nparameters: {a: [1]}\n")
    (folder / "fit.py").write_text(CODE)
    (tmp_path / "shared.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")

    def mark() -> bool:
        sweep = load(folder / "grid.yaml")
        ran = provenance(sweep, root=tmp_path, command_line="inv sweep", runs=folder / "runs")
        assert ran.commit_mark is not None
        assert ran.commit_mark.endswith("-dirty") == ran.git_dirty
        return bool(ran.git_dirty)

    assert not mark()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "fit.pyc").write_text("")
    (folder / "runs" / "exp").mkdir(parents=True)
    (folder / "runs" / "exp" / "results.csv").write_text("")
    (folder / "grid.yaml").write_text("run: fit:fit\nparameters: {a: [1, 2]}\n")
    (tmp_path / "notes.txt").write_text("")
    assert not mark()
    (folder / "helper.py").write_text(CODE)
    assert mark()
    git(tmp_path, "add", "grids/helper.py")
    git(tmp_path, "commit", "-m", "second")
    assert not mark()
    (tmp_path / "shared.py").write_text("x = 1")
    assert mark()


def test_a_target_in_no_repository_has_no_commit(tmp_path: Path) -> None:
    """Not that of the grid's folder, when it is an installed module."""
    git(tmp_path, "init")
    (tmp_path / "grid.yaml").write_text("run: json:dumps\nparameters: {obj: [1]}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    ran = provenance(load(tmp_path / "grid.yaml"), root=tmp_path, command_line="", runs=tmp_path / "runs")
    assert (ran.git_commit, ran.git_dirty, ran.commit_mark) == (None, None, None)
