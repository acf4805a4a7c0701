"""Which configuration is best, against a plain reading of the rule."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run import ranking
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.query import select
from sweepfleet.run.ranking import rank
from sweepfleet.run.results import param_series, write_results
from tests.support import batches, space

NAN, INF = math.nan, math.inf


def table(here: Space, values: Mapping[int, Any]) -> pl.LazyFrame:
    """A results table of the points at these indexes, in the grid's order."""
    points = [here.point(index) for index in sorted(values)]
    columns = {name: [point.params.get(name) for point in points] for name in here.names}
    return pl.DataFrame(
        {
            "point_id": pl.Series([point.id for point in points], dtype=pl.String),
            "replicate": pl.Series([point.replicate for point in points], dtype=pl.Int64),
            **{each.name: each for each in param_series(here, columns)},
            "metric.m": [values[point.index] for point in points],
        },
        strict=False,
    ).lazy()


def rows(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    """(parameters, mean, n, of) of each configuration, rounded."""
    params = [name for name in found.columns if name.startswith("param.")]
    return [
        (
            *(row[name] for name in params),
            row["mean"] if row["mean"] is None else round(row["mean"], 9),
            f"{row['n']} of {row['of']}",
        )
        for row in found.iter_rows(named=True)
    ]


FOLDS = {"a": [1, 2], "fold": [0, 1, 2]}


@pytest.mark.parametrize(
    ("values", "goal", "wanted"),
    [
        # the easiest fold of the worse model is not the best
        ([5.0, 5.0, 5.0, 0.0, 9.0, 9.0], "minimize", [(1, 5.0, "3 of 3"), (2, 6.0, "3 of 3")]),
        ([5.0, 5.0, 5.0, 0.0, 9.0, 9.0], "maximize", [(2, 6.0, "3 of 3"), (1, 5.0, "3 of 3")]),
        # a failed, NaN or infinite one never lets the others win
        ([5.0, 5.0, 5.0, 0.0, None, 0.0], "minimize", [(1, 5.0, "3 of 3"), (2, 0.0, "2 of 3")]),
        ([5.0, 5.0, 5.0, 0.0, NAN, 0.0], "minimize", [(1, 5.0, "3 of 3"), (2, 0.0, "2 of 3")]),
        ([5.0, 5.0, 5.0, 9.0, INF, 9.0], "maximize", [(1, 5.0, "3 of 3"), (2, 9.0, "2 of 3")]),
        ([5.0, 5.0, 5.0, 0.0, -INF, 0.0], "minimize", [(1, 5.0, "3 of 3"), (2, 0.0, "2 of 3")]),
        ([None, None, None, 9.0, 9.0, 9.0], "minimize", [(2, 9.0, "3 of 3"), (1, None, "0 of 3")]),
        # nothing is complete: the larger share, then the mean
        ([1.0, None, None, 9.0, NAN, 9.0], "minimize", [(2, 9.0, "2 of 3"), (1, 1.0, "1 of 3")]),
        ([4.0, None, 4.0, 3.0, NAN, 3.0], "minimize", [(2, 3.0, "2 of 3"), (1, 4.0, "2 of 3")]),
        # equals stay in the grid's order, also where only the order of adding up tells them apart
        ([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], "minimize", [(1, 0.2, "3 of 3"), (2, 0.2, "3 of 3")]),
        ([0.3, 0.2, 0.1, 0.1, 0.2, 0.3], "maximize", [(1, 0.2, "3 of 3"), (2, 0.2, "3 of 3")]),
        # numbers in a column of text
        (["2", "2", "2", "1", "diverged", "1"], "minimize", [(1, 2.0, "3 of 3"), (2, 1.0, "2 of 3")]),
        (["true", "1", "1", "false", "2", "x"], "minimize", [(1, 1.0, "3 of 3"), (2, 1.0, "2 of 3")]),
        ([str(2**70), "0", "0", "1", "1", "1"], "minimize", [(2, 1.0, "3 of 3"), (1, 2**70 / 3, "3 of 3")]),
        ([False] * 3 + [True] * 3, "maximize", [(2, 1.0, "3 of 3"), (1, 0.0, "3 of 3")]),
        ([1e308, 1e308, 1e308, 5.0, 5.0, 5.0], "maximize", [(2, 5.0, "3 of 3"), (1, None, "3 of 3")]),
    ],
)
def test_the_mean_over_a_parameter_decides(values: list[Any], goal: Any, wanted: list[Any]) -> None:
    """Over the folds of a cross-validation, with every way a value can be missing."""
    found = rank(table(space(FOLDS), dict(enumerate(values))), Metric("m", goal, ("fold",)))
    assert rows(found) == wanted
    assert found.columns == ["param.a", "mean", "sd", "n", "of", "point_id"]


def test_the_spread_is_that_of_a_sample() -> None:
    """sd has n - 1 below; one value has none."""
    found = rank(table(space(FOLDS), {0: 1.0, 1: 2.0, 2: 6.0, 3: 9.0}), Metric("m", over=("fold",)))
    assert found["sd"].to_list() == [pytest.approx(statistics.stdev([1.0, 2.0, 6.0])), None]


def test_a_parameter_that_some_points_lack_is_averaged_where_it_is() -> None:
    """Points without a fold are a configuration of one."""
    here = Space(
        space().plan.__class__(
            *("fit:fit", 0, 1),
            (
                *space({"model": ["ols"]}).plan.blocks,
                *space({"model": ["ridge"], "fold": [0, 1]}).plan.blocks,
            ),
        )
    )
    found = rank(table(here, {0: 3.0, 1: 1.0, 2: 9.0}), Metric("m", over=("fold",)), space=here)
    assert rows(found) == [("ols", 3.0, "1 of 1"), ("ridge", 5.0, "2 of 2")]


def test_points_that_have_not_run_yet_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lucky first fold, or first replicate, is not the best of an unfinished run."""
    here = space(FOLDS, replicates=2)
    done = {0: 5.0, 1: 5.0, 2: 5.0, 3: 5.0, 4: 5.0, 5: 5.0, 6: 0.0}
    metric = Metric("m", over=("fold",))
    assert rows(rank(table(here, done), metric, space=here)) == [(1, 5.0, "6 of 6"), (2, 0.0, "1 of 6")]
    apart = rank(table(here, done), Metric("m"), space=here)
    assert rows(apart)[-1] == (2, 0, 0.0, "1 of 2")
    monkeypatch.setattr(ranking, "MOST_PLANNED", 5)  # too many to look at: what the fullest one has
    assert rows(rank(table(here, done), metric, space=here)) == [(1, 5.0, "6 of 6"), (2, 0.0, "1 of 6")]


def test_of_a_sweep_without_parameters_there_is_one_configuration() -> None:
    here = space(replicates=3)
    assert rows(rank(table(here, {0: 1.0, 1: 3.0}), Metric("m"), space=here)) == [(2.0, "2 of 3")]
    assert rank(table(here, {0: 1.0, 1: 3.0}), Metric("nothing"), space=here)["n"].to_list() == [0]
    assert rank(table(here, {}), Metric("m"), space=here).is_empty()


@pytest.mark.parametrize("values", [[1, 1.0], [0.0, -0.0], [0, 0.0, -0.0, 2]])
def test_values_that_a_table_writes_alike_are_configurations_of_their_own(values: list[Any]) -> None:
    """1 and 1.0 are two values: each has its own replicates, and no mean is over both."""
    here = space({"a": values}, replicates=2)
    measured = {index: 10.0 * (index // 2) + index % 2 for index in range(here.size)}
    wanted = [(10.0 * place + 0.5, 2, 2, here.point(2 * place).id) for place in range(len(values))]
    assert rank(table(here, measured), Metric("m")).select("mean", "n", "of", "point_id").rows() == wanted


def test_a_parameter_that_is_null_is_not_one_that_is_not_there() -> None:
    null, without = space({"b": [1], "a": [None]}).plan, space({"b": [1]}).plan
    here = Space(replace(null, replicates=2, blocks=(*null.blocks, *without.blocks)))
    found = rank(table(here, {0: 1.0, 1: 3.0, 2: 5.0, 3: 6.0}), Metric("m"))
    assert rows(found) == [(1, None, 2.0, "2 of 2"), (1, None, 5.5, "2 of 2")]


VALUES = st.one_of(st.none(), st.sampled_from([NAN, INF, -INF]), st.integers(-3, 3).map(float), st.floats(-1e3, 1e3))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_is_the_rules(data: st.DataObject) -> None:
    """Whatever is averaged, whatever failed and whatever has not run yet: as plain Python reads the rule."""
    when = data.draw(st.sampled_from([None, "a != 2"]))
    plan = space({"a": [1, 2, 3], "b": ["x", "y"], "fold": [0, 1, 2]}, replicates=data.draw(st.integers(1, 3))).plan
    first, second, fold = plan.blocks[0].dimensions
    fold = type(fold)(fold.names, fold.rows, when=when)
    here = Space(type(plan)(plan.target, 0, plan.replicates, (type(plan.blocks[0])("grid", (first, second, fold)),)))
    over = data.draw(st.sampled_from([(), ("fold",), ("b", "fold"), ("a", "b", "fold")]))
    metric = Metric("m", data.draw(st.sampled_from(["minimize", "maximize"])), over)
    points = list(here.points(0, here.size))
    values = {point.index: data.draw(VALUES) for point in points if data.draw(st.integers(0, 5))}
    groups: dict[str, list[Any]] = {}
    for point in points:
        key = str({name: value for name, value in point.params.items() if name not in over})
        groups.setdefault(key, []).append(point)

    def place(group: list[Any]) -> tuple[Any, ...]:
        found = [values[each.index] for each in group if math.isfinite(values.get(each.index) or NAN)]
        found += [0.0 for each in group if values.get(each.index) == 0.0]
        first = min(each.index for each in group if each.index in values)
        if not found:
            return 2.0, 0.0, first, first, 0, len(group)
        mean = float(f"{metric.sign * math.fsum(found) / len(found):.12e}")
        return 1 - len(found) / len(group), mean, first, first, len(found), len(group)

    expected = sorted(place(group) for group in groups.values() if any(each.index in values for each in group))
    found = rank(table(here, values), metric, space=here)
    ids = {point.id: point.index for point in points}
    assert [(ids[row["point_id"]], row["n"], row["of"]) for row in found.iter_rows(named=True)] == [
        each[3:] for each in expected
    ]
    top = rank(table(here, values), metric, space=here, top=2)
    assert top.equals(found.head(2))


def test_a_condition_keeps_rows_and_forgets_no_points(tmp_path: Path) -> None:
    """`--where "status == 'done'" --best` does not let a configuration win by the replicates that lived."""
    here, folder = space({"a": [1, 2]}, replicates=2), RunFolder(tmp_path)
    outcomes = {0: {"m": 5.0}, 1: {"m": 5.0}, 2: {"m": 0.0}, 3: ValueError("no")}
    ledger = Ledger(folder.ledger)
    ledger.adopt(here)
    ledger.record(batches([(here.point(i), each) for i, each in outcomes.items()]), git_commit=None, env_hash=None)
    write_results(folder, ledger, here)
    ledger.close()
    metric = Metric("m")
    for where in (None, "status == 'done'", "m < 100"):
        found = select(folder.parquet, where=where, best=5, metric=metric, space=here)
        assert rows(found) == [(1, 5.0, "2 of 2"), (2, 0.0, "1 of 2")]
    assert rows(select(folder.parquet, where="a == 2", best=5, metric=metric)) == [(2, 0.0, "1 of 2")]
    assert select(folder.parquet, where="m > 100", best=5, metric=metric).is_empty()
