"""Installed in a project of anybody's shape, with modules of any name, the package is in nobody's way."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import say, sweepfleet

pytest_plugins = ["tests.installed"]
FIT = "def fit(a):\n    return {{'loss': {expression}}}\n"
ROOMS = ("account", "cli", "fleet", "grid", "infra", "machine", "pipeline", "run", "slot", "tasks", "worker")
PYPROJECT = "[project]\nname = '{name}'\nversion = '1'\n"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def grid(target: str) -> str:
    return f"name: g\nrun: {target}:fit\nparameters: {{a: [1, 2, 3]}}\nmetric: {{name: loss, goal: minimize}}\n"


@contextmanager
def installed(tools: Path, source: Path) -> Iterator[None]:
    """A user's own package in the environment, editable, as `uv sync` has it there."""
    link = next((tools.parent / "lib").glob("python*/site-packages")) / "_theirs.pth"
    link.write_text(f"{source}\n")
    try:
        yield
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "module") for name in ("worker", "grid", "tasks", "infra", "run", "slot")), ("grid", "package")],
)
def test_a_target_may_have_the_name_of_any_of_our_rooms(tools: Path, tmp_path: Path, name: str, kind: str) -> None:
    """And a helper, too: it imports one that has the name of the next room."""
    helper = ROOMS[(ROOMS.index(name) + 1) % len(ROOMS)]
    code = f"import {helper}\n" + FIT.format(expression=f"{helper}.squared(a)")
    place = f"{name}.py" if kind == "module" else f"{name}/__init__.py"
    put(tmp_path, {place: code, f"{helper}.py": "def squared(a):\n    return a * a\n", "g.yaml": grid(name)})
    assert "Best loss: 1 at a=1" in sweepfleet(tools, tmp_path, "sweep", "g.yaml")


def test_the_tasks_file_may_be_the_target(tools: Path, tmp_path: Path) -> None:
    """invoke has loaded it under that name; the points load it in a process of their own."""
    code = "from sweepfleet.tasks import ns\n\n" + FIT.format(expression="a * a")
    put(tmp_path, {"pyproject.toml": PYPROJECT.format(name="x"), "tasks.py": code, "sweeps/g.yaml": grid("tasks")})
    assert "Best loss: 1 at a=1" in say([tools / "inv", "sweep", "g.yaml"], tmp_path / "sweeps")


def test_a_package_in_src_is_found(tools: Path, tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT.format(name="theirs"),
            "src/theirs/__init__.py": "",
            "src/theirs/grid.py": "from theirs.run import squared\n" + FIT.format(expression="squared(a)"),
            "src/theirs/run.py": "def squared(a):\n    return a * a\n",
            "sweeps/g.yaml": grid("theirs.grid"),
        },
    )
    with installed(tools, tmp_path / "src"):
        assert "Best loss: 1 at a=1" in sweepfleet(tools, tmp_path, "sweep", "sweeps/g.yaml")
    assert (tmp_path / "runs" / "g").is_dir()


@pytest.mark.parametrize("marked", [True, False])
def test_a_member_of_a_workspace_is_a_project(tools: Path, tmp_path: Path, *, marked: bool) -> None:
    """The one that the grid is in, with or without a table of ours; the others and the workspace get nothing."""
    table = "[tool.sweepfleet]\n" if marked else ""
    members = tmp_path / "packages"
    put(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT.format(name="whole") + "[tool.uv.workspace]\nmembers = ['packages/*']\n",
            "packages/one/pyproject.toml": PYPROJECT.format(name="one") + table,
            "packages/one/src/one/__init__.py": FIT.format(expression="a * a"),
            "packages/one/sweeps/g.yaml": grid("one"),
            "packages/two/pyproject.toml": PYPROJECT.format(name="two"),
        },
    )
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with installed(tools, members / "one" / "src"):
        for place in (tmp_path, members / "two"):
            sweepfleet(tools, place, "sweep", str(members / "one" / "sweeps" / "g.yaml"))
    assert "g    done      3" in sweepfleet(tools, members / "one" / "src", "runs")
    assert [path.parent for path in sorted(tmp_path.rglob("runs"))] == [members / "one"]


@pytest.mark.parametrize("settings", ["pyproject.toml", ""])
def test_a_project_in_a_folder_of_its_repository_is_that_folder(tools: Path, tmp_path: Path, settings: str) -> None:
    """Where it has settings; else the repository."""
    project = tmp_path / "analysis"
    put(project, {"fit.py": FIT.format(expression="a * a"), "sweeps/g.yaml": grid("fit")})
    if settings:
        put(project, {settings: PYPROJECT.format(name="analysis")})
    else:
        put(tmp_path, {"fit.py": FIT.format(expression="a * a")})
    put(tmp_path, {"grid.py": "raise SystemExit('not this')\n", "run.py": "raise SystemExit('not this')\n"})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert "Best loss: 1 at a=1" in sweepfleet(tools, tmp_path, "sweep", "analysis/sweeps/g.yaml")
    assert [path.parent for path in tmp_path.rglob("runs")] == [project if settings else tmp_path]


NOTEBOOK = """
import sys
sys.path.insert(0, "")  # as a notebook's kernel has it
import sweepfleet
from sweepfleet.cli import main
sys.argv = ["sweepfleet", "sweep", "../sweeps/g.yaml"]
main()
"""


def test_a_notebook_may_have_modules_of_our_names_beside_it(tools: Path, tmp_path: Path) -> None:
    """Its folder comes first on its path; ours are in our package, and theirs are never run."""
    put(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT.format(name="x"),
            "notebooks/first.ipynb": "{}",
            **{f"notebooks/{name}.py": "raise SystemExit('run')\n" for name in ROOMS},
            "sweeps/g.yaml": grid("fit"),
            "fit.py": FIT.format(expression="a * a"),
        },
    )
    said = say([tools / "python", "-c", NOTEBOOK], tmp_path / "notebooks")
    assert "Best loss: 1 at a=1" in said
    assert (tmp_path / "runs" / "g").is_dir()


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != ".lock"}  # uv's own


def test_uninstalling_leaves_an_environment_as_it_was(wheel: Path, tmp_path: Path) -> None:
    """With what running it has written beside its files; of the user's project, the runs stay."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv on PATH")
    environment = tmp_path / "environment"
    subprocess.run(
        [uv, "venv", "-q", "--offline", "--python", shutil.which("python") or "python3", environment], check=True
    )
    site = next((environment / "lib").glob("python*/site-packages"))
    put(site, {"grid.py": "theirs = True\n", "worker/__init__.py": "theirs = True\n"})
    before = listing(environment)
    for words in (["install", "--offline", "--no-deps", str(wheel)], ["uninstall", "sweepfleet"]):
        subprocess.run(
            [uv, "pip", words[0], "-q", "--python", environment / "bin" / "python", *words[1:]], check=True
        )
        if words[0] == "install":
            say([environment / "bin" / "python", "-c", "import sweepfleet, sweepfleet.grid.plan"], tmp_path)
            added = {name.partition("site-packages/")[2].partition("/")[0] for name in listing(environment) - before}
            assert {name for name in added if name and not name.endswith(".dist-info")} == {"sweepfleet"}
            assert (environment / "bin" / "sweepfleet").exists()
    assert listing(environment) == before
