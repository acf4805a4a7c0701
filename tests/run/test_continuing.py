"""Checkpoints in a run's folder: found by the next attempt, whatever ended the one before, and gone with success."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from sweepfleet.grid.space import Space
from sweepfleet.run.checkpoints import Checkpoints, Folder
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.forget import remove, to_remove
from sweepfleet.run.ledger import Ledger
from tests.command import ROOT, Project, interrupt
from tests.support import batches, eventually, space

# Each attempt adds a line, which outlives it; the point ends once there is a file `go`, as each parameter says.
CODE = """\
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def fit(a, checkpoint_dir):
    file = checkpoint_dir / "attempts"
    with file.open("a") as opened:
        opened.write("x")
    seen = file.stat().st_size
    (HERE / f"began-{a}-{seen}").touch()
    if a == 1 and seen == 1:
        raise RuntimeError("the first attempt")
    if a == 2 and seen == 1:
        os.kill(os.getpid(), 9)
    if a == 3 and not (HERE / "healed").exists():
        raise RuntimeError("not yet")
    while a == 4 and not (HERE / "go").exists():
        time.sleep(0.01)
    return seen
"""
GRID = "name: n\nrun: fit:fit\nparameters: {a: [%s]}\nexecution: {retries: %d, bundle: 1}\n"


def project_of(folder: Path, points: str, *, retries: int = 0) -> Project:
    return Project(folder).write(GRID % (points, retries), CODE)


def values(project: Project) -> dict[int, float]:
    table = project.table("n").filter(status="done")
    return dict(zip(table["param.a"].to_list(), table["metric.value"].to_list(), strict=True))


def kept(project: Project) -> list[str]:
    return sorted(Folder(RunFolder(project.runs / "n").checkpoints).ids())


def test_a_retry_goes_on_from_it_and_it_goes_with_the_point(tmp_path: Path) -> None:
    """After an error, and after its process was killed; in the end the folder of checkpoints is gone."""
    project = project_of(tmp_path, "0, 1, 2", retries=1)
    project.sweep()
    assert values(project) == {0: 1, 1: 2, 2: 2}
    assert not RunFolder(project.runs / "n").checkpoints.exists()


def test_a_failed_point_keeps_it_for_the_next_command(tmp_path: Path) -> None:
    """`--retry-failed` goes on from it, as --preview says; `--redo all` starts from the beginning."""
    project = project_of(tmp_path, "0, 3")
    project.sweep(code=1)
    assert len(kept(project)) == 1
    assert "1 point to run will continue from a checkpoint." in project.sweep("--preview", "--retry-failed").stdout
    assert "checkpoint" not in project.sweep("--preview").stdout
    project.sweep("--redo", "all", code=1)
    assert not (tmp_path / "began-3-2").exists()
    (tmp_path / "healed").touch()
    project.sweep("--retry-failed")
    assert values(project) == {0: 1, 3: 2}
    assert kept(project) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_goes_on_from_it(tmp_path: Path, how: signal.Signals) -> None:
    """After Ctrl-C, and after the command was killed."""
    project = project_of(tmp_path, "4")
    for number in (1, 2):
        sweep = project.start("sweep", "--grid", str(project.grid))
        eventually((tmp_path / f"began-4-{number}").exists, "the point's start")
        if how is signal.SIGINT:
            interrupt(sweep)
        else:
            sweep.kill()
            sweep.communicate()
    assert "1 point to run will continue from a checkpoint." in project.sweep("--preview").stdout
    (tmp_path / "go").touch()
    summary = json.loads(project.sweep("--json").stdout)
    assert (summary["done"], summary["failed"]) == (1, 0)
    assert values(project) == {4: 3}
    assert kept(project) == []


HERE = space({"a": range(4)})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Points 0 and 1 are done, 2 failed, 3 has not ended; all have a checkpoint of 1,000 bytes."""
    folder = RunFolder(tmp_path / "runs" / "one")
    for index in range(4):
        place = folder.checkpoints / HERE.point(index).id
        place.mkdir(parents=True)
        (place / "model").write_bytes(bytes(1000))
    ledger = Ledger(folder.ledger)
    ledger.adopt(HERE)
    rows = [(HERE.point(index), ValueError("no") if index == 2 else {"x": 1.0}) for index in range(3)]
    ledger.record(batches(rows), git_commit=None, env_hash=None)
    ledger.close()
    return folder


def indexes(folder: RunFolder, of: Space = HERE) -> list[int]:
    ids = Folder(folder.checkpoints).ids()
    return [index for index in range(4) if of.point(index).id in ids]


def test_before_points_run_those_of_finished_ones_go(folder: RunFolder) -> None:
    """The command before was killed between the row and the removal. One that is computed again keeps its own."""
    ledger = Ledger(folder.ledger)
    ledger.redo([1])
    Checkpoints(Folder(folder.checkpoints), ledger).begin()
    assert indexes(folder) == [1, 2, 3]
    Checkpoints(Folder(folder.checkpoints), ledger).begin(again=[2])
    assert indexes(folder) == [1, 3]
    ledger.close()


def test_they_go_with_the_rows_that_are_removed(folder: RunFolder) -> None:
    removal = to_remove(folder, where="status == 'failed'")
    assert removal.size == 1000
    assert "of artifacts and checkpoints" in str(removal)
    remove(removal)
    assert indexes(folder) == [0, 1, 3]


# The example's own training, whose process dies right after each of its first five checkpoints.
DYING = """\
import os
from pathlib import Path

from examples.digits import sgd

DEATHS = Path(__file__).with_name("deaths")
checkpoint = sgd.sf.checkpoint

def die():
    checkpoint()
    died = len(DEATHS.read_text())
    if died < 5:
        DEATHS.write_text("x" * (died + 1))
        os.kill(os.getpid(), 9)

sgd.sf.checkpoint = die

def fit(seed, checkpoint_dir, **parameters):
    return sgd.fit(**parameters, seed=seed, checkpoint_dir=checkpoint_dir)
"""
SGD = "name: sgd\nrun: fit:fit\nparameters: {alpha: [0.0001], rate: [0.01], epochs: [60]}\n"


def test_a_fit_that_is_interrupted_five_times_ends_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit those of a fit that was left alone."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    project = Project(tmp_path).write(SGD, DYING)
    (tmp_path / "deaths").write_text("")
    rows = []
    for name in ("interrupted", "alone"):
        project.sweep("--name", name)
        assert (tmp_path / "deaths").read_text() == "x" * 5
        (row,) = project.table(name).to_dicts()
        rows.append({key: value for key, value in row.items() if key.startswith("metric.") or key == "seed"})
        assert row["infra_losses"] == (5 if name == "interrupted" else 0)
    assert rows[0] == rows[1]
    assert 0.9 < rows[0]["metric.accuracy"] < 1
