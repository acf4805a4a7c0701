"""`inv sweep` and its sisters, run as a user runs them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import polars as pl
import pytest

from tests.command import Project, interrupt
from tests.support import eventually

GRID = """\
name: waves
run: fit:fit
seed: 7
parameters:
  a: [1, 2, 3, 4]
  b: {linspace: [0.0, 1.0, 5]}
replicates: 2
metric: {name: loss, goal: minimize}
"""
CODE = """\
import math, random

def fit(a, b, seed):
    noise = random.Random(seed).gauss(0, 0.01)
    return {"loss": (a - 2) ** 2 + (b - 0.5) ** 2 + noise, "wave": math.sin(a * b), "n": a, "ok": b > 0.5}
"""
SLOW = "import time\n\ndef fit(a):\n    time.sleep(0.05)\n    return a * 1.0\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path).write(GRID, CODE)


def metrics(table: pl.DataFrame) -> pl.DataFrame:
    """What must be equal wherever and in whatever order points ran."""
    keep = [name for name in table.columns if name.startswith(("param.", "metric."))]
    return table.select("point_id", "replicate", "seed", "status", *keep).sort("point_id")


def test_a_sweep_leaves_every_file_that_is_promised(project: Project) -> None:
    said = project.sweep().stdout
    folder = project.runs / "waves"
    assert said.startswith("Target: this machine")
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        *("grid.yaml", "ledger.sqlite", "manifest.json", "report.html"),
        *("results.csv", "results.parquet", "summary.json"),
    ]
    assert (folder / "grid.yaml").read_text() == GRID
    table = project.table("waves")
    assert table.height == 40
    assert table["point_id"].n_unique() == 40
    assert table["seed"].n_unique() == 40
    assert table.columns == [
        *("point_id", "replicate", "seed", "param.a", "param.b"),
        *("metric.loss", "metric.wave", "metric.n", "metric.ok"),
        *("status", "attempts", "infra_losses", "error_type", "error", "started", "duration_s"),
        *("worker", "git_commit", "code", "env_hash"),
    ]
    assert pl.read_csv(folder / "results.csv").height == 40
    summary = json.loads((folder / "summary.json").read_text())
    means = table.group_by("param.a", "param.b").agg(pl.mean("metric.loss")).sort("metric.loss")
    assert summary["best"]["params"] == {"a": means["param.a"][0], "b": means["param.b"][0]}
    assert summary["best"]["mean"] == pytest.approx(means["metric.loss"][0])
    assert (summary["best"]["n"], summary["best"]["of"]) == (2, 2)


def test_json_prints_one_object_and_nothing_else(project: Project) -> None:
    answer = project.sweep("--json")
    summary = json.loads(answer.stdout)
    assert (summary["points"], summary["done"], summary["failed"]) == (40, 40, 0)
    assert (summary["computed"], summary["resumed"]) == (40, 0)
    assert summary["folder"] == str(project.runs / "waves")
    promised = "wall_s busy_s slots efficiency points_per_s first_result_s peak_rss_mb best"
    assert set(promised.split()) <= set(summary)


def test_what_is_done_is_not_run_again(project: Project) -> None:
    project.sweep()
    before = project.table("waves")
    summary = json.loads(project.sweep("--json").stdout)
    assert (summary["computed"], summary["resumed"], summary["done"]) == (0, 40, 40)
    assert project.table("waves").equals(before)


def test_adding_a_value_runs_only_what_is_new(project: Project) -> None:
    project.sweep()
    before = project.table("waves")
    project.grid.write_text(GRID.replace("[1, 2, 3, 4]", "[0, 1, 2, 3, 4]"))
    summary = json.loads(project.sweep("--json").stdout)
    assert (summary["computed"], summary["resumed"], summary["points"]) == (10, 40, 50)
    after = project.table("waves")
    assert after.filter(pl.col("param.a") > 0).sort("point_id").equals(before.sort("point_id"))


def test_rows_of_removed_points_wait_and_come_back(project: Project) -> None:
    project.sweep()
    before = project.table("waves")
    project.grid.write_text(GRID.replace("[1, 2, 3, 4]", "[1, 2]"))
    summary = json.loads(project.sweep("--json").stdout)
    assert (summary["points"], summary["computed"]) == (20, 0)
    assert any("20 rows" in note for note in summary["notes"])
    assert project.table("waves").height == 20
    project.grid.write_text(GRID)
    assert json.loads(project.sweep("--json").stdout)["computed"] == 0
    assert project.table("waves").equals(before)


def test_metrics_are_bit_equal_on_one_worker_on_two_in_any_order_and_resumed(project: Project) -> None:
    project.sweep("--name", "one", "--workers", "1")
    project.sweep("--name", "shuffled", "--workers", "2", "--set", "execution.order=shuffled")
    project.sweep("--name", "resumed", "--where", "a < 3")
    assert project.table("resumed").height == 20
    project.sweep("--name", "resumed")
    one = metrics(project.table("one"))
    for name in ("shuffled", "resumed"):
        assert metrics(project.table(name)).equals(one), name


def test_rows_of_different_code_are_told_apart_and_said(project: Project) -> None:
    """Nothing runs again by itself; the summary says how many rows each code has computed, and where they differ."""
    project.write("name: edit\nrun: fit:fit\nparameters: {x: [1, 2]}\n", "def fit(x): return {'y': x, 'ver': 1}\n")
    assert json.loads(project.sweep("--json").stdout)["notes"] == []
    project.write(project.grid.read_text(), "def fit(x): return {'y': x, 'ver': 2}\n")
    summary = json.loads(project.sweep("--json", "--set", "x=1,2,3").stdout)
    assert summary["computed"] == 1
    (note,) = summary["notes"]
    table = project.table("edit").sort("param.x")
    old, same, new = table["code"]
    assert old == same != new
    assert f"2 rows by {old}, 1 row by {new}; they differ in fit.py" in note
    assert table["metric.ver"].to_list() == [1, 1, 2]
    assert table["git_commit"].to_list() == [None] * 3, (
        "the project is in no repository: nobody else's commit is shown"
    )


def test_an_edited_grid_is_no_change_of_code(project: Project) -> None:
    """Tracked or not, points files too: the commit stays clean, and the summary says nothing."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", str(project.path), *who, *words], check=True)

    git("init", "-q")
    git("add", "fit.py", "grid.yaml")
    git("commit", "-qm", "one")
    project.sweep()
    (project.path / "more.csv").write_text("a,b\n9,9.5\n")
    project.grid.write_text(GRID.replace("[1, 2, 3, 4]", "[1, 2, 3, 4, 5]") + "points: more.csv\n")
    summary = json.loads(project.sweep("--json").stdout)
    assert summary["computed"] == 12
    assert not any("code" in note for note in summary["notes"])
    assert project.table("waves")["code"].n_unique() == 1
    (commit,) = set(project.table("waves")["git_commit"])
    assert commit is not None
    assert "-dirty" not in commit
    (project.path / "fit.py").write_text(CODE + "\n# changed\n")
    project.sweep("--set", "replicates=3")
    assert set(project.table("waves")["git_commit"]) == {commit, f"{commit}-dirty"}


def test_a_grid_whose_folder_has_the_name_of_anothers_does_not_take_its_rows(project: Project) -> None:
    """The second one is refused, with a name that it can have; under that it has its own numbers."""
    grid = "run: fit:fit\nparameters:\n  x: [1, 2, 3]\n"
    for place, factor in (("a", 1), ("b", 100)):
        folder = project.path / place / "exp"
        folder.mkdir(parents=True)
        (folder / "grid.yaml").write_text(grid)
        (folder / "fit.py").write_text(f"def fit(x): return {{'y': x * {factor}}}\n")
    project.inv("sweep", "--grid", "a/exp/grid.yaml")
    said = project.inv("sweep", "--grid", "b/exp/grid.yaml", code=2).stderr
    assert "another target" in said
    assert "--name exp-2" in said
    assert sorted(project.table("exp")["metric.y"]) == [1, 2, 3]
    project.inv("sweep", "--grid", "b/exp/grid.yaml", "--name", "exp-2")
    assert sorted(project.table("exp-2")["metric.y"]) == [100, 200, 300]


def test_preview_runs_nothing_and_writes_nothing(project: Project) -> None:
    said = project.sweep("--preview").stdout
    assert "40 points" in said
    assert "a=1 b=0.0" in said
    assert not project.runs.exists()


def test_preview_of_a_billion_points_is_answered(project: Project) -> None:
    values = f"[{', '.join(map(str, range(1000)))}]"
    project.write(f"run: fit:fit\nparameters:\n  a: {values}\n  b: {values}\n  c: {values}\n", CODE)
    assert "1,000,000,000 points" in project.sweep("--preview").stdout
    limited = project.sweep("--preview", "--where", "a <= b").stdout
    assert "estimated from a sample; at most 1,000,000,000" in limited


def test_one_point_can_be_tried_here(project: Project) -> None:
    said = project.sweep("--test-point", "3").stdout
    assert "point 3" in said
    assert '"loss":' in said
    assert not project.runs.exists()
    (project.path / "fit.py").write_text("def fit(a, b, seed):\n    raise RuntimeError('here')\n")
    failed = project.sweep("--test-point", "0", code=1)
    frame = [f'  File "{project.path / "fit.py"}", line 2, in fit', "    raise RuntimeError('here')"]
    assert failed.stderr.splitlines() == ["Traceback (most recent call last):", *frame, "RuntimeError: here"]
    assert "run from 0 to 39" in project.sweep("--test-point", "99", code=2).stderr


def test_failed_points_end_in_code_1_and_are_run_again_only_when_asked(project: Project) -> None:
    (project.path / "fit.py").write_text("def fit(a, b, seed):\n    return {'loss': 1 / (a - 2)}\n")
    said = project.sweep(code=1).stdout
    assert "10 failed" in said
    table = project.table("waves").filter(pl.col("status") == "failed")
    assert set(table["error_type"]) == {"ZeroDivisionError"}
    assert all("fit.py" in text for text in table["error"])
    assert json.loads(project.sweep("--json", code=1).stdout)["computed"] == 0
    (project.path / "fit.py").write_text(CODE)
    summary = json.loads(project.sweep("--json", "--retry-failed").stdout)
    assert (summary["computed"], summary["done"], summary["failed"]) == (10, 40, 0)
    assert sorted(project.table("waves")["attempts"]) == [1] * 30 + [2] * 10


def test_retries_are_counted_and_end_in_success(project: Project) -> None:
    (project.path / "fit.py").write_text(
        "from pathlib import Path\n\n"
        "def fit(a, b, seed, artifact_dir):\n"
        "    tried = artifact_dir / 'tried'\n"
        "    if a == 3 and not tried.exists():\n"
        "        tried.touch()\n"
        "        raise OSError('flaky')\n"
        "    return {'loss': 1.0}\n"
    )
    summary = json.loads(project.sweep("--json", "--set", "execution.retries=2").stdout)
    assert (summary["done"], summary["failed"], summary["retried"]) == (40, 0, 10)
    assert sorted(project.table("waves")["attempts"]) == [1] * 30 + [2] * 10


@pytest.mark.parametrize("setting", ["execution.fail_fast=true", "execution.max_fails=1"])
def test_a_limit_on_failures_stops_the_sweep(project: Project, setting: str) -> None:
    (project.path / "fit.py").write_text("import time\n\ndef fit(a, b, seed):\n    time.sleep(0.02)\n    1 / 0\n")
    summary = json.loads(project.sweep("--json", "--set", setting, "--set", "execution.bundle=1", code=1).stdout)
    assert summary["state"] == "stopped"
    assert 1 <= summary["failed"] < 40


def test_five_mistakes_are_all_told_and_leave_nothing_behind(project: Project) -> None:
    project.grid.write_text(
        "name: bad\nrun: fit.fit\nseed: many\nparamters:\n  a: [1]\nparameters:\n"
        "  b: {logspace: [1, 2]}\nexecution: {timeout: soon}\nmetric: {goal: minimise}\n"
    )
    failed = project.sweep(code=2)
    for line in (2, 3, 4, 7, 8, 9):
        assert f"line {line}:" in failed.stderr, failed.stderr
    assert "parameters" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not project.runs.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "has no 'fit'"),
        ("fit = 3\n", "is a int, not a function"),
        ("import nowhere_to_be_found\n", "uv add nowhere_to_be_found"),
        ("def fit(a, b, c):\n    pass\n", "it needs c"),
        ("def fit(a):\n    pass\n", "it does not take b"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("import os\nos._exit(3)\n", "exit code 3"),
    ],
)
def test_a_target_that_cannot_run_is_refused_before_anything_runs(project: Project, code: str, said: str) -> None:
    (project.path / "fit.py").write_text(code or "x = 1\n")
    failed = project.sweep(code=2)
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (project.runs / "waves").exists()


def test_a_grid_without_points_is_refused(project: Project) -> None:
    assert "No point of the grid meets 'a > 100'" in project.sweep("--where", "a > 100", code=2).stderr
    assert not project.runs.exists()


def test_a_target_is_found_beside_its_grid_wherever_that_is(project: Project) -> None:
    assert project.sweep("--json").returncode == 0  # the grid lies in no repository of ours


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", ""])
def test_a_name_that_looks_like_a_path_is_refused(project: Project, name: str) -> None:
    answer = project.inv("results", "--name", name or ".", code=2)
    assert "looks like a path" in answer.stderr
    failed = project.sweep("--name", name or ".", code=2)
    assert "name" in failed.stderr
    assert not project.runs.exists()


def test_a_second_sweep_into_one_folder_is_refused_with_the_holder(project: Project) -> None:
    project.write("name: slow\nrun: fit:fit\nparameters:\n  a: {range: [0, 2000, 1]}\n", SLOW)
    first = project.start("sweep", "--grid", str(project.grid))
    try:
        eventually(lambda: project.ledger("slow")[:1] not in ([], [(0,)]), "the first result")
        failed = project.sweep(code=2)
        assert f"process {first.pid} on " in failed.stderr
        assert f"running (pid {first.pid}" in project.inv("runs").stdout
    finally:
        out, _ = interrupt(first)
    assert first.returncode == 130
    assert "the same command resumes" in out
    done = project.ledger("slow")[0][0]
    assert 0 < done < 2000
    assert json.loads((project.runs / "slow" / "summary.json").read_text())["state"] == "interrupted"


def test_interrupted_sweeps_go_on_where_they_stopped(project: Project) -> None:
    project.write("name: slow\nrun: fit:fit\nparameters:\n  a: {range: [0, 60, 1]}\n", SLOW)
    first = project.start("sweep", "--grid", str(project.grid))
    eventually(lambda: project.ledger("slow")[:1] not in ([], [(0,)]), "the first result")
    interrupt(first)
    assert first.returncode == 130
    rows = dict(project.ledger("slow", "SELECT id, started FROM points"))
    summary = json.loads(project.sweep("--json").stdout)
    assert summary["resumed"] == len(rows)
    assert summary["computed"] == 60 - len(rows)
    after = dict(project.ledger("slow", "SELECT id, started FROM points"))
    assert {id_: after[id_] for id_ in rows} == rows


def test_rows_of_a_version_with_other_seeds_stay_and_are_owned_up_to(project: Project) -> None:
    """Seeds had 32 bits: such a run goes on, no row is computed again, and the command that mixes them says so."""
    project.sweep("--where", "a == 1")
    with sqlite3.connect(project.runs / "waves" / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE points SET seed = seed + 2147483648")
    ledger.close()
    before = dict(project.ledger("waves", "SELECT id, seed FROM points"))
    summary = json.loads(project.sweep("--json").stdout)
    after = dict(project.ledger("waves", "SELECT id, seed FROM points"))
    assert {id_: after[id_] for id_ in before} == before
    assert all(seed < 2**31 for id_, seed in after.items() if id_ not in before)
    assert [note for note in summary["notes"] if "32 bits" in note]
    assert not [note for note in json.loads(project.sweep("--json").stdout)["notes"] if "32 bits" in note]


def test_results_are_asked_for_by_condition_and_rank(project: Project) -> None:
    project.sweep()
    assert project.inv("results", "--best", "3").stdout.count("\n") >= 4
    rows = project.inv("results", "--name", "waves", "--where", "a == 2 and ok", "--json").stdout.splitlines()
    assert len(rows) == 4
    assert all(json.loads(row)["param.a"] == 2 for row in rows)
    best = json.loads(project.inv("results", "--best", "1", "--json").stdout)
    means = project.table("waves").group_by("param.a", "param.b").agg(pl.mean("metric.loss"))["metric.loss"]
    assert (best["mean"], best["n"], best["of"]) == (pytest.approx(means.min()), 2, 2)
    assert "a" in project.inv("results", "--where", "nothing > 1", code=2).stderr
    assert "no run 'other'" in project.inv("results", "--name", "other", code=2).stderr


def test_runs_lists_what_is_here(project: Project) -> None:
    assert "no runs" in project.inv("runs").stdout
    project.sweep()
    line = next(line for line in project.inv("runs").stdout.splitlines() if line.startswith("waves"))
    assert line.split()[1:5] == ["done", "40", "0", "40"]


def test_the_report_can_be_made_again_from_the_ledger_alone(project: Project) -> None:
    project.sweep()
    folder = project.runs / "waves"
    before = project.table("waves")
    for name in ("results.parquet", "results.csv", "report.html", "summary.json"):
        (folder / name).unlink()
    project.inv("report")
    assert project.table("waves").equals(before)
    assert "<html" in (folder / "report.html").read_text()
    assert json.loads((folder / "summary.json").read_text())["best"]


def test_a_damaged_ledger_stops_the_sweep_and_is_left_as_it_is(project: Project) -> None:
    project.sweep()
    ledger = project.runs / "waves" / "ledger.sqlite"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[: len(whole) // 2])
    failed = project.sweep(code=2)
    assert "truncated" in failed.stderr
    assert ledger.read_bytes() == whole[: len(whole) // 2]


def test_a_command_in_any_language_is_a_target(project: Project) -> None:
    project.write(
        'name: shell\nparameters:\n  a: [1, 2, 3]\n  word: [x y, "\'"]\n'
        'command: [sh, "-c", "echo noise; test $1 != 3 || exit 9; echo $(($1 * 2))", sh, "{a}", "{word}"]\n'
        "metric: {name: twice, goal: maximize}\n"
    )
    project.sweep(code=1)
    table = project.table("shell")
    assert table.filter(pl.col("status") == "done")["metric.twice"].to_list() == [2, 2, 4, 4]
    assert all("exited with 9" in text for text in table.filter(pl.col("status") == "failed")["error"])


def test_who_reads_the_first_line_only_ends_no_sweep(project: Project) -> None:
    process = project.start("sweep", "--grid", str(project.grid))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=120)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert project.table("waves").height == 40


def test_a_terminal_is_shown_control_characters_and_not_given_them(project: Project) -> None:
    project.grid.write_text(GRID.replace("[1, 2, 3, 4]", '["\\e[31mred", "[bold]x[/]"]'))
    (project.path / "fit.py").write_text("def fit(a, b, seed):\n    return {'loss': b}\n")
    shown = project.sweep().stdout + project.inv("results").stdout + project.sweep("--preview").stdout
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown
    assert "[bold]x[/]" in shown
    assert "\x1b" not in project.sweep("--set", "\x1b[31m=1", code=2).stderr


def test_a_billion_values_and_a_rare_condition_are_previewed(project: Project) -> None:
    project.write("run: fit:fit\nparameters:\n  a: {min: 0, max: 999999999}\n", "def fit(a):\n    return a\n")
    said = project.sweep("--preview", "--where", "a == 999999998").stdout
    assert "at most 1,000,000,000" in said


@pytest.mark.parametrize("flags", [["--test-point=-5"], ["--workers=0"], ["--workers=many"], ["--json", "--preview"]])
def test_flags_that_cannot_be_meant_are_refused(project: Project, flags: list[str]) -> None:
    failed = project.sweep(*flags, code=2)
    assert "Traceback" not in failed.stderr
    assert not project.runs.exists()


def test_more_points_than_can_be_numbered_are_refused(project: Project) -> None:
    values = f"[{', '.join(map(str, range(1000)))}]"
    parameters = "".join(f"  p{number}: {values}\n" for number in range(9))
    project.write(f"run: fit:fit\nparameters:\n{parameters}", "def fit(**p):\n    return 1\n")
    assert "the limit is" in project.sweep(code=2).stderr


def test_best_is_the_best_number_where_another_point_said_a_word(project: Project) -> None:
    (project.path / "fit.py").write_text(
        "def fit(a, b, seed):\n    return {'loss': 'diverged' if a == 1 else a + b}\n"
    )
    assert json.loads(project.sweep("--json").stdout)["best"]["mean"] == 2.0


def test_points_that_end_the_process_or_return_nothing_are_told_as_in_a_sweep(project: Project) -> None:
    for body, said in (("raise SystemExit(3)", "SystemExit: 3"), ("pass", "BadResultError: returned None")):
        (project.path / "fit.py").write_text(f"def fit(a, b, seed):\n    {body}\n")
        failed = project.sweep("--test-point", "0", code=1)
        assert said in failed.stderr
        assert "sweepfleet/" not in failed.stderr


def test_more_points_than_are_meant_are_refused_where_nobody_can_be_asked(project: Project) -> None:
    values = f"[{', '.join(map(str, range(500)))}]"
    project.write(f"run: fit:fit\nparameters:\n  a: {values}\n  b: {values}\n  c: {values}\n  d: {values}\n", CODE)
    failed = project.sweep(code=2)
    assert failed.stderr.startswith("error: 62,500,000,000 points are left to run. To run them, add --yes.")
    assert not project.runs.exists()


def test_a_run_folder_that_is_removed_while_points_run_is_one_clear_line(project: Project) -> None:
    project.write("name: gone\nrun: fit:fit\nparameters:\n  a: {range: [0, 2000]}\n", SLOW)
    process = project.start("sweep", "--grid", str(project.grid))
    eventually(lambda: project.ledger("gone")[:1] > [(5,)], "some points end")
    shutil.rmtree(project.runs / "gone", ignore_errors=True)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith(f"error: {project.runs / 'gone'} was removed while the sweep ran")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["streams", "everything"],
)
def test_what_a_streams_encoding_lacks_is_spelled_out(
    project: Project, encoding: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        "run: fit:fit\nparameters:\n  word: [ü, bad]\nmetric: {name: loss}\n",
        "def fit(word):\n    if word == 'bad': raise ValueError('schön')\n    return {'loss': 1, 'µ': 'ß'}\n",
    )
    for name, value in encoding.items():
        monkeypatch.setenv(name, value)
    said = project.sweep(code=1).stdout
    assert "Target: this machine" in said
    assert "Best loss: 1 at word=\\xfc" in said
    assert " - " in said
    assert "sch\\xf6n" in said
    assert "word=\\xfc" in project.sweep("--preview").stdout
    assert "\\xdf" in project.inv("results").stdout
    assert project.inv("runs").stdout
    assert "ü" in (project.runs / project.path.name / "grid.yaml").read_text("utf-8")
