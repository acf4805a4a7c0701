"""The tables: every row that the ledger has, in the grid's order, with the right types, bit for bit."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from grid.plan import Plan
from grid.space import Space
from sweep import results
from sweep.folder import RunFolder
from sweep.ledger import Ledger
from sweep.results import write_results
from tests.support import batches, grid


class Run:
    """A run's folder with a ledger that a test fills."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.folder = RunFolder(path)
        self.space = Space(plan)
        self.ledger = Ledger(self.folder.ledger)
        self.ledger.adopt(self.space)

    def record(self, outcomes: dict[int, Any], **rest: Any) -> None:
        pairs = [(self.space.point(index), value) for index, value in outcomes.items()]
        self.ledger.record(batches(pairs, **rest), git_commit="c0ffee", env_hash="e1")

    def table(self) -> pl.DataFrame:
        write_results(self.folder, self.ledger, self.space)
        return pl.read_parquet(self.folder.parquet)


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Run]:
    run = Run(tmp_path, getattr(request, "param", None) or grid({"a": [1, 2, 3, 4]}))
    yield run
    run.ledger.close()


def test_rows_come_in_the_grids_order_whatever_order_they_ended_in(run: Run) -> None:
    for index in (3, 0, 2, 1):
        run.record({index: {"x": float(index)}})
    table = run.table()
    assert table["param.a"].to_list() == [1, 2, 3, 4]
    assert table["metric.x"].to_list() == [0.0, 1.0, 2.0, 3.0]
    assert table["point_id"].to_list() == [run.space.point(index).id for index in range(4)]
    assert table["seed"].to_list() == [run.space.point(index).seed for index in range(4)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_the_table_is_the_same_in_whatever_chunks_it_is_written(
    run: Run, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.record({0: {"x": 1.0}, 1: {"x": 2, "y": "text"}, 2: ValueError("no"), 3: {"y": None, "z": True}})
    whole = run.table()
    monkeypatch.setattr(results, "CHUNK", chunk)
    assert run.table().equals(whole)
    assert whole["metric.x"].to_list() == [1.0, 2.0, None, None]
    assert whole["metric.y"].to_list() == [None, "text", None, None]
    assert whole["metric.z"].to_list() == [None, None, None, True]


def test_floats_cross_bit_for_bit(run: Run) -> None:
    odd = [math.nan, -math.inf, -0.0, 5e-324]
    run.record({index: {"x": value} for index, value in enumerate(odd)})
    back = run.table()["metric.x"].to_list()
    assert [struct.pack("<d", value) for value in back] == [struct.pack("<d", value) for value in odd]


KINDS = {
    "i": [1, 2],
    "f": [1, 2.5],
    "b": [True, False],
    "s": ["x", "y"],
    "mixed": [1, "auto"],
    "l": [[1, 2], {"k": 1}],
}


@pytest.mark.parametrize("run", [grid(KINDS)], indirect=True)
def test_parameters_keep_their_kinds(run: Run) -> None:
    run.record(dict.fromkeys(range(run.space.size), 0.0))
    table = run.table()
    types = {name: table.schema[f"param.{name}"] for name in KINDS}
    assert types == {
        "i": pl.Int64,
        "f": pl.Float64,
        "b": pl.Boolean,
        "s": pl.String,
        "mixed": pl.String,
        "l": pl.String,
    }
    first, last = table.row(0, named=True), table.row(-1, named=True)
    assert (first["param.f"], last["param.f"]) == (1.0, 2.5)
    assert [json.loads(row["param.mixed"]) for row in (first, last)] == KINDS["mixed"]
    assert [json.loads(row["param.l"]) for row in (first, last)] == KINDS["l"]


@pytest.mark.parametrize("run", [grid({"a": [1, 2, 3], "b": [1, 2]}, where=("a != b",), replicates=2)], indirect=True)
def test_a_filtered_grid_with_replicates_loses_no_row(run: Run) -> None:
    there = [index for index in range(run.space.size) if run.space.exists(index)]
    run.record({index: float(index) for index in there})
    table = run.table()
    assert table.height == 8
    assert table["metric.value"].to_list() == [float(index) for index in there]
    assert table["replicate"].to_list() == [0, 1] * 4
    assert (table["param.a"] != table["param.b"]).all()


def test_failures_keep_their_error_and_have_no_metrics(run: Run) -> None:
    run.record({0: {"x": 1.0}, 1: ZeroDivisionError("by zero")}, attempts={1: 2}, losses={0: 3})
    done, failed = run.table().rows(named=True)
    assert (done["status"], done["attempts"], done["infra_losses"], done["error"]) == ("done", 1, 3, None)
    assert (failed["status"], failed["attempts"], failed["error_type"]) == ("failed", 3, "ZeroDivisionError")
    assert "by zero" in failed["error"]
    assert failed["metric.x"] is None
    assert (done["worker"], done["git_commit"], done["env_hash"]) == ("host/0", "c0ffee", "e1")


def test_an_integer_metric_that_is_sometimes_a_float_is_a_float(run: Run) -> None:
    run.record({0: {"n": 3}})
    assert run.table().schema["metric.n"] == pl.Int64
    run.record({1: {"n": 2.5}})
    assert run.table()["metric.n"].to_list() == [3.0, 2.5]


def test_csv_has_the_same_rows(run: Run) -> None:
    run.record({0: {"x": 0.1}, 1: {"x": 1 / 3}})
    table = run.table()
    text = pl.read_csv(run.folder.csv)
    assert text.columns == table.columns
    assert text["metric.x"].to_list() == [0.1, 1 / 3]


def test_without_rows_there_is_a_table_with_columns(run: Run) -> None:
    table = run.table()
    assert table.height == 0
    assert table.schema["param.a"] == pl.Int64


def test_a_table_is_there_whole_or_not_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.record({0: 1.0})
    before = run.table()
    run.record({1: 2.0})

    def breaks(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(results._Table, "frame", breaks)
    with pytest.raises(OSError, match="disk full"):
        run.table()
    monkeypatch.undo()
    assert pl.read_parquet(run.folder.parquet).equals(before)
    assert not [path for path in run.folder.path.iterdir() if path.name.startswith(".results")]
