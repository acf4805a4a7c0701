"""A run's folder belongs to one target of one project: it is never given another's rows, and goes where that goes."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.ownership import META, Owner, check_owner, owner_of
from tests.support import batches

GRID = "run: fit:fit\nparameters: {x: [1, 2, 3]}\n"


def written(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


Kind = dict[str, str | bool]


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def project(path: Path, *, name: str | None = None, repository: bool = False, code: str = "A = 1") -> Path:
    """A project with a grid in exp/; returns the grid."""
    grid = written(path / "exp" / "grid.yaml", GRID)
    written(path / "exp" / "fit.py", code)
    if name is not None:
        written(path / "pyproject.toml", f'[project]\nname = "{name}"\n')
    if repository:
        git(path, "init")
        git(path, "add", ".")
        git(path, "commit", "-m", f"first of {path.name}")
    return grid


def run(folder: RunFolder, grid: Path, *, root: Path, noted: bool = True) -> Owner:
    """As a sweep does before it runs anything; it then has a row."""
    sweep = load(grid)
    folder.path.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        owner = check_owner(folder, ledger, sweep, root=root)
        if noted:
            ledger.set_meta(META, owner.to_json())
        space = Space(sweep.plan)
        ledger.adopt(space)
        ledger.record(batches([(space.point(0), 1.0)]), git_commit=None, env_hash=None)
    return owner


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "exp")


@pytest.mark.parametrize("kind", [{}, {"name": "mine"}, {"repository": True}], ids=["folder", "pyproject", "git"])
def test_two_targets_of_one_name_are_kept_apart(
    folder: RunFolder, tmp_path: Path, kind: dict[str, str | bool]
) -> None:
    """In one project and in two: the second is refused with both named and a name that is free; nothing changes."""
    first = project(tmp_path / "a", **kind)  # type: ignore[arg-type]
    second = written(tmp_path / "a" / "more" / "exp" / "grid.yaml", GRID)
    written(second.parent / "fit.py", "A = 1")
    third = project(tmp_path / "b", **(kind | {"name": "yours"} if "name" in kind else kind))  # type: ignore[arg-type]
    run(folder, first, root=tmp_path)
    (folder.path.parent / "exp-2").mkdir()
    for grid, file in ((second, "fit.py"), (third, "fit.py")):
        with pytest.raises(UsageError) as refusal:
            run(folder, grid, root=tmp_path)
        said = str(refusal.value)
        assert file in said
        assert "--name exp-3" in said
        assert str(owner_of(load(grid), root=tmp_path)) in said
        assert str(owner_of(load(first), root=tmp_path)) in said
    run(folder, first, root=tmp_path)


@pytest.mark.parametrize("kind", [{"name": "mine"}, {"repository": True}], ids=["pyproject", "git"])
def test_a_clone_elsewhere_is_the_same_project(
    folder: RunFolder, tmp_path: Path, kind: dict[str, str | bool]
) -> None:
    """With other code and more commits, too: that is for `code` to tell."""
    first = project(tmp_path / "a", **kind)  # type: ignore[arg-type]
    run(folder, first, root=tmp_path)
    shutil.copytree(tmp_path / "a", tmp_path / "clone")
    written(tmp_path / "clone" / "exp" / "fit.py", "A = 2")
    if "repository" in kind:
        git(tmp_path / "clone", "commit", "-am", "second")
    run(folder, tmp_path / "clone" / "exp" / "grid.yaml", root=tmp_path)


def test_a_project_that_was_moved_as_a_whole_is_the_same(folder: RunFolder, tmp_path: Path) -> None:
    """Without Git and pyproject.toml: the old place is empty, and the target as it was."""
    project(tmp_path / "a")
    run(folder, tmp_path / "a" / "exp" / "grid.yaml", root=tmp_path)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(UsageError):
        run(folder, tmp_path / "copy" / "exp" / "grid.yaml", root=tmp_path)
    shutil.rmtree(tmp_path / "a")
    run(folder, tmp_path / "copy" / "exp" / "grid.yaml", root=tmp_path)
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    written(tmp_path / "moved" / "exp" / "fit.py", "A = 2")
    with pytest.raises(UsageError):
        run(folder, tmp_path / "moved" / "exp" / "grid.yaml", root=tmp_path)


def test_a_place_stays_the_same_whatever_its_project_is_called(folder: RunFolder, tmp_path: Path) -> None:
    """`git init`, a pyproject.toml and another name in it, later on."""
    grid = project(tmp_path / "a")
    run(folder, grid, root=tmp_path)
    for kind in ({"repository": True}, {"name": "one"}, {"name": "two"}):
        run(folder, project(tmp_path / "a", **kind), root=tmp_path)  # type: ignore[arg-type]


def test_another_grid_file_of_the_same_target_is_the_same(folder: RunFolder, tmp_path: Path) -> None:
    grid = project(tmp_path / "a", name="mine")
    run(folder, grid, root=tmp_path)
    run(folder, written(grid.with_name("more.yaml"), GRID), root=tmp_path)


def test_a_target_whose_file_has_another_name_is_another(folder: RunFolder, tmp_path: Path) -> None:
    grid = project(tmp_path / "a", name="mine")
    run(folder, grid, root=tmp_path)
    written(grid.with_name("fit2.py"))
    grid.write_text(GRID.replace("fit:fit", "fit2:fit"))
    with pytest.raises(UsageError, match=r"exp/fit\.py of mine.*exp/fit2\.py of mine"):
        run(folder, grid, root=tmp_path)


def test_a_folder_without_rows_is_anybodys(folder: RunFolder, tmp_path: Path) -> None:
    first, second = project(tmp_path / "a"), project(tmp_path / "b")
    folder.path.mkdir(parents=True)
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.set_meta(META, owner_of(load(first), root=tmp_path).to_json())
    run(folder, second, root=tmp_path)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("run: fit:fit", "exp/fit.py"),
        ("run: lib.deep.train:fit", "lib/deep/train.py"),
        ("run: lib:fit", "lib/__init__.py"),
        ("run: nowhere.at.all:fit", "exp/nowhere/at/all"),
        ("command: [Rscript, fit.R, '{x}']", "exp/fit.R"),
        ("command: [python, -m, lib.deep.train, '{x}']", "lib/deep/train.py"),
        ("command: [sh, -c, 'python lib/deep/train.py {x}']", "lib/deep/train.py"),
        ("command: [sh, -c, 'echo {x}']", "exp/grid.yaml"),
        ("method: grid\nprogram: both.py", "both.py"),
        ("command: [python, both.py]", "exp/both.py"),
        ("command: [/usr/bin/env, sh, both.py]", "exp/both.py"),
        ("command: [/bin/sh, -c, 'echo {x}']", "exp/grid.yaml"),
        ("command: [bin/fit, '{x}']", "exp/bin/fit"),
    ],
)
@pytest.mark.parametrize("home", [".", "home"], ids=["of the command's project", "of another"])
def test_where_a_target_is(tmp_path: Path, home: str, text: str, file: str) -> None:
    """In the grid's folder first, then in its project, W&B's the other way round; nothing is imported for it."""
    grid = project(tmp_path, name="mine")
    for each in ("exp/fit.R", "lib/__init__.py", "lib/deep/train.py", "both.py", "exp/both.py", "exp/bin/fit"):
        written(tmp_path / each, "raise SystemExit(1)")
    grid.write_text(f"{text}\nparameters: {{x: {{values: [1]}}}}\n")
    owner = owner_of(load(grid), root=tmp_path / home)
    assert (owner.project, owner.file) == ("mine", file)


@pytest.mark.parametrize(
    ("manifest", "refused"),
    [
        ({}, False),
        ({"grid": "a/exp/grid.yaml", "target": "fit:fit"}, False),
        ({"grid": "a/exp/grid.yaml", "target": "fit:other"}, False),
        ({"grid": "a/exp/other.yaml", "target": "fit:fit"}, False),
        ({"grid": "gone/exp/grid.yaml", "target": "fit:fit"}, False),
        ({"grid": "gone/exp/grid.yaml", "target": "other:fit"}, True),
        ({"grid": "b/exp/grid.yaml", "target": "fit:fit"}, True),
    ],
    ids=["no manifest", "same", "same file, other function", "other grid, same target", "moved", "gone", "another's"],
)
def test_a_run_of_an_older_version_is_taken_up_unless_it_says_that_it_is_anothers(
    folder: RunFolder, tmp_path: Path, manifest: dict[str, str], *, refused: bool
) -> None:
    grid = project(tmp_path / "a")
    project(tmp_path / "b")
    written(tmp_path / "a" / "exp" / "other.yaml", GRID)
    run(folder, grid, root=tmp_path, noted=False)
    with contextlib.closing(sqlite3.connect(folder.ledger)) as db:
        db.execute("DELETE FROM meta WHERE key = ?", (META,))
        db.commit()
    folder.manifest.write_text(json.dumps(manifest))
    if refused:
        with pytest.raises(UsageError, match="another target"):
            run(folder, grid, root=tmp_path)
    else:
        run(folder, grid, root=tmp_path)
