"""The package as others have it: built, installed in an environment of its own, used in folders that are nobody's."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sweepfleet.scaffold import ACCOUNT, CLUSTER, PIPELINES, PLAIN
from sweepfleet.tasks import front, ns
from sweepfleet.tasks.called import renamer
from tests.command import ROOT, sweepfleet

pytest_plugins = ["tests.installed"]

GRID = "run: fit:fit\nparameters: {a: [1, 2, 3]}\nmetric: {name: loss, goal: minimize}\n"
FIT = "import grid\n\ndef fit(a):\n    return {'loss': grid.squared(a)}\n"
HELPER = "def squared(a):\n    return a * a\n"  # called as one of our rooms is
EVERY = {name: name for name in (*PLAIN, *CLUSTER, *ACCOUNT)} | PIPELINES["github"] | PIPELINES["gitlab"]
NEEDED = (
    *("py.typed", "grid/grid.schema.json", "run/report/page.html", "run/report/chart.js", "run/report/page.css"),
    *("infra/boot/await-release", "infra/machines-boundary.json", "account/operator-policy.json", "machine/start"),
    *("machine/head/prepare-job", "machine/units/sweepfleet-run@.service"),
)


def test_a_wheel_has_all_that_it_needs_and_one_name_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        names = [row[0] for row in csv.reader(archive.read(record).decode().splitlines())]
    assert {name.partition("/")[0] for name in names} == {"sweepfleet", record.partition("/")[0]}
    assert {f"sweepfleet/{name}" for name in NEEDED} <= set(names)
    ours = [name for name in names if name.startswith("sweepfleet/")]
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = [name for name in ours if name.startswith("sweepfleet/template/")]
    assert sorted(f"src/{name}" for name in set(ours) - set(written)) == sorted(tracked.split())
    assert {name.removeprefix("sweepfleet/template/") for name in written} == set(EVERY.values())


def test_in_an_empty_folder_with_nothing_written_a_sweep_runs(tools: Path, tmp_path: Path) -> None:
    """The runs are there, and what is to be typed next begins as the user began."""
    for name, text in {"g.yaml": GRID, "fit.py": FIT, "grid.py": HELPER}.items():
        (tmp_path / name).write_text(text)
    said = sweepfleet(tools, tmp_path, "sweep", "--grid", "g.yaml")
    assert "Done: 3 of 3 points done" in said
    assert "Best loss: 1 at a=1" in said
    assert json.loads((tmp_path / "runs" / "g" / "summary.json").read_text())["done"] == 3
    assert "g    done      3" in sweepfleet(tools, tmp_path, "runs")
    assert "All tasks: sweepfleet --list" in sweepfleet(tools, tmp_path, "sweeep", code=2)
    assert "Make it: uv run sweepfleet up." in sweepfleet(
        tools, tmp_path, "status", code=2, UV_RUN_RECURSION_DEPTH="1"
    )


def test_from_elsewhere_the_runs_are_in_the_grids_project(tools: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "sweeps").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[project]\nname = 'theirs'\nversion = '1'\n")
    for name, text in {"sweeps/g.yaml": GRID, "sweeps/fit.py": FIT, "grid.py": HELPER}.items():
        (project / name).write_text(text)
    sweepfleet(tools, tmp_path, "sweep", "project/sweeps/g.yaml")
    assert (project / "runs" / "g" / "summary.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]
    assert "g    done      3" in sweepfleet(tools, project / "sweeps", "runs")


def test_init_writes_a_project_whose_first_sweep_runs(tools: Path, tmp_path: Path) -> None:
    """Once; what is there stays, and --check says what is not."""
    said = sweepfleet(tools, tmp_path, "init", code=2)
    assert "There is no terminal to ask on, so nothing was written." in said
    assert "4 of 4 are missing. Write them: sweepfleet init" in sweepfleet(tools, tmp_path, "init", "--check", code=1)
    assert list(tmp_path.iterdir()) == []
    said = sweepfleet(tools, tmp_path, "init", "--yes")
    assert "Written. Try it: sweepfleet sweep sweeps/hello/grid.yaml" in said
    assert "Done: 70 of 70 points done" in sweepfleet(tools, tmp_path, "sweep", "sweeps/hello/grid.yaml")
    assert (tmp_path / "runs" / "hello" / "report.html").exists()
    (tmp_path / "sweeps" / "hello" / "fit.py").write_text("mine")
    said = sweepfleet(tools, tmp_path, "init", "--yes")
    assert "Nothing to write." in said
    assert "sweeps/hello/fit.py      there, yours; it is kept" in said
    assert (tmp_path / "sweeps" / "hello" / "fit.py").read_text() == "mine"
    assert (tmp_path / ".gitignore").read_text() == "/runs/\n.sweepfleet/\n"
    sweepfleet(tools, tmp_path, "init", "--check")


def test_init_adds_a_cluster_to_a_project_that_has_files_of_its_own(tools: Path, tmp_path: Path) -> None:
    own = {"pyproject.toml": "[project]\nname = 'x'\nversion = '1'\n", "tasks.py": "x = 1\n", ".gitignore": "runs"}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    said = sweepfleet(tools, tmp_path, "init", "--cluster", "--yes")
    assert "Add to tasks.py: from sweepfleet.tasks import ns" in said
    assert {name: (tmp_path / name).read_text() for name in own} == own | {".gitignore": "runs\n.sweepfleet/\n"}
    assert "1 of 8 are missing" in sweepfleet(tools, tmp_path, "init", "--cluster", "--check", code=1)
    (tmp_path / "tasks.py").write_text("from sweepfleet.tasks import ns\n")
    sweepfleet(tools, tmp_path, "init", "--cluster", "--check")


def test_this_repository_is_a_project_as_init_writes_it(tools: Path, tmp_path: Path) -> None:
    """From the wheel, which was built of it."""
    for forge in PIPELINES:
        said = sweepfleet(tools, tmp_path, "init", "--pipeline", forge, "--yes")
        assert "The pipeline waits until its account and variables are set up" in said
        sweepfleet(tools, tmp_path, "init", "--pipeline", forge, "--check")
    for name, template in EVERY.items():
        assert (tmp_path / name).read_bytes() == (ROOT / template).read_bytes(), name
    begin = (tmp_path / "tasks.py").read_text()
    assert (ROOT / "tasks.py").read_text().startswith(begin)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert set((tmp_path / ".gitignore").read_text().splitlines()) <= set(ignored)


def test_a_pipeline_is_a_forges_and_brings_a_cluster(tools: Path, tmp_path: Path) -> None:
    said = sweepfleet(tools, tmp_path, "init", "--pipeline", "sourcehut", "--yes", code=2)
    assert "--pipeline 'sourcehut' is not a forge. Use github or gitlab." in said
    said = sweepfleet(tools, tmp_path, "init", "--pipeline", "gitlab", "--check", code=1)
    assert "12 of 12 are missing. Write them: sweepfleet init --pipeline gitlab" in said
    (tmp_path / ".gitlab-ci.yml").write_text("mine: {}\n")
    assert ".gitlab-ci.yml           there, yours; it is kept" in sweepfleet(
        tools, tmp_path, "init", "--pipeline", "gitlab", "--yes"
    )
    assert (tmp_path / ".gitlab-ci.yml").read_text() == "mine: {}\n"
    assert not (tmp_path / ".github").exists()


def test_the_package_is_imported_with_the_standard_library_alone() -> None:
    """Debian's own Python runs the machines' services with it, and a notebook waits for it."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import sweepfleet, sweepfleet.machine.head.keeper, sweepfleet.infra.settings\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    words = [sys.executable, "-I", "-S", "-c", code, str(ROOT / "src")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sweepfleet"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Push it: inv push --dirty", "Push it: sweepfleet push --dirty"),
        ("inv ci.deploy, or `inv sweep`", "sweepfleet ci.deploy, or `sweepfleet sweep`"),
        ("All tasks: inv --list", "All tasks: sweepfleet --list"),
        ("inv pushes nothing; /bin/inv push; inv x", "inv pushes nothing; /bin/inv push; inv x"),
    ],
)
def test_commands_that_are_proposed_begin_as_the_users(written: str, expected: str) -> None:
    assert renamer("sweepfleet", ["push", "sweep", "ci.deploy"])(written) == expected


WITHOUT_A_CLUSTERS_PACKAGES = """
import sys
sys.argv[0] = "sweepfleet"
sys.modules.update(dict.fromkeys({names}))  # as where they are not installed
from sweepfleet.cli import main
main()
"""
HERE_ALONE = {
    "init": "--yes",
    "report": "",
    "results": "",
    "rm": "hello --yes",
    "runs": "",
    "version": "",
    "output": "",
}
NEEDED_WORDS = {"run": "-- true", "scale": "--workers 1", "start": "--workers 1", "sweep": "grid.yaml --stack dev"}


@pytest.mark.parametrize("task", sorted(ns.task_names))
def test_without_the_clusters_packages_each_task_works_or_says_what_to_add(tmp_path: Path, task: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nmain: infra\nruntime: python\n")
    (tmp_path / "grid.yaml").write_text(GRID)
    code = WITHOUT_A_CLUSTERS_PACKAGES.format(names=sorted(front.OF_A_CLUSTER))
    words = HERE_ALONE.get(task, NEEDED_WORDS.get(task, "")).split()
    done = subprocess.run(
        [sys.executable, "-c", code, task, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    if task not in HERE_ALONE:
        assert (done.returncode, front.NO_CLUSTER in done.stderr) == (2, True), done
