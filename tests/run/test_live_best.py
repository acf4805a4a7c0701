"""The best so far: what the bar shows at the end is what the tables say."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.plan import Block, Dimension, Distribution, Plan
from sweepfleet.grid.space import Point, Space
from sweepfleet.grid.sweep import Execution, Metric
from sweepfleet.run import live_best, live_metric
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.live_best import LiveBest, Searched, Stepped, configurations
from sweepfleet.run.ranking import rank
from sweepfleet.run.results import write_results
from tests.run.test_driver import FakeEngine, drive
from tests.support import batches, dimension, space

NAN, INF = math.nan, math.inf
AB = (dimension("a", [1, 2]), dimension("b", ["x", "y"]))
FOLD = dimension("fold", [0, 1, 2])


def plan(*blocks: Block, replicates: int = 1) -> Plan:
    return Plan("fit:fit", 7, replicates, blocks)


PLANS = [
    plan(Block("grid", (*AB, FOLD))),
    plan(Block("grid", (FOLD, *AB))),
    plan(Block("grid", (*AB, replace(FOLD, when="a == 1")))),
    plan(Block("grid", (*AB, FOLD), where=("not (a == 2 and fold == 1)",))),
    plan(Block("grid", (*AB, Dimension(("fold", "file"), ((0, "p"), (1, "q"), (2, "p")))))),
    plan(Block("grid", (FOLD, *AB), extend=({"a": 1, "more": 3},))),
    plan(Block("list", rows=({"a": 3, "b": "x"},)), Block("grid", (*AB, FOLD))),
    plan(Block("one_at_a_time", (*AB, FOLD))),
    plan(Block("random", (*AB, FOLD), samples=9)),
]
VALUES = st.one_of(st.sampled_from([NAN, INF, -INF]), st.integers(-2, 2), st.floats(-9, 9), st.booleans())
OUTCOMES = st.one_of(VALUES, st.just("failed"), st.sampled_from(["2", "1.5", "diverged"]), st.just({}))


def result(value: Any) -> Any:
    if value == "failed":
        return ValueError("no")
    return value if isinstance(value, dict) else {"m": value, "other": 1}


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_the_bar_ends_with_the_best_of_the_tables(data: st.DataObject) -> None:
    """Whatever is averaged, fails, is no number, is retried or was done before; incomplete ones are never shown."""
    base = data.draw(st.sampled_from(PLANS))
    here = Space(replace(base, replicates=data.draw(st.integers(1, 3))))
    over = data.draw(st.sampled_from([(), ("fold",), ("b", "fold"), ("a", "b", "fold")]))
    metric = Metric("m", data.draw(st.sampled_from(["minimize", "maximize"])), over)
    points = list(here.points(0, here.size))
    easy = data.draw(st.booleans())  # or hardly any configuration would be complete
    found = {point.index: data.draw(VALUES if easy else OUTCOMES) for point in points}
    before = data.draw(st.sets(st.sampled_from(sorted(found)), max_size=len(found)))
    retry_failed = data.draw(st.booleans())
    execution = Execution(bundle=data.draw(st.sampled_from([1, 3, 100])), retries=data.draw(st.integers(0, 1)))

    def compute(point: Point, times: int) -> Any:
        again = retry_failed and found[point.index] == "failed"
        return {"m": 0.5} if again and times else result(found[point.index])

    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        ledger = Ledger(folder.ledger)
        try:
            ledger.adopt(here)
            done = [(here.point(index), result(found[index])) for index in sorted(before)]
            if done:
                ledger.record(batches(done), git_commit=None, env_hash=None)
            engine = FakeEngine(here, compute)
            _, progress, _ = drive(
                *(engine, ledger, execution),
                metric=metric,
                retry_failed=retry_failed,
                shuffle=data.draw(st.sampled_from([None, 5])),
            )
            write_results(folder, ledger, here)
        finally:
            ledger.close()
        table = pl.scan_parquet(folder.parquet)
        first = rank(table, metric, space=here, top=1).row(0, named=True)
        indexes = {point.id: point.index for point in points}
    if first["mean"] is None or first["n"] < first["of"]:
        assert progress.best is None
    else:
        assert progress.best is not None
        value, index, count = progress.best
        assert (index, count) == (indexes[first["point_id"]], first["n"])
        assert value * metric.sign == pytest.approx(first["mean"], rel=1e-12, abs=1e-15)
    assert progress.best_of_all


def test_a_plain_product_is_told_apart_by_arithmetic_and_all_else_by_looking() -> None:
    """Each as the other would have it."""
    for here in map(Space, PLANS):
        for over in (("fold",), ("fold", "b")):
            by = configurations(here, over)
            indexes = np.array([point.index for point in here.points(0, here.size)])
            looked = Searched(here, over, list(live_best._choices(here.plan, over)))
            assert by is not None
            for ours, theirs in zip(by.of(indexes), looked.of(indexes), strict=True):
                assert ours.tolist() == theirs.tolist()
    assert isinstance(configurations(Space(PLANS[0]), ("fold",)), Stepped)
    assert isinstance(configurations(Space(PLANS[1]), ("fold", "a")), Stepped)
    assert isinstance(configurations(Space(PLANS[4]), ("fold",)), Searched)
    assert isinstance(configurations(Space(PLANS[4]), ("fold", "file")), Stepped)
    assert configurations(Space(PLANS[0]), ()) is None


def test_draws_of_a_continuous_law_are_not_followed() -> None:
    """Their configurations cannot be found by their parameters; the end says which is best."""
    law = Dimension(("x",), distribution=Distribution("uniform", 0, 1))
    here = Space(plan(Block("random", (law, FOLD), samples=5)))
    live = LiveBest(here, Metric("m", over=("fold",)))
    live.add(np.arange(5), np.ones(5))
    assert live.best is None
    alone = LiveBest(here, Metric("m"))
    alone.add(np.arange(5), np.array([3.0, 1.0, 2.0, NAN, 9.0]))
    assert alone.best is not None
    assert (alone.best.first, alone.best.value) == (1, 1.0)


def test_more_open_configurations_than_can_be_held_are_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are held count; that others were not seen whole is said."""
    monkeypatch.setattr(live_best, "MOST_OPEN", 2)
    here = space({"a": range(4)}, replicates=2)
    live = LiveBest(here, Metric("m"))
    live.add(np.array([0, 2]), np.array([5.0, 5.0]))
    assert live.whole
    live.add(np.array([4]), np.array([0.0]))
    assert not live.whole
    live.add(np.array([1, 5]), np.array([5.0, 0.0]))
    assert live.best is not None
    assert (live.best.first, live.best.value, live.best.points) == (0, 5.0, 2)


def test_what_takes_too_long_to_look_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no best is shown until the end, and never a wrong one."""
    monkeypatch.setattr(live_best, "ALLOWED_S", -1e9)
    live = LiveBest(Space(PLANS[2]), Metric("m", over=("fold",)))
    live.add(np.array([0, 1, 2]), np.ones(3))
    assert live.best is None


def test_too_many_rows_of_earlier_commands_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is then that of this command, and says so."""
    monkeypatch.setattr(live_metric, "MOST_BEFORE", 1)
    here = space({"a": range(4)})
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name, "ledger.sqlite"))
        ledger.adopt(here)
        before = [(here.point(index), {"m": 0.0}) for index in (0, 1)]
        ledger.record(batches(before), git_commit=None, env_hash=None)
        engine = FakeEngine(here, lambda point, _: {"m": float(point.index)})
        _, progress, _ = drive(engine, ledger, metric=Metric("m"))
        ledger.close()
    assert progress.best == (2.0, 2, 1)
    assert not progress.best_of_all
