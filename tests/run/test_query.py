"""Questions to a finished table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.query import json_rows, select
from sweepfleet.run.results import write_results
from sweepfleet.run.summary import best_of
from tests.support import batches, space

NAN, INF = math.nan, math.inf


def table(path: Path, *, replicate: list[int] | None = None, **columns: list[Any]) -> Path:
    """A results file with an `a` parameter and these metrics."""
    count = len(next(iter(columns.values())))
    pl.DataFrame(
        {
            "point_id": [f"{index:016x}" for index in range(count)],
            "replicate": replicate or [0] * count,
            "seed": list(range(count)),
            "param.a": list(range(count)) if replicate is None else [index // 2 for index in range(count)],
            "param.net.depth": [index % 2 for index in range(count)] if replicate is None else [0] * count,
            **{f"metric.{name}": values for name, values in columns.items()},
            "status": ["done" if index % 4 != 3 else "failed" for index in range(count)],
            "attempts": [1] * count,
            "error_type": [None if index % 4 != 3 else "ValueError" for index in range(count)],
        },
        strict=False,
    ).write_parquet(path / "results.parquet")
    return path / "results.parquet"


def chosen(path: Path, *, where: str | None = None, best: int | None = None, goal: Any = "minimize") -> list[int]:
    """The indexes of the rows that are selected, in their order."""
    return [
        int(row, 16) for row in select(path, where=where, best=best, metric=Metric("m", goal))["point_id"].to_list()
    ]


def test_without_a_question_every_row_comes(tmp_path: Path) -> None:
    path = table(tmp_path, m=[3.0, 1.0, 2.0])
    assert select(path, where=None, best=None, metric=None).equals(pl.read_parquet(path))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("a < 2", [0, 1]),
        ("a < 2 and m > 1", [0]),
        ("status == 'failed'", [3]),
        ("error_type == 'ValueError'", [3]),
        ("m > 2.5", [0]),
        ("m == 1 or a == 2", [1, 2]),
        ("a in [0, 3]", [0, 3]),
        ("a > 100", []),
        ("True", [0, 1, 2, 3]),
        ("1 > 2", []),
        ("point_id == '0000000000000002'", [2]),
    ],
)
def test_a_condition_keeps_the_rows_for_which_it_holds(tmp_path: Path, where: str, rows: list[int]) -> None:
    """Parameters, metrics and the other columns, in the grid's own language."""
    assert chosen(table(tmp_path, m=[3.0, 1.0, 2.0, None]), where=where) == rows


def test_a_name_may_be_short_or_full(tmp_path: Path) -> None:
    """`net.depth`, `param.net.depth` and `metric.m` all mean their column."""
    path = table(tmp_path, m=[3.0, 1.0, 2.0, 0.0])
    assert chosen(path, where="net.depth == 1") == chosen(path, where="param.net.depth == 1") == [1, 3]
    assert chosen(path, where="metric.m < 1.5") == [1, 3]


def test_a_name_that_means_two_columns_must_be_written_in_full(tmp_path: Path) -> None:
    """A parameter and a metric of one name are not confused; a column's own name is always itself."""
    path = table(tmp_path, a=[9, 8], seed=[5, 6])
    with pytest.raises(UsageError, match=r"Write param\.a or metric\.a"):
        select(path, where="a == 9", best=None, metric=None)
    assert select(path, where="metric.a == 9", best=None, metric=None)["param.a"].to_list() == [0]
    assert select(path, where="param.a == 1", best=None, metric=None)["metric.a"].to_list() == [8]
    assert select(path, where="seed == 1", best=None, metric=None)["metric.seed"].to_list() == [6]


@pytest.mark.parametrize("where", ["b < 2", "a <", "__import__('os')", "a.b.c", "alpha == 1"])
def test_a_condition_that_cannot_be_read_is_refused(tmp_path: Path, where: str) -> None:
    """The error repeats what was written."""
    with pytest.raises(UsageError) as error:
        chosen(table(tmp_path, m=[1.0]), where=where)
    assert repr(where) in str(error.value)


@pytest.mark.parametrize(
    ("goal", "values", "rows"),
    [
        ("minimize", [3.0, 1.0, 2.0, 0.5], [3, 1, 2, 0]),
        ("maximize", [3.0, 1.0, 2.0, 0.5], [0, 2, 1, 3]),
        ("minimize", [1.0, NAN, 1.0, 0.0, None], [3, 0, 2]),
        ("maximize", [1.0, NAN, 1.0, 2.0, None], [3, 0, 2]),
        ("minimize", [-INF, 1.0, INF], [1]),
        ("maximize", [-INF, 1.0, INF], [1]),
        ("minimize", [2, 1, None], [1, 0]),
        ("maximize", [False, True, None], [1, 0]),
        ("minimize", [NAN, NAN], []),
    ],
)
def test_the_best_come_first(tmp_path: Path, goal: str, values: list[Any], rows: list[int]) -> None:
    """NaN, infinite and missing are never best, and equal ones stay in the grid's order."""
    path = table(tmp_path, m=values)
    assert chosen(path, best=10, goal=goal) == rows
    assert chosen(path, best=1, goal=goal) == rows[:1]


def test_among_many_equals_the_grids_order_stays(tmp_path: Path) -> None:
    """However many rows there are, and whichever way they are sorted."""
    path = table(tmp_path, m=[float(index % 3) for index in range(30_000)])
    assert chosen(path, best=10_000) == list(range(0, 30_000, 3))
    assert chosen(path, best=10_000, goal="maximize") == list(range(2, 30_000, 3))


def test_the_best_of_those_that_a_condition_leaves(tmp_path: Path) -> None:
    assert chosen(table(tmp_path, m=[3.0, 1.0, 2.0, 0.5]), where="status == 'done'", best=2) == [1, 2]


def test_best_needs_a_metric_that_is_there_and_a_number(tmp_path: Path) -> None:
    """Without one, or of text, it says what there is; none of it is a traceback."""
    path = table(tmp_path, m=[1.0], t=["text"])
    for metric in (None, Metric("nothing"), Metric("t")):
        with pytest.raises(UsageError) as error:
            select(path, where=None, best=1, metric=metric)
        assert "m, t" in str(error.value)
        assert metric is None or f"no point has a number as '{metric.name}'" in str(error.value)
    with pytest.raises(UsageError, match="1 or more"):
        select(path, where=None, best=0, metric=Metric("m"))


@pytest.mark.parametrize(
    ("where", "right"),
    [
        ("n > 1152921504606846976", [0, 2]),
        ("n == 9007199254740993", [1]),
        ("n < 18446744073709551617", [1, 3]),
        ("n == 18446744073709551617", [0]),
        ("n == 0.5", [3]),
        ("metric.n > 18446744073709551617", [2]),
        ("mixed == 'diverged'", [1]),
        ("mixed > 18446744073709551616", [0]),
        ("mixed == True", [2]),
        ("a > 9223372036854775808", [1, 2]),
        ("a == 'x'", [3]),
        ("a == 1", [0]),
    ],
)
def test_numbers_that_a_table_keeps_as_text_are_compared_as_numbers(
    tmp_path: Path, where: str, right: list[int]
) -> None:
    """Integers with all their digits, beside floats and beside words, in metrics and parameters."""
    values: list[Any] = [2**64 + 1, 2**53 + 1, 2**70, 0.5]
    mixed: list[Any] = [2**64 + 1, "diverged", True, None]
    here = space({"a": [1, 2**63 + 1, 2**64, "x"]})
    folder = run_of(tmp_path, here, [{"n": n, "mixed": m} for n, m in zip(values, mixed, strict=True)])
    found = select(folder.parquet, where=where, best=None, metric=None)
    assert found["point_id"].to_list() == [here.point(index).id for index in right]


def test_json_rows_have_every_digit_as_a_number(tmp_path: Path) -> None:
    here = space({"a": [1, 2]})
    folder = run_of(tmp_path, here, [{"n": 2**64 + 1, "t": "7"}, {"n": 0.5, "t": "x"}])
    rows = list(json_rows(folder.parquet, pl.read_parquet(folder.parquet)))
    assert [(row["metric.n"], row["metric.t"]) for row in rows] == [(2**64 + 1, "7"), (0.5, "x")]


@pytest.mark.parametrize(("goal", "right"), [("minimize", [3]), ("maximize", [2])])
def test_the_best_of_numbers_kept_as_text_is_found(tmp_path: Path, goal: Any, right: list[int]) -> None:
    here = space({"a": range(4)})
    folder = run_of(tmp_path, here, [{"n": n} for n in (2**64 + 1, 10, 2**70, 9.5)])
    found = select(folder.parquet, where=None, best=1, metric=Metric("n", goal))  # as text, 9.5 would be the greatest
    assert found["point_id"].to_list() == [here.point(index).id for index in right]


@pytest.mark.parametrize(
    ("outcomes", "replicates", "mean"),
    [
        ([2**53 + 1, 1], 1, 2**53 + 1),
        ([2**64 + 1, 0.5], 1, 2**64 + 1),
        ([2**64 + 1, "diverged"], 1, 2**64 + 1),
        ([2**53 + 1, 2**53 + 1], 2, float(2**53)),
        ([0.25, 0.125], 1, 0.25),
        ([True, False], 1, 1.0),
    ],
)
def test_the_summarys_best_has_every_digit(tmp_path: Path, outcomes: list[Any], replicates: int, mean: Any) -> None:
    """Of one value that value, and not the nearest float; of several their mean."""
    here = space({"a": range(2 // replicates)}, replicates=replicates)
    folder = run_of(tmp_path, here, [{"n": n} for n in outcomes])
    ledger = Ledger(folder.ledger, readonly=True)
    best = best_of(Metric("n", "maximize"), here, ledger, folder.parquet)
    ledger.close()
    assert best is not None
    assert json.dumps(best["mean"]) == json.dumps(mean)


def run_of(path: Path, here: Space, outcomes: list[Any]) -> RunFolder:
    """A run's folder with its table, after the first points returned these."""
    folder = RunFolder(path)
    ledger = Ledger(folder.ledger)
    ledger.adopt(here)
    ledger.record(
        batches(list(zip(here.points(0, here.size), outcomes, strict=True))), git_commit=None, env_hash=None
    )
    write_results(folder, ledger, here)
    ledger.close()
    return folder
