"""Situations from people's daily work, each as a whole command: a right value or a refusal, and nothing silent."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.command import Project

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="a Linux kernel's accounts of processes")


def lay(folder: Path, files: dict[str, str]) -> None:
    """Write a user's folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


class Folder(Project):
    """A project with several grids."""

    def run(self, grid: str, *words: str, code: int = 0) -> Any:
        return self.inv("sweep", "--grid", str(self.path / grid), *words, code=code)

    def column(self, run: str, name: str) -> list[Any]:
        return self.table(run)[name].to_list()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_result_that_is_printed_over_several_lines_is_read_whole(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "report.py": """\
                import json, sys
                rate = float(sys.argv[1])
                print(json.dumps({"loss": rate, "folds": [0.91, 0.92, 0.93]}, indent=4))
                """,
            "grid.yaml": f"""\
                name: pretty
                command: [{sys.executable}, report.py, "{{rate}}"]
                parameters: {{rate: [0.1, 0.2, 0.3]}}
                metric: {{name: loss}}
                """,
        },
    )
    folder.run("grid.yaml")
    assert folder.column("pretty", "metric.loss") == [0.1, 0.2, 0.3]
    assert folder.column("pretty", "metric.folds") == ["[0.91, 0.92, 0.93]"] * 3


def test_a_folder_of_another_target_is_refused_and_keeps_its_rows(folder: Folder) -> None:
    for place, factor in (("north", 1), ("south", 100)):
        lay(
            folder.path / place / "study",
            {
                "fit.py": f"def fit(x): return {{'y': x * {factor}}}\n",
                "grid.yaml": "run: fit:fit\nparameters: {x: [1, 2, 3]}\n",
            },
        )
    folder.run("north/study/grid.yaml")
    refused = folder.run("south/study/grid.yaml", code=2)
    assert "--name study-2" in refused.stderr
    assert folder.column("study", "metric.y") == [1, 2, 3]
    folder.run("south/study/grid.yaml", "--name", "study-2")
    assert folder.column("study-2", "metric.y") == [100, 200, 300]


def test_rows_of_two_codes_are_told_apart_and_one_command_makes_them_one(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "fit.py": "def fit(x): return {'y': x, 'version': 1}\n",
            "grid.yaml": "name: edited\nrun: fit:fit\nparameters: {x: [1, 2]}\n",
        },
    )
    folder.run("grid.yaml")
    lay(folder.path, {"fit.py": "def fit(x): return {'y': x, 'version': 2}\n"})
    summary = json.loads(folder.run("grid.yaml", "--set", "x=1,2,3", "--json").stdout)
    assert summary["computed"] == 1
    assert folder.table("edited").group_by("code").len()["len"].sort().to_list() == [1, 2]
    assert any("code" in note and "fit.py" in note for note in summary["notes"])
    summary = json.loads(folder.run("grid.yaml", "--set", "x=1,2,3", "--redo", "stale", "--json").stdout)
    assert (summary["computed"], summary["notes"]) == (2, [])
    assert folder.column("edited", "metric.version") == [2, 2, 2]
    assert folder.table("edited")["code"].n_unique() == 1


def test_the_program_of_a_wandb_file_is_found_in_the_projects_root(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "pyproject.toml": "[project]\nname = 'theirs'\nversion = '1'\n",
            "train.py": """\
                import json, os, sys
                here = os.path.basename(os.getcwd())
                print(json.dumps({"loss": 1.0, "words": " ".join(sys.argv[1:]), "here": here}))
                """,
            "sweeps/s.yaml": "program: train.py\nmethod: grid\nname: at-root\nparameters:\n  a: {values: [1, 2]}\n",
        },
    )
    folder.run("sweeps/s.yaml")
    assert folder.column("at-root", "metric.words") == ["--a=1", "--a=2"]
    assert set(folder.column("at-root", "metric.here")) == {folder.path.name}


def test_a_point_that_leaves_its_folder_harms_no_other(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "fit.py": """\
                import os, tempfile
                def fit(x):
                    here = os.path.basename(os.getcwd())
                    with tempfile.TemporaryDirectory() as scratch:
                        os.chdir(scratch)
                    return {"twice": 2 * x, "here": here}
                """,
            "grid.yaml": "name: away\nrun: fit:fit\nparameters: {x: {range: [0, 20]}}\n",
        },
    )
    folder.run("grid.yaml")
    assert folder.column("away", "metric.twice") == list(range(0, 40, 2))
    assert set(folder.column("away", "metric.here")) == {folder.path.name}


SIGNS = """\
    name: signs
    run: fit:fit
    parameters: {learning-rate: [0.1, 0.2], a: [1], b: [3], a-b: [5, 0]}
    metric: {name: val/loss}
    """


def test_names_with_signs_are_parameters_and_metrics_like_all_others(folder: Folder) -> None:
    code = "def fit(**given): return {'val/loss': given['learning-rate'] + given['a-b']}\n"
    lay(folder.path, {"fit.py": code, "grid.yaml": SIGNS})
    summary = json.loads(folder.run("grid.yaml", "--where", "`a-b` > 0 and `learning-rate` < 0.15", "--json").stdout)
    assert summary["computed"] == 1
    summary = json.loads(folder.run("grid.yaml", "--json").stdout)
    assert summary["best"]["params"] == {"learning-rate": 0.1, "a": 1, "b": 3, "a-b": 0}
    shown = folder.inv("results", "--json", "--where", "`val/loss` > 5.15").stdout.splitlines()
    assert [json.loads(line)["param.learning-rate"] for line in shown] == [0.2]


@pytest.mark.parametrize("condition", ["a-b > 0", "learning-rate > 0.15"])
def test_a_name_with_a_sign_is_never_read_as_a_subtraction_in_silence(folder: Folder, condition: str) -> None:
    lay(folder.path, {"fit.py": "def fit(**given): return 1\n", "grid.yaml": SIGNS})
    refused = folder.run("grid.yaml", "--set", "metric.name=value", "--where", condition, code=2)
    assert f"`{condition.split(maxsplit=1)[0]}`" in refused.stderr
    assert not (folder.runs / "signs").exists()


def test_points_that_print_without_end_fill_no_disk(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "fit.py": """\
                import os
                def fit(i):
                    for _ in range(200):
                        print("z" * 1_000_000)
                    return {"log_mb": os.fstat(1).st_size / 1e6}
                """,
            "grid.yaml": "name: flood\nrun: fit:fit\nparameters: {i: {range: [0, 3]}}\n",
        },
    )
    folder.run("grid.yaml")
    assert max(folder.column("flood", "metric.log_mb")) < 2
    assert sum(path.stat().st_size for path in (folder.runs / "flood").rglob("*") if path.is_file()) < 20_000_000


def test_what_a_point_printed_and_warned_of_can_be_read_afterwards(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "fit.py": """\
                import logging, sys, warnings
                def fit(x):
                    print(f"step {x}: the matrix is singular")
                    print(f"step {x}: to stderr", file=sys.stderr)
                    warnings.warn(f"step {x}: ill conditioned")
                    logging.getLogger("solver").warning("step %s: slow", x)
                    if x == 2:
                        raise ValueError("no convergence")
                    return x
                """,
            "grid.yaml": "name: spoken\nrun: fit:fit\nparameters: {x: [1, 2]}\n",
        },
    )
    folder.run("grid.yaml", code=1)
    for row in folder.table("spoken").select("point_id", "param.x").iter_rows():
        said = folder.inv("output", "--name", "spoken", "--point", row[0]).stdout
        for words in ("the matrix is singular", "to stderr", "ill conditioned", "slow"):
            assert f"step {row[1]}: {words}" in said
    failed = folder.inv("output", "--name", "spoken", "--failed").stdout
    assert "step 2: to stderr" in failed
    assert "step 1" not in failed


@pytest.mark.parametrize("name", ["grid", "worker", "sweep", "tasks"])
def test_a_helper_may_have_any_name(folder: Folder, name: str) -> None:
    lay(
        folder.path,
        {
            f"{name}.py": "def build(x): return x * 10\n",
            "fit.py": f"from {name} import build\ndef fit(x): return build(x)\n",
            "grid.yaml": "name: helper\nrun: fit:fit\nparameters: {x: [1, 2]}\n",
        },
    )
    folder.run("grid.yaml")
    assert folder.column("helper", "metric.value") == [10, 20]
    assert "result" in folder.run("grid.yaml", "--test-point", "0").stdout


@linux_only
def test_what_a_points_processes_hold_counts_as_its_memory(folder: Folder) -> None:
    lay(
        folder.path,
        {
            "fit.py": """\
                import multiprocessing, time
                def hold(_):
                    block = bytearray(400_000_000)
                    block[::4096] = b"x" * len(block[::4096])
                    time.sleep(60)
                    return len(block)
                def fit(i):
                    with multiprocessing.get_context("fork").Pool(1) as pool:
                        return pool.map(hold, [0])[0]
                """,
            "grid.yaml": """\
                name: heavy
                run: fit:fit
                parameters: {i: [0]}
                execution: {resources: {memory: 200MB}}
                """,
        },
    )
    folder.run("grid.yaml", code=1)
    row = folder.table("heavy").row(0, named=True)
    assert (row["status"], row["error_type"]) == ("failed", "MemoryLimit")
