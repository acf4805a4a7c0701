"""What tables and endings look like: cut to a terminal, whole in a pipe, and nothing left out in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from rich.cells import cell_len

from sweepfleet.run.say import KINDS, ending, failures
from sweepfleet.run.summary import Summary
from sweepfleet.run.tables import MAX_ROWS, results_table
from sweepfleet.run.text import cut, params_text, value_text

LONG = "a very long text that goes on and on and on, and then on again"
TRACEBACK = (
    "Traceback (most recent call last):\n  File 'fit.py', line 1, in fit\nValueError: no convergence in 3 steps"
)


def rows(count: int = 3, *, params: int = 2, error: str | None = None, **more: list[Any]) -> pl.DataFrame:
    columns: dict[str, Any] = {"point_id": [f"p{n}" for n in range(count)], "replicate": [0] * count}
    columns |= {f"param.p{number}": list(range(count)) for number in range(params)}
    columns |= {f"metric.{name}": values for name, values in more.items()}
    columns["status"] = ["failed" if error else "done"] * count
    columns |= {"error_type": ["ValueError" if error else None] * count, "error": [error] * count}
    return pl.DataFrame(columns | {"duration_s": [0.123456789] * count})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (1, "1"),
        (10**20, "100000000000000000000"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.0, "1.0"),
        (1e-9, "1e-09"),
        ("text", "text"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31m", "\\x1b[31m"),
        ("ümlaut", "ümlaut"),
        ([1, "a", None], '[1, "a", null]'),
        ({"a": True}, '{"a": true}'),
    ],
)
def test_a_value_is_written_in_jsons_words_in_one_line(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_parameters_in_one_line() -> None:
    assert params_text({"a": False, "lr": 0.123456789, "net.x": "y"}, digits=3) == "a=false lr=0.123 net.x=y"


@pytest.mark.parametrize(
    ("text", "width", "shown"), [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…"), ("日本語", 5, "日本…")]
)
def test_text_is_cut_by_the_cells_that_it_takes(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_a_pipe_gets_whole_cells() -> None:
    lines = list(results_table(rows(text=[LONG] * 3), width=None))
    assert LONG in lines[1]
    assert lines[-1] == "3 rows"


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_terminal_gets_lines_that_fit_and_is_told_what_is_missing(width: int) -> None:
    table = rows(params=8, error=TRACEBACK, text=[LONG] * 3, loss=[1.0, 2.0, 3.0])
    *lines, last = results_table(table, width=width)
    assert max(map(cell_len, lines)) <= width
    whole = len(next(iter(results_table(table, width=None))).split())
    left = len(lines[0].split())
    assert ("columns" in last) is (left < whole)
    if left < whole:
        assert f"{left} of {whole} columns" in last


def test_cells_are_cut_before_columns_go() -> None:
    lines = list(results_table(rows(text=[LONG] * 3), width=60))
    assert lines[0].split() == ["p0", "p1", "text", "status", "duration_s"]
    assert "…" in lines[1]


def test_parameters_that_are_always_the_same_go_first_and_metrics_do_not_all_go() -> None:
    table = rows(params=12, loss=[1.0, 2.0, 3.0]).with_columns(pl.lit(7).alias("param.p0"))
    shown = next(iter(results_table(table, width=40))).split()
    assert "p0" not in shown
    assert {"p1", "loss"} <= set(shown)


def test_failed_rows_show_their_message() -> None:
    lines = list(results_table(rows(error=TRACEBACK), width=None))
    assert "message" in lines[0]
    assert "ValueError: no convergence in 3 steps" in lines[1]
    assert "message" not in next(iter(results_table(rows(), width=None)))


def test_more_rows_than_are_shown_are_counted() -> None:
    *_, last = results_table(rows(MAX_ROWS + 5), width=None)
    assert last == f"{MAX_ROWS} of {MAX_ROWS + 5} rows"


def test_no_rows_at_all() -> None:
    assert list(results_table(rows(0), width=80))[-1] == "0 rows"


def summary(groups: list[dict[str, Any]], *, failed: int, kinds: int) -> Summary:
    zero = dict.fromkeys(("retried", "infra_losses", "resumed", "wall_s", "busy_s", "total_s", "peak_rss_mb"), 0)
    counts = {"points": 50, "done": 50 - failed, "computed": 50, "failed": failed, "slots": 2}
    unknown = dict.fromkeys(("efficiency", "points_per_s", "first_result_s", "best"))
    found = {**zero, **counts, **unknown, "failures": groups, "failure_kinds": kinds}
    return Summary(name="fit", state="failed", points_exact=True, **found)


def group(number: int, count: int) -> dict[str, Any]:
    return {"cause": f"E{number}", "count": count, "line": f"E{number}: {LONG} {LONG}", "point_id": f"{number:016x}"}


def test_the_end_tells_failures_apart_with_a_count_a_message_and_a_point_each() -> None:
    groups = [group(number, 20 - number) for number in range(KINDS + 2)]
    lines = list(failures(summary(groups, failed=140, kinds=KINDS + 9), width=80))
    assert len(lines) == KINDS + 5
    assert lines[1].startswith("  20  E0: a very")
    assert lines[1].endswith("(point 0000000000000000)")
    assert max(map(cell_len, lines[: KINDS + 1])) <= 80
    assert lines[-4].strip() == f"{140 - sum(20 - n for n in range(KINDS))}  in 9 more kinds"
    assert lines[-3:] == [
        "Their rows: inv results fit --where \"status == 'failed'\"",
        "What they printed: inv output fit --failed",
        "Retry them: the same command with --retry-failed",
    ]


@pytest.mark.parametrize(
    ("failed", "beginning"),
    [
        (3, "Done, but some points failed: 47 of 50 points done · 3 failed · "),
        (50, "All points failed: 0 of 50 points done · 50 failed · "),
    ],
)
def test_the_end_says_whether_some_points_failed_or_all(failed: int, beginning: str) -> None:
    ended = replace(summary([], failed=failed, kinds=0), points_per_s=1.0, efficiency=1.0)
    assert next(ending(ended, folder="runs/fit", several_rows=False)).startswith(beginning)


@pytest.mark.parametrize(("wall_s", "said"), [(0.2, "too short for an efficiency"), (3.0, "efficiency 97%")])
def test_the_end_says_how_busy_slots_were_where_that_means_anything(wall_s: float, said: str) -> None:
    ended = replace(summary([], failed=0, kinds=0), wall_s=wall_s, points_per_s=1.0, efficiency=0.97)
    assert next(ending(ended, folder="runs/fit", several_rows=False)).endswith(f" · {said}")


@pytest.mark.parametrize(
    ("several_rows", "tables"),
    [
        (False, "Tables: runs/fit/results.parquet, results.csv"),
        (True, "Tables: runs/fit/results.parquet, results.csv, results_long.parquet"),
    ],
)
def test_the_end_names_every_table_that_was_written(*, several_rows: bool, tables: str) -> None:
    lines = list(ending(summary([], failed=0, kinds=0), folder="runs/fit", several_rows=several_rows))
    assert lines[-2:] == ["Report: runs/fit/report.html", tables]


def test_without_failures_nothing_is_said_of_them() -> None:
    assert list(failures(summary([], failed=0, kinds=0), width=80)) == []
