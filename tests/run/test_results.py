"""The tables of a run: every row, every column, every bit."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.plan import Block, Plan
from sweepfleet.grid.space import Space
from sweepfleet.run import results
from sweepfleet.run.codes import label
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.results import write_results
from tests.support import batches, dimension, grid, space

AFTER = ["status", "attempts", "infra_losses", "error_type", "error", "started", "duration_s"]
AFTER += ["worker", "git_commit", "code", "env_hash"]
NAN = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@contextlib.contextmanager
def ledger_of(folder: RunFolder, here: Space) -> Iterator[Ledger]:
    ledger = Ledger(folder.ledger)
    try:
        ledger.adopt(here)
        yield ledger
    finally:
        ledger.close()


def table(folder: RunFolder, here: Space, outcomes: dict[int, Any], **rest: Any) -> pl.DataFrame:
    """results.parquet after these points ended so, each recorded on its own."""
    with ledger_of(folder, here) as ledger:
        for index, outcome in outcomes.items():
            ledger.record(batches([(here.point(index), outcome)], **rest), git_commit="c0ffee", env_hash="env")
        write_results(folder, ledger, here)
    return pl.read_parquet(folder.parquet)


def bits(values: Any) -> list[bytes | None]:
    return [None if value is None else struct.pack("<d", value) for value in values]


def test_the_columns_are_these_in_this_order_and_of_these_types(folder: RunFolder) -> None:
    """point_id, replicate, seed, parameters, metrics, and then how it went."""
    here = space({"b": [1, 2], "a": ["x", "y"]}, replicates=2)
    found = table(
        folder,
        here,
        {1: {"m": 0.5, "n": 3}, 6: ValueError("no")},
        attempts={1: 1},
        losses={6: 2},
        code={"fit.py": "1"},
        started=12.5,
        duration_s=0.25,
    )
    assert found.columns == ["point_id", "replicate", "seed", "param.b", "param.a", "metric.m", "metric.n", *AFTER]
    assert list(found.schema.values()) == [
        *(pl.String, pl.Int64, pl.Int64, pl.Int64, pl.String, pl.Float64, pl.Int64),
        *(
            pl.String,
            pl.Int64,
            pl.Int64,
            pl.String,
            pl.String,
            pl.Float64,
            pl.Float64,
            pl.String,
            pl.String,
            pl.String,
            pl.String,
        ),
    ]
    one, six = here.point(1), here.point(6)
    end = (12.5, 0.25, "host/0", "c0ffee", label({"fit.py": "1"}), "env")
    assert found.rows() == [
        (one.id, 1, one.seed, 1, "x", 0.5, 3, "done", 2, 0, None, None, *end),
        (six.id, 0, six.seed, 2, "y", None, None, "failed", 1, 2, "ValueError", "ValueError: no", *end),
    ]


def test_csv_and_parquet_say_the_same(folder: RunFolder) -> None:
    """The file for everybody has the same rows and columns."""
    here = space({"a": [1.5, 2.5], "t": ['quoted "x", y', "line\nbreak"]})
    found = table(folder, here, {index: {"m": index + 0.1} for index in range(4)})
    with folder.csv.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == found.columns
    assert [row[header.index("param.t")] for row in rows] == found["param.t"].to_list()
    assert [float(row[header.index("metric.m")]) for row in rows] == found["metric.m"].to_list()
    assert [row[0] for row in rows] == found["point_id"].to_list()


@pytest.mark.parametrize("mixed", [False, True])
def test_floats_survive_bit_for_bit(folder: RunFolder, *, mixed: bool) -> None:
    """NaN with its payload, infinities, minus zero, the smallest and the largest, packed one way or several."""
    values = [NAN, -math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1]
    here = space({"a": range(len(values) + 1)})
    outcomes: dict[int, Any] = {index: {"m": value} for index, value in enumerate(values)}
    if mixed:
        outcomes[len(values)] = {"m": 1.0, "other": 1.0}
    found = table(folder, here, outcomes)["metric.m"].to_list()
    assert bits(found)[: len(values)] == bits(values)


@pytest.mark.parametrize(
    ("values", "dtype", "column"),
    [
        ([1, 2, -(2**63) + 1], pl.Int64, [1, 2, -(2**63) + 1]),
        ([1, 2.5, None], pl.Float64, [1.0, 2.5, None]),
        ([2**63 - 1, 2**63], pl.String, [str(2**63 - 1), str(2**63)]),
        ([2**53 + 1, -(2**63)], pl.Int64, [2**53 + 1, -(2**63)]),
        ([2**53, 0.5], pl.Float64, [2.0**53, 0.5]),
        ([2**60, 0.5, True], pl.Float64, [2.0**60, 0.5, 1.0]),
        ([2**53 + 1, 0.5, math.nan, None], pl.String, ["9007199254740993", "0.5", "NaN", None]),
        ([-(2**53) - 1, 1e300, True], pl.String, ["-9007199254740993", "1e+300", "1"]),
        ([2**70, 0.5], pl.Float64, [2.0**70, 0.5]),
        ([2**64 + 1, 0.5], pl.String, [str(2**64 + 1), "0.5"]),
        ([2**64 + 1, True, False], pl.String, [str(2**64 + 1), "1", "0"]),
        ([-(2**70)], pl.String, [str(-(2**70))]),
        ([2**64 + 1, "diverged", True, 2**53 + 1], pl.String, [str(2**64 + 1), "diverged", "true", str(2**53 + 1)]),
        ([10**3999, 1], pl.String, [str(10**3999), "1"]),
        ([2**53 + 1, True], pl.Int64, [2**53 + 1, 1]),
        ([True, False, None], pl.Boolean, [True, False, None]),
        (["a", "", None], pl.String, ["a", "", None]),
        ([None, None], pl.Float64, [None, None]),
        ([1, "a", None, 0.5, True], pl.String, ["1", "a", None, "0.5", "true"]),
        ([True, 1], pl.Int64, [1, 1]),
        ([True, 0.5], pl.Float64, [1.0, 0.5]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_a_metrics_column_is_of_the_kind_that_all_its_values_fit(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, values: list[Any], dtype: Any, column: list[Any], chunk: int
) -> None:
    """However the rows fall into chunks: int, float, bool, text; mixed ones as text."""
    monkeypatch.setattr(results, "CHUNK", chunk)
    here = space({"a": range(len(values))})
    found = table(folder, here, {index: {"m": value} for index, value in enumerate(values)})["metric.m"]
    assert (found.dtype, found.to_list()) == (dtype, column)
    with folder.csv.open(newline="") as file:
        cells = [row["metric.m"] for row in csv.DictReader(file)]
    if dtype in (pl.Int64, pl.String):
        assert cells == ["" if value is None else str(value) for value in column]


@pytest.mark.parametrize(
    ("values", "dtype", "column"),
    [
        ([1, 2], pl.Int64, [1, 2]),
        ([1, 2.5], pl.Float64, [1.0, 2.5]),
        ([1e-4, math.inf, math.nan], pl.Float64, [1e-4, math.inf, math.nan]),
        ([True, False], pl.Boolean, [True, False]),
        (["a", "1"], pl.String, ["a", "1"]),
        ([None, 3], pl.Int64, [None, 3]),
        ([[1, 2], {"k": [None]}], pl.String, ["[1, 2]", '{"k": [null]}']),
        ([1, "a", None], pl.String, ["1", '"a"', None]),
        ([2**70, 1], pl.String, [str(2**70), "1"]),
        ([2**53 + 1, -(2**63)], pl.Int64, [2**53 + 1, -(2**63)]),
        ([2**53 + 1, 0.5], pl.String, [str(2**53 + 1), "0.5"]),
        ([2**60, 0.5], pl.Float64, [2.0**60, 0.5]),
        ([2**64 + 1, 0.5, True], pl.String, [str(2**64 + 1), "0.5", "true"]),
        ([-(2**70), "a"], pl.String, [str(-(2**70)), '"a"']),
    ],
    ids=repr,
)
def test_a_parameters_column_is_of_the_kind_that_all_its_values_fit(
    folder: RunFolder, values: list[Any], dtype: Any, column: list[Any]
) -> None:
    """Lists, maps and mixed values are JSON text."""
    here = space({"a": values, "b": [0]})
    found = table(folder, here, dict.fromkeys(range(len(values)), 1.0))["param.a"]
    assert found.dtype == dtype
    assert json.dumps(found.to_list()) == json.dumps(column)


def test_what_a_point_does_not_have_is_null(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters that `when` takes away, metrics that only some return, and all metrics of a failed point."""
    monkeypatch.setattr(results, "CHUNK", 2)
    block = Block("grid", (dimension("m", ["r", "l"]), dimension("x", [1, 2], when="m == 'l'")))
    here = Space(Plan("fit:fit", 1, 1, (block,)))
    indexes = [point.index for point in here.points(0, here.size)]
    assert len(indexes) == 3
    found = table(folder, here, dict(zip(indexes, [{"p": 1}, {"q": 2.5, "p": 2}, ValueError("no")], strict=True)))
    assert found["param.x"].to_list() == [None, 1, 2]
    assert found["metric.p"].to_list() == [1, 2, None]
    assert found["metric.q"].to_list() == [None, 2.5, None]
    assert found["metric.p"].dtype == pl.Int64


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=4)
)
results_of = st.one_of(
    st.dictionaries(st.sampled_from(["p", "q", "r"]), scalars, max_size=3),
    st.just(ValueError("no")),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data(), st.integers(1, 7), st.integers(1, 3))
def test_every_row_is_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, chunk: int, replicates: int
) -> None:
    """Any rows of a grid with holes, resumed in any state, in chunks of any length, as a plain loop says."""
    rules: dict[str, Any] = data.draw(st.sampled_from([{}, {"where": ("a != 1",)}, {"exclude": ({"b": "x"},)}]))
    here = space({"a": range(4), "b": ["x", "y", "z"]}, replicates=replicates, **rules)
    indexes = [point.index for point in here.points(0, here.size)]
    ended = sorted(data.draw(st.sets(st.sampled_from(indexes), max_size=12)))
    outcomes = {index: data.draw(results_of) for index in ended}
    folder = RunFolder(tmp_path_factory.mktemp("results"))
    with pytest.MonkeyPatch.context() as patched, ledger_of(folder, here) as ledger:
        patched.setattr(results, "CHUNK", chunk)
        if outcomes:
            pairs = [(here.point(index), outcome) for index, outcome in outcomes.items()]
            ledger.record(batches(pairs), git_commit=None, env_hash=None)
        made = results.Table(ledger, here)
        found = list(results.frames(ledger, made))
        rows = pl.concat(found) if found else made.frame([])
    assert rows["point_id"].to_list() == [here.point(index).id for index in ended]
    assert rows["replicate"].to_list() == [here.point(index).replicate for index in ended]
    for name in here.names:
        assert rows[f"param.{name}"].to_list() == [here.point(index).params[name] for index in ended]
    names = {name for outcome in outcomes.values() if isinstance(outcome, dict) for name in outcome}
    assert {name.removeprefix("metric.") for name in rows.columns if name.startswith("metric.")} == names
    for name in names:
        column = rows[f"metric.{name}"]
        for value, outcome in zip(column.to_list(), outcomes.values(), strict=True):
            wanted = outcome.get(name) if isinstance(outcome, dict) else None
            if column.dtype == pl.String and wanted is not None and not isinstance(wanted, str):
                wanted = json.dumps(wanted)
            assert value == wanted


@pytest.mark.parametrize("recorded", [True, False])
def test_a_run_without_rows_has_tables_without_rows(folder: RunFolder, *, recorded: bool) -> None:
    """Right columns and types, so that whoever reads them need not ask."""
    here = space({"a": [1], "b": ["x"]})
    found = table(folder, here, {})
    assert found.height == 0
    assert found.columns == ["point_id", "replicate", "seed", "param.a", "param.b", *AFTER]
    assert found["param.a"].dtype == pl.Int64
    assert folder.csv.read_text().splitlines() == [",".join(found.columns)]


def test_points_that_return_nothing_but_an_empty_dict_have_rows(folder: RunFolder) -> None:
    here = space({"a": range(3)})
    found = table(folder, here, {0: {}, 1: {}, 2: {}})
    assert found["status"].to_list() == ["done"] * 3
    assert not [name for name in found.columns if name.startswith("metric.")]


def test_tables_are_replaced_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails in the middle the old tables are still there, and nothing else is left behind."""
    here = space({"a": range(10)})
    first = table(folder, here, {0: 1.0})
    before = {path.name: path.read_bytes() for path in (folder.parquet, folder.csv)}

    class FullError(Exception):
        pass

    real = results.frames

    def cut_off(*args: Any) -> Iterator[pl.DataFrame]:
        yield from itertools.islice(real(*args), 1)
        raise FullError

    monkeypatch.setattr(results, "frames", cut_off)
    with pytest.raises(FullError):
        table(folder, here, {1: 2.0})
    assert {path.name: path.read_bytes() for path in (folder.parquet, folder.csv)} == before
    monkeypatch.undo()
    assert table(folder, here, {}).height == 2
    assert first.height == 1
    assert sorted(path.name for path in folder.path.iterdir()) == [
        *("ledger.sqlite", "results.csv", "results.parquet"),
    ]


def test_rows_of_several_workers_and_commits_name_theirs(folder: RunFolder) -> None:
    """Each row says where it was computed; what is not known is null."""
    here = space({"a": range(3)})
    with ledger_of(folder, here) as ledger:
        ledger.record(batches([(here.point(0), 1.0)], worker="one/0"), git_commit="a", env_hash="e1")
        ledger.record(batches([(here.point(1), 1.0)], worker="two/0"), git_commit=None, env_hash="e1")
        ledger.record(batches([(here.point(2), 1.0)], worker="one/0"), git_commit="b", env_hash=None)
        write_results(folder, ledger, here)
    found = pl.read_parquet(folder.parquet)
    assert found["worker"].to_list() == ["one/0", "two/0", "one/0"]
    assert found["git_commit"].to_list() == ["a", None, "b"]
    assert found["env_hash"].to_list() == ["e1", "e1", None]


def test_text_that_no_table_could_hold_reaches_the_tables(folder: RunFolder) -> None:
    """Lone surrogates, zeros and line ends in results and errors stop nothing."""
    here = space({"a": range(3)})
    found = table(folder, here, {0: {"t": "a\ud800\x00\n"}, 1: OSError("\udcff"), 2: {"t": "ü😀"}})
    assert found["metric.t"].to_list() == ["a\\ud800\x00\n", None, "ü😀"]
    assert "udcff" in found["error"].to_list()[1]


def test_rows_far_apart_in_a_huge_grid_are_found(folder: RunFolder) -> None:
    """Two finished points at both ends of 10^12 do not cost a walk through all between."""
    here = space({"a": range(10**4), "b": range(10**4), "c": range(10**4)})
    found = table(folder, here, {0: 1.0, 10**12 - 1: 2.0})
    assert found.select("param.a", "param.b", "param.c").rows() == [(0, 0, 0), (9999, 9999, 9999)]


def test_the_ledger_is_all_it_takes(folder: RunFolder) -> None:
    """Tables can be made again from a ledger opened for reading alone."""
    plan = grid({"a": range(5)})
    first = table(folder, Space(plan), {1: 1.0, 3: 0.5})
    folder.parquet.unlink()
    folder.csv.unlink()
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        found = ledger.plan()
        assert found == plan
        write_results(folder, ledger, Space(found))
    assert pl.read_parquet(folder.parquet).equals(first)


def test_metrics_that_only_rows_of_former_points_have_are_no_columns(folder: RunFolder) -> None:
    """A code change that renames a metric and turns its type, and a grid that no longer has the old rows."""
    old, new = space({"a": [1, 2]}), space({"a": [3]})
    table(folder, old, {0: {"m": 1.5, "old": 1.0}, 1: {"m": 2.5, "old": 2.0}})
    found = table(folder, new, {0: {"m": True}})
    assert [name for name in found.columns if name.startswith("metric.")] == ["metric.m"]
    assert found["metric.m"].to_list() == [True]
    with ledger_of(folder, old) as ledger:
        ledger.record(batches([(old.point(0), {"m": 1.0, "old": 1.0})]), git_commit=None, env_hash=None)
        write_results(folder, ledger, old)
    back = pl.read_parquet(folder.parquet)
    assert back["metric.old"].to_list() == [1.0, 2.0]
    assert back["metric.m"].to_list() == [1.5, 2.5]


def test_tables_are_of_one_moment_while_a_sweep_writes(folder: RunFolder) -> None:
    """Rows from a worker, and packed in a way, that came after the reading began are in the next tables."""
    here = space({"a": range(3)})
    table(folder, here, {0: {"m": 1}})
    with ledger_of(folder, here) as writer, contextlib.closing(Ledger(folder.ledger, readonly=True)) as reader:
        frames = results.frames(reader, results.Table(reader, here))
        late = batches([(here.point(1), {"n": 0.5})], worker="new/1")
        writer.record(late, git_commit="b", env_hash=None)
        found = pl.concat(frames)
        assert found["point_id"].to_list() == [here.point(0).id]
        assert reader.counts() == (1, 0)
        assert set(reader.sources()) == {1}
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as reader:
        write_results(folder, reader, here)
    assert pl.read_parquet(folder.parquet)["metric.n"].to_list() == [None, 0.5]


def test_what_a_killed_process_left_of_its_tables_is_removed(folder: RunFolder) -> None:
    """That of a living one stays: two commands may make the tables at once."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, living = (folder.path / f".results.{pid}" for pid in (child.pid, os.getppid()))
    for path in (dead, living):
        path.mkdir()
        (path / "000000.parquet").touch()
    assert table(folder, space({"a": [1]}), {0: 1.0}).height == 1
    assert not dead.exists()
    assert (living / "000000.parquet").exists()
