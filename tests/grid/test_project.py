"""Which project a grid belongs to, and where the programs of W&B's sweep files are looked for and run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sweepfleet.grid.load import load
from sweepfleet.grid.project_root import project_around
from sweepfleet.run.project import project_of
from tests.command import Project

SWEEP = "program: train.py\nmethod: grid\nname: w\nparameters: {a: {values: [1, 2]}}\n"
TRAIN = "import json, os\nprint(json.dumps({'cwd': os.getcwd(), 'file': os.path.abspath(__file__)}))\n"


def tree(root: Path, *files: str) -> Path:
    """Files below a folder, each a sweep or a program by its name; returns the sweep file."""
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SWEEP if name.endswith(".yaml") else TRAIN if name.endswith(".py") else "")
    return next(root / name for name in files if name.endswith(".yaml"))


@pytest.mark.parametrize(
    ("files", "here", "project"),
    [
        (("home/sweeps/s.yaml",), ".", "home"),
        (("p/pyproject.toml", "p/a/sweeps/s.yaml", "p/a/sweeps/train.py"), ".", "p"),
        (("p/.git/HEAD", "p/a/sweeps/s.yaml"), ".", "p"),
        (("p/pyproject.toml", "p/q/.git/HEAD", "p/q/sweeps/s.yaml"), ".", "p/q"),
        (("p/sweeps/s.yaml", "p/train.py"), "p", "p"),
        (("p/sweeps/s.yaml", "p/train.py"), "elsewhere", "p"),
        (("p/sweeps/s.yaml", "p/sweeps/train.py", "p/train.py"), "p", "p"),
        (("p/sweeps/s.yaml", "p/sweeps/train.py", "p/train.py"), "elsewhere", "p/sweeps"),
        (("p/sweeps/s.yaml", "p/train.py", "elsewhere/train.py"), "elsewhere", "p"),
        (("p/sweeps/s.yaml", "elsewhere/train.py"), "elsewhere", "elsewhere"),
        (("p/sweeps/s.yaml",), "elsewhere", "p/sweeps"),
    ],
)
def test_the_project_of_a_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], here: str, project: str
) -> None:
    source = tree(tmp_path, *files)
    (tmp_path / here).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / here)
    assert project_of(load(source), home=tmp_path / "home") == tmp_path / project


OURS = "[tool.sweepfleet]\n"


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({}, None),
        ({"a/b/pyproject.toml": ""}, "a/b"),
        ({"a/pyproject.toml": OURS, "a/b/pyproject.toml": ""}, "a"),
        ({"a/pyproject.toml": OURS, "a/b/pyproject.toml": "[tool.sweepfleet.more]\n"}, "a/b"),
        ({"a/pyproject.toml": "", "a/b/.git": "gitdir: elsewhere"}, "a/b"),
        ({"a/pyproject.toml": OURS, "a/b/.git": "gitdir: elsewhere"}, "a/b"),
        ({"a/.git/HEAD": "", "a/b/pyproject.toml": "[tool.other]\nabout = '[tool.sweepfleet]'\n"}, "a/b"),
        ({"a/.git/HEAD": "", "a/pyproject.toml": OURS, "a/b/c/pyproject.toml": ""}, "a"),
        ({"a/.git/HEAD": ""}, "a"),
    ],
)
def test_the_project_around_a_folder(tmp_path: Path, files: dict[str, str], root: str | None) -> None:
    """What says so outright, else the nearest pyproject.toml, else the repository; nothing outside of that."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True, exist_ok=True)
    assert project_around(tmp_path / "a" / "b" / "c") == (root and tmp_path / root)


def ran(source: Path, here: Path, *, code: int | None = 0) -> Project:
    project = Project(here)
    project.inv("sweep", "--grid", str(source), code=code)
    return project


@pytest.fixture
def python_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("python_on_the_path")
@pytest.mark.parametrize("here", ["p", "elsewhere"])
def test_a_program_of_the_projects_root_is_found_from_everywhere(tmp_path: Path, here: str) -> None:
    source = tree(tmp_path, "p/sweeps/s.yaml", "p/train.py")
    (tmp_path / here).mkdir(exist_ok=True)
    table = ran(source, tmp_path / here).table("w")
    assert set(table["metric.cwd"]) == {str(tmp_path / "p")}


@pytest.mark.usefixtures("python_on_the_path")
def test_a_program_beside_its_sweep_file_runs_from_the_projects_root(tmp_path: Path) -> None:
    source = tree(tmp_path, "p/pyproject.toml", "p/sweeps/s.yaml", "p/sweeps/train.py")
    table = ran(source, tmp_path).table("w")
    assert set(table["metric.cwd"]) == {str(tmp_path / "p")}
    assert set(table["metric.file"]) == {str(tmp_path / "p" / "sweeps" / "train.py")}


@pytest.mark.usefixtures("python_on_the_path")
def test_a_program_in_neither_place_is_refused_before_anything_runs(tmp_path: Path) -> None:
    source = tree(tmp_path, "p/pyproject.toml", "p/sweeps/s.yaml")
    said = Project(tmp_path).inv("sweep", "--grid", str(source), code=2).stderr
    assert f"there is no train.py in {tmp_path}/p and {tmp_path}/p/sweeps" in said
    assert not (tmp_path / "runs" / "w" / "results.parquet").exists()


@pytest.mark.usefixtures("python_on_the_path")
def test_what_a_program_of_the_root_has_computed_is_stale_once_it_is_edited(tmp_path: Path) -> None:
    """Where no mark tells the root, too, and whatever has its name beside the sweep file."""
    source = tree(tmp_path, "p/sweeps/s.yaml", "p/train.py", "p/sweeps/train.py")
    project = ran(source, tmp_path / "p")
    redo = ("sweep", "--grid", str(source), "--json", "--redo", "stale")
    assert json.loads(project.inv(*redo).stdout)["computed"] == 0
    (tmp_path / "p" / "sweeps" / "train.py").write_text("# edited, and runs nowhere")
    assert json.loads(project.inv(*redo).stdout)["computed"] == 0
    (tmp_path / "p" / "train.py").write_text(TRAIN + "# edited")
    assert json.loads(project.inv(*redo).stdout)["computed"] == 2


FIT = "import os\ndef fit(a, project_dir): return {'at': os.getcwd(), 'p': str(project_dir)}\n"
SAY = """\
import json, os
print(json.dumps({'at': os.getcwd(), 'p': os.environ['SWEEPFLEET_PROJECT']}))
"""


@pytest.mark.parametrize("target", ["run: fit:fit", f"command: [{sys.executable}, say.py]"])
def test_every_target_starts_in_the_grids_folder_wherever_the_command_is_given(tmp_path: Path, target: str) -> None:
    """As `--test-point` does."""
    home = tmp_path / "p"
    home.mkdir()
    (home / "fit.py").write_text(FIT)
    (home / "say.py").write_text(SAY)
    (home / "g.yaml").write_text(f"{target}\nparameters: {{a: [1]}}\n")
    table = ran(home / "g.yaml", tmp_path).table("g")
    assert (table["metric.at"][0], table["metric.p"][0]) == (str(home), str(home))
    one = Project(tmp_path).inv("sweep", "--grid", str(home / "g.yaml"), "--test-point", "0").stdout
    assert f'"at": "{home}"' in one
