"""Questions to a table: conditions in the grid's language, and what counts as best."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from grid.errors import UsageError
from sweep.query import best_of, select


def table(path: Path, losses: list[float | None], replicates: int = 1) -> Path:
    rows = len(losses)
    frame = pl.DataFrame(
        {
            "point_id": [f"{index:016x}" for index in range(rows)],
            "replicate": [index % replicates for index in range(rows)],
            "param.a": [index // replicates for index in range(rows)],
            "param.loss": ["x"] * rows,
            "metric.loss": pl.Series(losses, dtype=pl.Float64),
            "metric.name": ["n"] * rows,
            "status": ["failed" if loss is None else "done" for loss in losses],
        }
    )
    frame.write_parquet(path / "results.parquet")
    return path / "results.parquet"


def test_the_best_is_finite_and_the_first_among_equals(tmp_path: Path) -> None:
    path = table(tmp_path, [math.nan, 2.0, -math.inf, 1.0, None, 1.0])
    assert best_of(path, "loss", maximize=False) == (f"{3:016x}", 1.0, 1)
    assert best_of(path, "loss", maximize=True) == (f"{1:016x}", 2.0, 1)


def test_replicates_are_ranked_by_their_mean(tmp_path: Path) -> None:
    path = table(tmp_path, [0.0, 10.0, 3.0, 4.0], replicates=2)
    assert best_of(path, "loss", maximize=False) == (f"{2:016x}", 3.5, 2)


@pytest.mark.parametrize("losses", [[math.nan, None], [None], []])
def test_without_a_finite_metric_nothing_is_best(tmp_path: Path, losses: list[float | None]) -> None:
    assert best_of(table(tmp_path, losses), "loss", maximize=False) is None


def test_a_metric_that_is_text_or_missing_has_no_best(tmp_path: Path) -> None:
    path = table(tmp_path, [1.0])
    assert best_of(path, "name", maximize=False) is None
    assert best_of(path, "other", maximize=False) is None


def test_conditions_name_columns_in_short_where_that_is_clear(tmp_path: Path) -> None:
    path = table(tmp_path, [3.0, 1.0, None, 2.0])

    def found(where: str) -> list[int]:
        return select(path, where=where, best=None, metric=None)["param.a"].to_list()

    assert found("a >= 1 and status == 'done'") == [1, 3]
    assert found("metric.loss < 2.5") == [1, 3]
    assert found("status == 'failed'") == [2]
    with pytest.raises(UsageError, match="loss"):  # a parameter and a metric have this name
        found("loss < 1")
    with pytest.raises(UsageError, match="where"):
        found("__import__('os')")


def test_best_ranks_and_leaves_out_what_has_no_number(tmp_path: Path) -> None:
    path = table(tmp_path, [3.0, math.nan, 1.0, None, 2.0])
    rows = select(path, where=None, best=2, metric=("loss", "minimize"))
    assert rows["metric.loss"].to_list() == [1.0, 2.0]
    rows = select(path, where="a > 0", best=9, metric=("loss", "maximize"))
    assert rows["metric.loss"].to_list() == [2.0, 1.0]
    with pytest.raises(UsageError, match="needs a metric"):
        select(path, where=None, best=2, metric=None)
