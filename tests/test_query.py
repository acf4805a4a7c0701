"""Questions to a finished table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from grid.errors import UsageError
from grid.sweep import Metric
from sweep.query import select

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
    with pytest.raises(UsageError, match="a"):
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
    with pytest.raises(UsageError, match="1 or more"):
        select(path, where=None, best=0, metric=Metric("m"))
