"""A sweep that cannot give what is asked of it stops by itself, early, and says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.space import Point
from sweepfleet.grid.sweep import Execution, Metric
from sweepfleet.run import attempts
from sweepfleet.run import driver as drivers
from sweepfleet.run.early_stop import FEW_POINTS, LONG_S, MANY_POINTS, MOST_ALIKE, MissingMetric, OneCause
from sweepfleet.run.rows import Failure
from tests.command import Project
from tests.run.test_driver import FakeEngine, drive, ledger_of
from tests.support import batches, space


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.001)
    monkeypatch.setattr(drivers, "TICK_S", 0.001)
    monkeypatch.setattr(drivers, "GRACE_S", 0.05)


# ---- The metric that nothing returns.


@pytest.mark.parametrize(
    ("points", "each_s", "names", "stops"),
    [
        (MANY_POINTS, 0.01, ["rmse", "r2"], True),
        (MANY_POINTS - 1, 0.01, ["rmse", "r2"], False),
        (FEW_POINTS, 2 * LONG_S, ["rmse", "r2"], True),
        (FEW_POINTS, LONG_S / 2, ["rmse", "r2"], False),
        (MANY_POINTS, 0.01, ["rmse", "rsme"], False),
        (MANY_POINTS, 0.01, [], True),
        (0, 0.0, [], False),
    ],
)
def test_a_metric_that_the_first_points_do_not_return(
    points: int, each_s: float, names: list[str], *, stops: bool
) -> None:
    """Ten points, or three long ones, are enough; one that has it is enough for the whole sweep."""
    missing = MissingMetric("rsme", seen=False)
    missing.saw(names, points=points, spent_s=points * each_s)
    reason = missing.reason()
    assert (reason is not None) == stops
    if reason and names:
        assert "They return rmse, r2. Did you mean `rmse`?" in reason
    elif reason:
        assert "They return nothing." in reason


def test_points_that_return_rows_alone_are_told_where_the_metric_goes() -> None:
    missing = MissingMetric("rmse", seen=False)
    missing.saw(["rows"], points=MANY_POINTS, spent_s=1.0)
    reason = missing.reason() or ""
    assert "They return rows, which go into a table of their own" in reason
    assert "Return ({'rmse': ...}, rows), or print the metrics above ::rows::; or remove metric.name." in reason


def test_a_metric_that_an_earlier_command_found_is_not_missing() -> None:
    missing = MissingMetric("m", seen=True)
    missing.saw(["other"], points=1000, spent_s=1.0)
    assert missing.reason() is None


@pytest.mark.parametrize(("having", "stops"), [(set(), True), ({3}, False), (set(range(9, 200)), False)])
def test_the_driver_stops_where_no_point_has_the_metric(having: set[int], *, stops: bool) -> None:
    """A metric that only some points return stops nothing; one that later points return has been computed before."""
    here = space({"a": range(200)})
    engine = FakeEngine(here, lambda point, _: {"m" if point.index in having else "loss": 1.0})
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1), metric=Metric("m"))
        assert stop == ("metric" if stops else None)
        assert ledger.counts().done == progress.done
        assert (progress.done < 30) == stops
        assert ("loss" in progress.why) == stops
        if stops:
            rest = FakeEngine(here, engine.compute)
            again, _, _ = drive(rest, ledger, Execution(bundle=1), metric=Metric("loss"))
            assert again is None
            assert not rest.ran.keys() & engine.ran.keys(), "what was computed before is not run again"


@pytest.mark.parametrize(("points", "having"), [(1, False), (9, False), (9, True), (20, False)])
def test_a_sweep_that_ends_before_it_could_be_stopped_is_judged_then(points: int, *, having: bool) -> None:
    """A sweep of a few points whose metric is nowhere is bad input, too; one bundle may hold them all."""
    here = space({"a": range(points)})
    engine = FakeEngine(here, lambda point, _: {"m" if having and point.index == points - 1 else "loss": 1.0})
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=points), metric=Metric("m"))
        assert stop == (None if having else "metric")
        assert ledger.counts().done == points
    assert ("They return loss." in progress.why) != having


def test_failed_points_say_nothing_of_the_metric() -> None:
    """Points that failed return nothing, and are not what the check is about."""
    here = space({"a": range(30)})
    engine = FakeEngine(here, lambda point, _: ValueError(f"no {'abc'[point.index % 3]}"))
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, metric=Metric("m"))
    assert (stop, progress.failed) == (None, 30)


# ---- One cause of all failures.


def alike(point: Point, _: int) -> Any:
    return FileNotFoundError(f"/data/part-{point.index}.csv is not there")


def test_points_that_all_fail_for_one_reason_stop_the_sweep() -> None:
    """Numbers apart, the messages are one."""
    here = space({"a": range(500)})
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(FakeEngine(here, alike), ledger, Execution(bundle=1))
        assert stop == "cause"
        assert MOST_ALIKE <= progress.failed < MOST_ALIKE + 10
        assert "FileNotFoundError: /data/part-0.csv is not there" in progress.why
        assert f"point {here.point(0).id}" in progress.why
        assert "max_fails" in progress.why


@pytest.mark.parametrize("retries", [1, 5])
def test_retries_do_not_multiply_the_waste(retries: int) -> None:
    """Twenty points are tried, not one more; they stop the sweep once one has no retry left."""
    here = space({"a": range(500)})
    engine = FakeEngine(here, alike, slots=4)
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1, retries=retries))
    assert stop == "cause"
    assert len(engine.ran) < MOST_ALIKE + 4 * drivers.WINDOW + 1
    assert progress.failed >= 1


def test_retries_may_cure_what_all_points_met_at_first() -> None:
    """A service that was away for a moment: the first attempts fail alike, and nothing stops."""
    here = space({"a": range(200)})
    engine = FakeEngine(here, lambda point, times: alike(point, times) if times == 0 else {"m": 1.0}, slots=16)
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1, retries=2))
    assert (stop, progress.done, progress.failed) == (None, 200, 0)


@pytest.mark.parametrize(
    ("compute", "execution"),
    [
        (lambda point, _: {"m": 1.0} if point.index == 3 else alike(point, 0), Execution(bundle=1)),
        (alike, Execution(bundle=1, max_fails=1000)),
        (lambda point, _: ValueError("abcdefghijkl"[point.index % 12] * 9), Execution(bundle=1)),
    ],
    ids=["one success", "a limit of the user's own", "many causes"],
)
def test_points_that_fail_otherwise_do_not_stop_it(compute: Any, execution: Execution) -> None:
    here = space({"a": range(60)})
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(FakeEngine(here, compute), ledger, execution)
    assert (stop, progress.done + progress.failed) == (None, 60)


def test_a_run_that_had_successes_is_not_stopped() -> None:
    """The rest of a resumed run may be the part that cannot be computed."""
    here = space({"a": range(60)})
    with ledger_of(here) as ledger:
        ledger.record(batches([(here.point(0), {"m": 1.0})]), git_commit=None, env_hash=None)
        stop, progress, _ = drive(FakeEngine(here, alike), ledger, Execution(bundle=1))
    assert (stop, progress.failed) == (None, 59)


def word(number: int) -> str:
    """A text of its own for each number, without digits: numbers in messages tell no causes apart."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def test_causes_are_counted_each_for_itself() -> None:
    """The worst is told, and memory is bounded."""
    one = OneCause(enabled=True)
    for index in range(5000):
        one.saw([(Failure(index, "ValueError", f"ValueError: {word(index)}"), False)])
    assert one.reason() is None
    one.saw([(Failure(index, "KeyError", "KeyError: 'a'"), False) for index in range(50)])
    assert one.reason() is None  # met after more causes than are counted
    other = OneCause(enabled=True)
    other.saw([(Failure(index, "KeyError", "KeyError: 'a'"), False) for index in range(MOST_ALIKE)])
    other.saw([(Failure(9, "ValueError", "ValueError: b"), False)])
    reason = other.reason()
    assert reason is not None
    assert reason[0] == 0
    assert "KeyError: 'a'" in reason[1]
    other.succeeded()
    assert other.reason() is None


# ---- As a user meets them.

FIT = """
def fit(a):
    if a < BAD:
        raise ValueError(f"no file {a}.csv")
    return {"rmse": a / 2, "r2": 1 - a}
"""


def project(tmp_path: Path, *, metric: str, bad: int) -> Project:
    here = Project(tmp_path)
    text = f"name: early\nrun: fit:fit\nparameters: {{a: {{range: [0, 100]}}}}\nmetric: {{name: {metric}}}\n"
    here.write(text, FIT.replace("BAD", str(bad)))
    return here


def test_a_misspelt_metric_is_bad_input_and_costs_nothing_twice(tmp_path: Path) -> None:
    """Exit 2, the names that there are and the nearest; once it is right, what was computed stays."""
    here = project(tmp_path, metric="rsme", bad=0)
    said = here.sweep("--set", "execution.bundle=1", code=2).stderr
    assert "metric 'rsme'" in said
    assert "They return rmse, r2. Did you mean `rmse`?" in said
    rows = dict(here.ledger("early", "SELECT id, started FROM points"))
    assert 10 <= len(rows) < 40
    summary = json.loads(here.sweep("--json", "--set", "metric.name=rmse").stdout)
    assert (summary["state"], summary["done"], summary["resumed"]) == ("done", 100, len(rows))
    said = here.sweep("--set", "metric.name=loss", code=0).stdout
    assert "No finished point returns the metric 'loss'" in said
    assert "They return rmse, r2." in said


def test_a_misspelt_metric_of_three_points_is_bad_input(tmp_path: Path) -> None:
    here = project(tmp_path, metric="rsme", bad=0)
    said = here.sweep("--set", "a=1,2,3", code=2).stderr
    assert "They return rmse, r2. Did you mean `rmse`?" in said
    assert len(here.ledger("early", "SELECT id FROM points")) == 3


def test_a_misspelt_metric_of_a_run_that_has_rows_stops_it(tmp_path: Path) -> None:
    """Exit 1: something was computed before, and is kept."""
    here = project(tmp_path, metric="rmse", bad=0)
    here.sweep("--where", "a < 5")
    said = here.sweep("--set", "metric.name=rsme", "--set", "execution.bundle=1", code=1).stdout
    assert said.startswith("Target")
    assert "Stopped" in said
    assert "None of the first" in said


def test_a_sweep_whose_points_all_fail_says_why_and_how_to_go_on(tmp_path: Path) -> None:
    """Exit 1, state stopped; with a limit of one's own it goes on."""
    here = project(tmp_path, metric="rmse", bad=60)
    answer = here.sweep("--json", "--set", "execution.bundle=1", code=1)
    summary = json.loads(answer.stdout)
    assert summary["state"] == "stopped"
    assert 20 <= summary["failed"] < 60
    said = r"ValueError: no file (\d+)\.csv \(point [0-9a-f]{16}; alone, with its traceback: --test-point \1\)"
    assert any(re.search(said, note) for note in summary["notes"])
    summary = json.loads(here.sweep("--json", "--set", "execution.max_fails=100", code=1).stdout)
    assert (summary["state"], summary["done"], summary["failed"]) == ("failed", 40, 60)
