"""Commands that are proposed can be typed as they stand, whatever the user has put our tasks into."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweepfleet.tasks import ns
from sweepfleet.tasks.called import collection_of, renamer
from tests.command import DEADLINE_S

TASKS = (
    "from invoke.collection import Collection\nfrom invoke.tasks import task\n"
    "from sweepfleet.tasks import ns as sweepfleet_ns\n\n"
    "@task\ndef sweep(c):\n    '''Sweep the floor.'''\n    print('swept')\n\n"
    "ns = Collection(sweep)\nns.add_collection(sweepfleet_ns, 'fleet')\n"
)
GRID = "run: fit:fit\nparameters: {a: [0, 1, 2]}\nmetric: {name: loss, goal: minimize}\n"
FIT = "def fit(a):\n    return {'loss': 1 / a}\n"
OURS = "|".join(sorted(map(re.escape, ns.task_names), key=len, reverse=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sweep, below a project whose tasks.py has ours in a collection of its own."""
    (tmp_path / "pyproject.toml").write_text("[tool.sweepfleet]\n")
    (tmp_path / "tasks.py").write_text(TASKS)
    place = tmp_path / "sweeps" / "first"
    place.mkdir(parents=True)
    (place / "g.yaml").write_text(GRID)
    (place / "fit.py").write_text(FIT)
    return place


def inv(folder: Path, *words: str, code: int = 0, **env: str) -> str:
    """What `inv` says in a folder; no command of ours in it is without its collection."""
    process = subprocess.run(
        [sys.executable, "-P", "-m", "invoke", *words],
        env=os.environ | {"COLUMNS": "200"} | env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert process.returncode == code, process.stdout
    assert not re.search(rf"\binv (?:{OURS})\b", process.stdout), process.stdout
    return process.stdout


def test_tasks_in_a_collection_of_the_users_run_and_are_proposed_as_they_are_called(folder: Path) -> None:
    """From a folder of the project: what runs print, previews, tables, and what is read of a command line."""
    assert "3 points" in inv(folder, "fleet.sweep", "g.yaml", "--preview")
    said = inv(folder, "fleet.sweep", "g.yaml", "--local", code=1)
    assert "Their rows: inv fleet.results g --where" in said
    assert "What they printed: inv fleet.output g --failed" in said
    assert "g    failed     2" in inv(folder, "fleet.runs")
    assert "loss" in inv(folder.parent, "fleet.results", "g")
    assert (folder.parents[1] / "runs" / "g" / "summary.json").exists()
    assert "swept" in inv(folder, "sweep")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fleet.report", "Start one: inv fleet.sweep"),
        ("fleet.status", "Make it: inv fleet.up"),
        (
            "fleet.sweep --gird x",
            "fleet.sweep has no flag --gird. Did you mean --grid? All flags: inv fleet.sweep --help",
        ),
        ("fleet.sweep x --resume", "sweep has no flag --resume: it resumes by itself"),
        ("fleet.sweep help", "'help' is not a grid. Did you mean --help?"),
        ("fleet.sweep a b", "fleet.sweep takes one grid, and was given two"),
        ("status", "There is no task 'status'. Did you mean fleet.status? All tasks: inv --list"),
        ("--help status", "There is no task 'status'. Did you mean fleet.status? All tasks: inv --list"),
        ("g.yaml", "'g.yaml' is not a task. Did you mean: inv fleet.sweep g.yaml?"),
    ],
)
def test_what_cannot_be_done_is_answered_with_what_can_be_typed(folder: Path, words: str, said: str) -> None:
    assert said in inv(folder, *words.split(), code=2)


def test_under_uv_they_are_proposed_under_uv(folder: Path) -> None:
    said = inv(folder, "fleet.status", code=2, UV_RUN_RECURSION_DEPTH="1")
    assert "Make it: uv run inv fleet.up" in said
    assert "All flags: uv run inv fleet.runs --help" in inv(
        folder, "fleet.runs", "-Z", code=2, UV_RUN_RECURSION_DEPTH="1"
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Push it: inv push --dirty", "Push it: uv run inv fleet.push --dirty"),
        ("inv ci.deploy, or `inv sweep`", "uv run inv fleet.ci.deploy, or `uv run inv fleet.sweep`"),
        ("All tasks: inv --list", "All tasks: uv run inv --list"),
        ("inv fleet.push; uv run inv fleet.push", "uv run inv fleet.push; uv run inv fleet.push"),
        ("inv pushes nothing; /bin/inv push; inv x", "inv pushes nothing; /bin/inv push; inv x"),
    ],
)
def test_a_text_is_put_as_the_user_would_type_it(written: str, expected: str) -> None:
    assert renamer("uv run inv", ["push", "sweep", "ci.deploy"], collection="fleet.")(written) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (["push", "sweep", "ci.deploy", "mine"], ""),
        (["fleet.push", "fleet.sweep", "fleet.ci.deploy", "mine", "push"], "fleet."),
        (["a.b.push", "a.b.sweep", "a.b.ci.deploy"], "a.b."),
        (["fleet.push", "fleet.sweep", "floors.sweep"], "fleet."),  # some were left out
        (["mypush", "resweep"], ""),
        ([], ""),
    ],
)
def test_the_collection_is_found_by_the_names_in_it(known: list[str], expected: str) -> None:
    assert collection_of(["push", "sweep", "ci.deploy"], known) == expected
