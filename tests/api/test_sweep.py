"""`sweepfleet.sweep` as scripts use it: real processes; the runs are those of `inv sweep`."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.api.driver import Order
from sweepfleet.api.driving import Driver
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.run.progress import Silent
from tests.command import DEADLINE_S, ROOT, Project
from tests.support import eventually, gone

BEGINNING = """
import json, os, signal, sys, time
import sweepfleet as sf
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
FIT = """
SCALE = 3
def helper(a):
    return SCALE * a
def fit(a, fold):
    print("computing", a)
    return {"loss": helper(a) + fold}
"""
SWEEP = (
    'run = sf.sweep(fit, {"a": [3, 1, 2], "fold": range(2)}, metric=sf.Metric("loss", over="fold"), name="small")\n'
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    yield Project(tmp_path)
    (tmp_path / "go").touch()  # nothing of a test that failed waits for ever


def start(project: Project, code: str) -> subprocess.Popen[str]:
    (project.path / "script.py").write_text(BEGINNING + code)
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def python(project: Project, code: str, *, exit_code: int = 0) -> Any:
    """What a script's last line of output says, as JSON."""
    with start(project, code) as script:
        out, err = script.communicate(timeout=DEADLINE_S)
    assert script.returncode == exit_code, f"{out}\n{err}"
    return json.loads(out.splitlines()[-1]) if exit_code == 0 else err


def test_a_function_of_a_script_is_swept(project: Project) -> None:
    found = python(
        project,
        FIT
        + SWEEP
        + "frame = run.frame()\n"
        + 'print(json.dumps([run.state, run.best(), frame["metric.loss"].to_list(), run.output(0), '
        + 'run.failures().height, frame.filter(frame["param.a"] == 1).height, '
        + 'run.ranking(2)["mean"].to_list(), str(run.report()), str(run)]))\n',
    )
    state, best, losses, output, failures, ones, means, report, said = found
    assert (state, losses, failures, ones) == ("done", [9, 10, 3, 4, 6, 7], 0, 2)
    assert (best["params"], best["mean"], best["n"], best["of"]) == ({"a": 1}, 3.5, 2, 2)
    assert output == "computing 3\n"
    assert means == [3.5, 6.5]
    assert said.startswith("Done: 6 of 6 points done")
    assert Path(report).read_text().startswith("<!doctype html>")


def test_the_first_example_of_the_documentation_says_what_comes_of_it(project: Project) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    said = re.search(r"# (\{.*\})$", code, re.MULTILINE)
    assert said is not None
    ask = 'print(json.dumps([run.best()["params"], run.frame("loss < 1.5").height]))\n'
    best, low = python(project, code + ask)
    assert best == ast.literal_eval(said[1])
    assert 0 < low < 27


def test_a_run_is_resumed_and_tells_when_its_function_changes(project: Project) -> None:
    ask = 'print(json.dumps([run.summary["computed"], run.summary["notes"], run.frame()["code"].n_unique()]))\n'
    assert python(project, FIT + SWEEP + ask) == [6, [], 1]
    assert python(project, FIT + SWEEP + ask) == [0, [], 1]
    more = SWEEP.replace("[3, 1, 2]", "[3, 1, 2, 4]")
    assert python(project, FIT + more + ask) == [2, [], 1]
    changed = FIT.replace("SCALE = 3", "SCALE = 5")
    computed, notes, codes = python(project, changed + more.replace("2, 4]", "2, 4, 5]") + ask)
    assert (computed, codes) == (2, 2)
    assert "runs/small/function.pickle" in " ".join(notes)
    stale = more.replace("2, 4]", "2, 4, 5]").replace('name="small"', 'name="small", redo="stale"')
    assert python(project, changed + stale + ask) == [8, [], 1]


def test_the_run_is_continued_by_the_command_and_the_other_way_round(project: Project) -> None:
    python(project, FIT + SWEEP + "print(0)\n")
    grid = project.path / "small.yaml"
    grid.write_text((project.runs / "small" / "grid.yaml").read_text())
    said = project.inv("sweep", "small.yaml", "--set", "a=3,1,2,8").stdout
    assert "8 of 8 points done" in said
    assert "6 of them before" in said
    assert python(project, FIT + SWEEP + 'print(json.dumps(run.summary["computed"]))\n') == 0


def test_a_function_of_a_module_has_the_ids_of_a_grid_file(project: Project) -> None:
    project.write(
        "name: small\nrun: fits:fit\nparameters: {a: [3, 1, 2], fold: [0, 1]}\nmetric: {name: loss, over: fold}\n"
    )
    (project.path / "fits.py").write_text(FIT)
    ids = python(project, "from fits import fit\n" + SWEEP + 'print(json.dumps(run.frame()["point_id"].to_list()))\n')
    space = Space(load(project.grid).plan)
    assert ids == [point.id for point in space.points(0, space.size)]
    assert "6 of them before" in project.sweep().stdout
    assert not (project.runs / "small" / "function.pickle").exists()
    assert python(project, 'run = sf.sweep("grid.yaml")\nprint(json.dumps(run.summary["resumed"]))\n') == 6


def test_every_problem_is_told_and_nothing_runs(project: Project) -> None:
    said = python(project, FIT + SWEEP.replace("range(2)", '{"linspce": [1, 2, 3]}, "b": [1]'), exit_code=1)
    assert "sweepfleet.grid.errors.GridError" in said
    assert "parameters.fold" in said
    said = python(project, FIT + SWEEP.replace('"fold"', '"flod"', 1).replace("over", "goal"), exit_code=1)
    assert "metric.goal" in said
    said = python(
        project, FIT + SWEEP.replace('"fold": range(2)', '"other": [1]').replace(', over="fold"', ""), exit_code=1
    )
    assert "it does not take other, which the grid has" in said
    assert "it needs fold, which the grid does not have" in said
    said = python(project, FIT + SWEEP.replace("[3, 1, 2]", "[object()]"), exit_code=1)
    assert "parameters.a[0]: a object cannot be a parameter's value" in said
    assert not (project.runs / "small").exists()


def test_points_that_fail_do_not_raise(project: Project) -> None:
    code = "def fit(a):\n    return 1 / a\nrun = sf.sweep(fit, {'a': [0, 1]})\n"
    ask = "print(json.dumps([run.state, run.name, run.failures().select('param.a', 'error_type').rows()]))\n"
    assert python(project, code + ask) == ["failed", "fit", [[0, "ZeroDivisionError"]]]


def test_a_point_starts_no_sweep(project: Project) -> None:
    code = "def fit(a):\n    return sf.sweep(fit, {'a': [1]}).best()\nrun = sf.sweep(fit, {'a': [1]})\n"
    [error] = python(project, code + "print(json.dumps(run.failures()['error'].to_list()))\n")
    assert "A point cannot start a sweep" in error


GATED = """
from pathlib import Path
def fit(a):
    while a and not Path("go").exists():
        time.sleep(0.01)
    return a
"""

ALONE = "run = sf.sweep(fit, {'a': range(6)}, name='alone', workers=1, execution={'bundle': 1}, wait=True)\n"


def test_a_sweep_that_nobody_waits_for_outlives_its_script(project: Project) -> None:
    code = GATED + "run = sf.sweep(fit, {'a': range(6)}, name='alone', wait=False)\nprint(json.dumps(run.state))\n"
    assert python(project, code) == "running"
    (project.path / "go").touch()
    assert python(project, 'run = sf.open("alone").wait()\nprint(json.dumps([run.state, run.frame().height]))\n') == [
        "done",
        6,
    ]


def test_it_is_cancelled_from_elsewhere_and_resumed(project: Project) -> None:
    python(project, GATED + ALONE.replace("wait=True", "wait=False") + "print(0)\n")
    assert eventually(lambda: project.ledger("alone") == [(1,)], what="a point has ended")
    ask = (
        'run = sf.open()\nrun.cancel()\nprint(json.dumps([run.name, run.state, run.frame()["param.a"].to_list()]))\n'
    )
    assert python(project, ask) == ["alone", "interrupted", [0]]
    (project.path / "go").touch()
    ask = 'print(json.dumps([run.state, run.summary["resumed"]]))\n'
    assert python(project, GATED + ALONE + ask) == ["done", 1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_ends_with_the_script_that_waits_for_it(project: Project, how: signal.Signals) -> None:
    """In order: what was finished is kept, and nothing of it is left."""
    script = start(project, GATED + ALONE)
    with script:
        assert eventually(lambda: project.ledger("alone") == [(1,)], what="a point has ended")
        holder = json.loads((project.runs / "alone" / ".lock").read_text())["pid"]
        script.send_signal(how)
        _, err = script.communicate(timeout=DEADLINE_S)
    assert script.returncode != 0
    assert ("KeyboardInterrupt" in err) is (how == signal.SIGINT)
    assert eventually(lambda: gone(holder), what="the driver has ended")
    run = sf.open("alone", runs=project.runs)
    assert (run.state, run.frame()["param.a"].to_list()) == ("interrupted", [0])


FORKS = """
def pipes(process):
    found = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.add(os.readlink(each))
        except FileNotFoundError:
            pass
    return {name for name in found if name.startswith("pipe:")}
def fork(*_):
    if os.fork() == 0:
        driver = json.loads(Path("runs/alone/.lock").read_text())["pid"]
        common = sorted((pipes("self") - {os.readlink("/proc/self/fd/2")}) & pipes(driver))
        new = Path("new")
        new.write_text(json.dumps([common, os.getpid()]))
        new.rename("shared")
        time.sleep(1000)
signal.signal(signal.SIGUSR1, fork)
"""


def test_a_driver_sees_the_end_of_its_user_whatever_forks_of_that_live_on(project: Project) -> None:
    """As those of multiprocessing do, where the parent is killed."""
    with start(project, GATED + FORKS + ALONE) as script:
        assert eventually(lambda: project.ledger("alone") == [(1,)], what="a point has ended")
        holder = json.loads((project.runs / "alone" / ".lock").read_text())["pid"]
        script.send_signal(signal.SIGUSR1)
        shared = project.path / "shared"
        assert eventually(shared.exists, what="the fork has looked")
        common, fork = json.loads(shared.read_text())
        try:
            script.kill()
            script.wait(DEADLINE_S)
            assert common == []
            assert eventually(lambda: gone(holder), what="the driver has ended")
            assert not gone(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_driver_that_is_killed_is_told(project: Project) -> None:
    code = GATED + (
        "run = sf.sweep(fit, {'a': range(6)}, name='alone', workers=1, wait=False)\n"
        "os.kill(json.loads((run.folder / '.lock').read_text())['pid'], signal.SIGKILL)\n"
        "try:\n    run.wait()\nexcept sf.SweepfleetError as error:\n    print(json.dumps(str(error)))\n"
    )
    assert python(project, code) == "The sweep's driver ended with -9."


def test_what_it_offers_is_listed_and_costs_nothing_until_it_is_used() -> None:
    code = "import sys; before = set(sys.modules); import sweepfleet; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ast.literal_eval(done.stdout)}
    assert loaded - sys.stdlib_module_names == {"sweepfleet"}
    assert "'sweepfleet." not in done.stdout
    assert set(dir(sf)) == set(sf.__all__)
    for name in sf.__all__:
        assert getattr(sf, name).__doc__


def test_a_name_with_a_space_becomes_a_folders_name_and_the_function_is_found_there(project):
    code = (
        FIT + SWEEP.replace('"small"', '"my run"') + "print(json.dumps([run.name, run.state, run.frame().height]))\n"
    )
    assert python(project, code) == ["my-run", "done", 6]
    assert python(project, code + "print(json.dumps(run.summary['resumed']))\n") == 6
    assert [each.name for each in (project.path / "runs").iterdir()] == ["my-run"]


def test_a_pandas_frame_without_its_packages_says_what_to_add(tmp_path, monkeypatch):
    run = sf.sweep(lambda a: a, {"a": [1]}, name="small", runs=tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sf.UsageError, match="uv add pandas pyarrow"):
        run.frame(pandas=True)


def test_a_driver_that_is_interrupted_before_it_can_say_so_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 600\n")  # Python that is still starting
    (tmp_path / "python").chmod(0o755)
    order = Order(
        text="", source="x.yaml", where=(), name="x", runs=str(tmp_path), root=str(tmp_path), command_line="",
        workers=None, redo="", stops_with_its_owner=True,
    )  # fmt: skip
    driver = Driver(order)
    driver.interrupt()
    driver.follow(Silent())
    assert driver.exit_code == 130
