"""Several rows a point: what a target may return or print, and results_long.parquet through a run's whole life."""

from __future__ import annotations

import base64
import contextlib
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.results import write_results
from sweepfleet.slot.printed import NoResultError, read
from sweepfleet.slot.records import Packet
from sweepfleet.slot.tables import MAX_ROWS, MAX_ROWS_BYTES, columns_of, packed, split, unpacked
from sweepfleet.slot.target import ROWS_BYTES, CommandFailedError, find
from sweepfleet.slot.values import BadResultError
from sweepfleet.slot.writer import metrics_of
from tests.command import Project
from tests.slot.test_writer import read as read_memory
from tests.support import Memory, batches, context, grid, outcomes_of, space, written


@dataclass
class Fold:
    fold: int
    loss: float


class PandasFrame:
    """As pandas': a name, `to_dict("list")`, a length; its index is no column."""

    def __init__(self, columns: dict[Any, list[Any]]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def to_dict(self, orient: str) -> dict[Any, list[Any]]:
        assert orient == "list"
        return self._columns


PandasFrame.__module__, PandasFrame.__name__ = "pandas.core.frame", "DataFrame"
TWO = [{"fold": 0, "loss": 0.5}, {"fold": 1, "loss": 0.25}]
COLUMNS = {"fold": [0, 1], "loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("value", "metrics", "columns"),
    [
        (TWO, {"rows": 2}, COLUMNS),
        ([Fold(0, 0.5), Fold(1, 0.25)], {"rows": 2}, COLUMNS),
        (pl.DataFrame(TWO), {"rows": 2}, COLUMNS),
        (PandasFrame({"fold": [0, 1], "loss": [np.float64(0.5), 0.25]}), {"rows": 2}, COLUMNS),
        (({"best": 0.25}, TWO), {"best": 0.25}, COLUMNS),
        (({"best": {"loss": 0.25}}, pl.DataFrame(TWO)), {"best.loss": 0.25}, COLUMNS),
        ((0.25, TWO), {"value": 0.25}, COLUMNS),
        ((None, TWO), {"rows": 2}, COLUMNS),
        (({}, TWO), {}, COLUMNS),
        ([], {"rows": 0}, {}),
        (pl.DataFrame({"a": []}), {"rows": 0}, {"a": []}),
        ([{"a": 1}, {"b": "x"}], {"rows": 2}, {"a": [1, None], "b": [None, "x"]}),
        ([{"a": {"b": 1}, "l": [1]}], {"rows": 1}, {"a.b": [1], "l": ["[1]"]}),
        (pl.DataFrame({"l": [[1, 2]], "s": [{"k": 1}]}), {"rows": 1}, {"l": ["[1, 2]"], "s": ['{"k": 1}']}),
        ([{"n": 2**64 + 1}, {"n": 0.5}], {"rows": 2}, {"n": [2**64 + 1, 0.5]}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_rows_come_alone_or_behind_the_metrics(value: Any, metrics: Any, columns: Any) -> None:
    """Lists of maps and frames, packed and read back; a packet brings them with the metrics."""
    point = space({"a": [1]}).point(0)
    memory = Memory()
    try:
        for each in ({"x": 1}, value, {"x": 2}):
            memory.writer.done(point, bytes.fromhex(point.id), each, started=0.0, duration_s=0.0)
        memory.writer.idle()
        segment = Packet.from_bytes(Packet("x", segments=[read_memory(memory)]).to_bytes()).segments[0]
    finally:
        memory.close()
    assert [found for _, found in outcomes_of(Packet("x", segments=[segment]))] == [{"x": 1}, metrics, {"x": 2}]
    assert columns_of(unpacked(segment.payload(list(segment.rows())[1]))[1]) == columns
    assert metrics_of(value, metric="value") == metrics


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([{"row": 1}], "a column 'row', which results_long already has"),
        (pl.DataFrame({"point_id": ["x"]}), "a column 'point_id'"),
        ([{"a": 1}, 2], "a list of dicts (rows)"),
        ([{1: 2}], "the key 1"),
        (PandasFrame({0: [1]}), "the key 0"),
        ([{"a": {1}}], "of type set"),
        ([{"a": 1}] * (MAX_ROWS + 1), "returned 100,001 rows; the limit is 100,000"),
        (pl.DataFrame({"a": range(MAX_ROWS + 1)}), "returned 100,001 rows; the limit is 100,000"),
        ([{"a": "x" * 50_000}] * 100, "the limit for a point is 4,194,304. Write them into artifact_dir"),
        ([{f"c{number}": 1 for number in range(4097)}], "more than 4,096 metrics"),
        (({"a": 1}, TWO, TWO), "of type tuple"),
        ((TWO, TWO), "of type list"),
    ],
)
def test_rows_that_are_no_table_are_refused(value: Any, says: str) -> None:
    with pytest.raises(BadResultError) as refusal:
        metrics_of(value, metric="value")
    assert says in str(refusal.value)


def test_the_largest_rows_fit_the_memory_that_is_left(request: pytest.FixtureRequest) -> None:
    """`full` is said while there is room for rows that compression cannot make smaller."""
    memory = Memory()
    request.addfinalizer(memory.close)
    rows = [{"a": base64.b85encode(random.Random(1).randbytes(MAX_ROWS_BYTES * 3 // 4)).decode().replace("\\", "/")}]
    point, count = space({"a": [1]}).point(0), 0
    assert len(packed(b"{}", split(rows)[1] or {})) > MAX_ROWS_BYTES * 2 // 3
    while not memory.writer.full:
        memory.writer.done(point, bytes.fromhex(point.id), rows, started=0.0, duration_s=0.0)
        count += 1
    assert count > 10


PRINTED = '{"fold": 0, "loss": 0.5}\n{"fold": 1, "loss": 0.25}\n'


@pytest.mark.parametrize(
    ("output", "result"),
    [
        (f"::rows::\n{PRINTED}", (None, TWO)),
        (f'loading\n{{"best": 0.25}}\n::rows::\n{PRINTED}', ({"best": 0.25}, TWO)),
        (f'{{\n  "best": 0.25\n}}\n  ::rows::  \r\n\n{PRINTED}\n', ({"best": 0.25}, TWO)),
        (f'::rows::\n{PRINTED}::endrows::\nbye\n{{"best": 0.25}}\n', ({"best": 0.25}, TWO)),
        (f"0.25\n::rows::\n{PRINTED}::endrows::\n", (0.25, TWO)),
        ("::rows::\n", (None, [])),
        ('::rows:: are coming\n{"best": 0.25}\n', {"best": 0.25}),
        (f"\x1b[1m::rows::\x1b[0m\n{PRINTED}", (None, TWO)),
    ],
)
def test_a_command_prints_its_rows_below_a_marker(output: str, result: Any) -> None:
    assert read(output) == result


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (f"::rows::\n{PRINTED}bye\n", "line 3 below ::rows:: is not a JSON object, as each row is"),
        ("::rows::\n[1]\n", "line 1 below ::rows:: is not a JSON object, as each row is: [1]"),
        ('::rows::\n{"a": 1\n', "line 1 below ::rows::"),
        ('::rows::\n{"a": 1, "a": 2}\n', "the key 'a' is given twice"),
        (f"::rows::\n{PRINTED}::rows::\n{PRINTED}", "there are 2 ::rows:: lines"),
        (f'{{"a": 1\n::rows::\n{PRINTED}', "it is not closed"),
        (f"[1, 2]\n::rows::\n{PRINTED}", "is a list; a result must be an object"),
    ],
)
def test_rows_that_cannot_be_read_fail_the_point(output: str, says: str) -> None:
    with pytest.raises(NoResultError) as refusal:
        read(output)
    assert says in str(refusal.value)


@pytest.mark.parametrize("over", [False, True])
def test_printed_rows_are_bounded_and_never_read_by_halves(tmp_path: Path, over: bool) -> None:  # noqa: FBT001
    """After megabytes of words; and when they are too many, their last one is not taken for the result."""
    count = ROWS_BYTES // 10 if over else 1000
    code = (
        f"for _ in range(20): print('x' * {ROWS_BYTES // 10})\n"
        f"print('::rows::')\nfor i in range({count}): print('{{\"loss\": %d}}' % i)\n"
    )
    (tmp_path / "talk.py").write_text(code)
    plan = grid({"a": [1]})
    here = Space(plan)
    compute = find(context(tmp_path, "", plan, target=Target(command=(sys.executable, "talk.py"))), here)
    if over:
        with pytest.raises(CommandFailedError, match="the limit for a point's rows"):
            compute(here.point(0))
    else:
        found, rows = compute(here.point(0))
        assert (found, len(rows)) == (None, count)


# Through a run's life.


@contextlib.contextmanager
def opened(folder: RunFolder, here: Space) -> Iterator[Ledger]:
    ledger = Ledger(folder.ledger)
    try:
        ledger.adopt(here)
        yield ledger
    finally:
        ledger.close()


TIMES = iter(range(1, 1000))


def ended(folder: RunFolder, here: Space, outcomes: dict[int, Any], *, redo: bool = False) -> list[tuple[Any, ...]]:
    """The rows of results_long.parquet, by their points' parameter, after these points ended so."""
    with opened(folder, here) as ledger:
        if redo:
            ledger.redo(outcomes)
        for index, outcome in outcomes.items():
            ledger.record(
                batches([(here.point(index), outcome)], started=float(next(TIMES))), git_commit=None, env_hash=None
            )
        return table(folder, ledger, here)


def table(folder: RunFolder, ledger: Ledger, here: Space) -> list[tuple[Any, ...]]:
    write_results(folder, ledger, here)
    if not folder.long.exists():
        return []
    wide = pl.read_parquet(folder.parquet).select("point_id", "param.a")
    long = pl.read_parquet(folder.long)
    assert long.columns[:2] == ["point_id", "row"]
    return long.join(wide, on="point_id", maintain_order="left").select("param.a", "row", *long.columns[2:]).rows()


def rows(*values: int) -> list[dict[str, int]]:
    return [{"x": value} for value in values]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_rows_stand_in_the_grids_order_with_what_each_has(folder: RunFolder) -> None:
    here = space({"a": [10, 20, 30]})
    found = ended(folder, here, {2: rows(7), 0: ({"m": 1}, [{"x": 1, "y": "t"}, {"y": "u"}]), 1: {"m": 2}})
    assert found == [(10, 0, 1, "t"), (10, 1, None, "u"), (30, 0, 7, None)]
    wide = pl.read_parquet(folder.parquet)
    assert (wide["metric.m"].to_list(), wide["metric.rows"].to_list()) == ([1, 2, None], [None, None, 1])


def test_columns_have_the_kind_that_all_rows_fit(folder: RunFolder) -> None:
    """As metrics have it: integers keep their digits, whatever another point's rows have."""
    here = space({"a": [1, 2]})
    ended(folder, here, {0: [{"n": 2**53 + 1, "f": 1, "b": True}], 1: [{"n": 0.5, "f": 2.5, "b": None}]})
    found = pl.read_parquet(folder.long)
    assert list(found.schema.values())[2:] == [pl.String, pl.Float64, pl.Boolean]
    assert found["n"].to_list() == [str(2**53 + 1), "0.5"]


def test_the_file_is_there_only_where_points_returned_rows(folder: RunFolder) -> None:
    here = space({"a": [1, 2]})
    assert ended(folder, here, {0: rows(1)}) == [(1, 0, 1)]
    assert ended(folder, here, {0: {"m": 1}}, redo=True) == []
    assert not folder.long.exists()


def test_a_points_rows_are_those_of_its_row(folder: RunFolder) -> None:
    """A finished point keeps its rows when it ends again; one that is computed again has the new ones or none."""
    here = space({"a": [1, 2]})
    assert ended(folder, here, {0: rows(1, 2), 1: ValueError("no")}) == [(1, 0, 1), (1, 1, 2)]
    assert ended(folder, here, {0: rows(9), 1: rows(3)}) == [(1, 0, 1), (1, 1, 2), (2, 0, 3)]
    assert ended(folder, here, {0: rows(9)}, redo=True) == [(1, 0, 9), (2, 0, 3)]
    assert ended(folder, here, {0: ValueError("no")}, redo=True) == [(2, 0, 3)]
    assert ended(folder, here, {0: rows(5)}) == [(1, 0, 5), (2, 0, 3)]
    with opened(folder, here) as ledger:
        ledger.forget([here.point(1).id])
        assert table(folder, ledger, here) == [(1, 0, 5)]
        ledger.forget([here.point(0).id])
        assert table(folder, ledger, here) == []


def test_an_attempt_that_is_tried_again_changes_no_rows(folder: RunFolder) -> None:
    here = space({"a": [1, 2]})
    with opened(folder, here) as ledger:
        outcomes = [(here.point(0), rows(1)), (here.point(1), ValueError("again"))]
        ledger.record(batches(outcomes, again=[1]), git_commit=None, env_hash=None)
        assert table(folder, ledger, here) == [(1, 0, 1)]


def test_rows_follow_their_point_through_changes_of_the_plan(folder: RunFolder) -> None:
    """To its new place; out of the tables with a point that the plan no longer has, and back with it."""
    assert ended(folder, space({"a": [1, 2]}), {0: rows(1), 1: rows(2)}) == [(1, 0, 1), (2, 0, 2)]
    assert ended(folder, space({"a": [3, 2]}), {0: rows(3)}) == [(3, 0, 3), (2, 0, 2)]
    assert ended(folder, space({"a": [2, 1, 3]}), {}) == [(2, 0, 2), (1, 0, 1), (3, 0, 3)]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_many_rows_come_in_parts(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("sweepfleet.run.long.CHUNK_ROWS", chunk)
    here = space({"a": range(5)})
    found = ended(folder, here, {index: rows(*range(index)) for index in range(5)})
    assert found == [(index, row, row) for index in range(5) for row in range(index)]


def test_the_metrics_of_points_with_rows_are_those_that_decide() -> None:
    from sweepfleet.run.rows import rows_of

    here = space({"a": range(3)})
    pairs = [(here.point(0), ({"m": 2}, rows(1))), (here.point(1), ({"m": 1}, rows(2))), (here.point(2), rows(3))]
    (found,) = rows_of(Packet("x", segments=[written(pairs)]))
    assert found.measured("m").tolist()[:2] == [2.0, 1.0]
    assert list(found.returned()) == ["m", "rows"]
    assert sorted(found.tables()) == [0, 1, 2]


CODE = """\
def fit(a):
    folds = [{"fold": fold, "loss": a + fold} for fold in range(a)]
    return {"best": a}, folds
"""


def test_a_sweep_keeps_the_rows_beside_its_table(tmp_path: Path) -> None:
    """As a user runs it: a function and a command, resumed with more points; `inv results` says where they are."""
    project = Project(tmp_path).write("run: fit:fit\nparameters: {a: [1, 2]}\nname: folds\n", CODE)
    project.sweep()
    project.sweep("--set", "a=1,2,3")
    long = pl.read_parquet(project.runs / "folds" / "results_long.parquet")
    assert long.drop("point_id").rows() == [
        *((row, row, a + row) for a in (1, 2, 3) for row in range(a)),
    ]
    assert "results_long.parquet" in project.inv("results", "--name", "folds").stdout
    (tmp_path / "folds.py").write_text("""print('{"best": 1}\\n::rows::\\n{"fold": 0}\\n{"fold": 1}')\n""")
    command = f"command: [{sys.executable}, folds.py]\nparameters: {{a: [1]}}\nname: printed\n"
    project.write(command)
    assert "rows   2, with fold" in project.sweep("--test-point", "0").stdout
    project.sweep()
    assert pl.read_parquet(project.runs / "printed" / "results_long.parquet")["fold"].to_list() == [0, 1]
    assert project.table("printed")["metric.best"].to_list() == [1]
