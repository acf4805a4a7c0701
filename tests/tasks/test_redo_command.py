"""`inv sweep` with `--where` and `--redo`, as a user gives them: what is computed, what stays, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import Project

GRID = "# mine\nname: w\nrun: fit:fit\nparameters: {a: [1, 2, 3, 4, 5, 6]}\n"
CODE = """\
def fit(a):
    if a in BAD:
        raise ValueError(a)
    return {{'y': a, 'version': {version}}}
BAD = {bad}
"""


def code(version: int, bad: tuple[int, ...] = ()) -> str:
    return CODE.format(version=version, bad=bad)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path).write(GRID, code(1, (2, 5)))


def versions(project: Project) -> list[tuple[int, int | None]]:
    """Of every row, in the grid's order: the parameter, and the version that computed it; None: it failed."""
    return project.table("w").sort("param.a").select("param.a", "metric.version").rows()


def test_where_computes_a_part_and_keeps_the_rest(project: Project) -> None:
    """In tables and ledger, with the file's own grid; a note says what has not run, and it ends with 0."""
    summary = json.loads(project.sweep("--json", "--where", "a > 2", "--where", "a != 5").stdout)
    assert (summary["state"], summary["done"], summary["points"]) == ("partial", 3, 6)
    assert any("3 of the grid have not run" in note for note in summary["notes"])
    assert "partial" in project.inv("runs").stdout
    assert (project.runs / "w" / "grid.yaml").read_text() == GRID
    summary = json.loads(project.sweep("--json", "--where", "a == 1").stdout)
    assert versions(project) == [(1, 1), (3, 1), (4, 1), (6, 1)]
    assert not any("no longer in the grid" in note for note in summary["notes"])
    project.sweep(code=1)
    assert [a for a, _ in versions(project)] == [1, 2, 3, 4, 5, 6]
    (project.path / "fit.py").write_text(code(2))
    summary = json.loads(project.sweep("--json", "--retry-failed", "--where", "a < 4").stdout)
    assert (summary["computed"], summary["done"], summary["failed"]) == (1, 5, 1)
    assert versions(project) == [(1, 1), (2, 2), (3, 1), (4, 1), (5, None), (6, 1)]


def test_what_other_code_has_computed_is_computed_again(project: Project) -> None:
    """The stale rows, and no others; nothing is said of several codes then."""
    project.sweep("--where", "a < 4", code=1)
    (project.path / "fit.py").write_text(code(2, (5,)))
    project.sweep(code=1)
    assert versions(project) == [(1, 1), (2, None), (3, 1), (4, 2), (5, None), (6, 2)]
    assert "3 have ended" in project.sweep("--preview", "--redo", "stale").stdout
    summary = json.loads(project.sweep("--json", "--redo", "stale", code=1).stdout)
    assert (summary["computed"], summary["resumed"]) == (3, 2)
    assert versions(project) == [(1, 2), (2, 2), (3, 2), (4, 2), (5, None), (6, 2)]
    assert not any("code" in note for note in summary["notes"])
    assert json.loads(project.sweep("--json", "--redo", "stale", code=1).stdout)["computed"] == 0
    project.sweep("--redo", "done", "--where", "a == 6")
    assert "Use done, failed, stale or all" in project.sweep("--redo", "every", code=2).stderr
    assert "Remove one" in project.sweep("--redo", "all", "--retry-failed", code=2).stderr
