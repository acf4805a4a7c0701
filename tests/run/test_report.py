"""What the report computes and writes; how it behaves in a browser is test_report_browser.py's."""

from __future__ import annotations

import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report import crosses, distributions, picks, sample, utilisation, write_report
from sweepfleet.run.report.assemble import embed
from sweepfleet.run.report.axes import profile
from sweepfleet.run.report.failures import EXAMPLES_MAX, failures
from sweepfleet.run.report.scan import open_results

HOSTILE = '</script><img src=x onerror="window.hacked=1">&lt;<b>bold</b>\''


def make_rows(
    folder, *, params, metrics, failed=(), errors=None, started=None, duration=None, replicate=None, code=None
):
    """Write a results file with these columns (lists of equal length) and return its path."""
    count = len(next(iter({**params, **metrics, "_": failed or [0]}.values()))) if params or metrics else 1
    bad = set(failed)
    errors = errors or {}
    frame = pl.DataFrame(
        {
            "point_id": [f"{i:016x}" for i in range(count)],
            "replicate": pl.Series(replicate or [0] * count, dtype=pl.Int64),
            "seed": pl.Series([2**62 + i for i in range(count)], dtype=pl.Int64),
            **{f"param.{name}": pl.Series(values, strict=False) for name, values in params.items()},
            **{f"metric.{name}": pl.Series(values, strict=False) for name, values in metrics.items()},
            "status": ["failed" if i in bad else "done" for i in range(count)],
            "attempts": pl.Series([1] * count, dtype=pl.Int64),
            "infra_losses": pl.Series([0] * count, dtype=pl.Int64),
            "error_type": pl.Series(
                [errors.get(i, ("ValueError", ""))[0] if i in bad else None for i in range(count)], dtype=pl.String
            ),
            "error": pl.Series(
                [errors.get(i, ("", "Traceback\nValueError: no"))[1] if i in bad else None for i in range(count)],
                dtype=pl.String,
            ),
            "started": started or [1.79e9 + i * 0.5 for i in range(count)],
            "duration_s": duration or [0.9] * count,
            "worker": [f"host/{i % 2}" for i in range(count)],
            "git_commit": pl.Series([None] * count, dtype=pl.String),
            "env_hash": pl.Series(["ab12"] * count, dtype=pl.String),
            **({"code": pl.Series(code, dtype=pl.String)} if code else {}),
        }
    )
    folder.mkdir(exist_ok=True)
    path = folder / "results.parquet"
    frame.write_parquet(path)
    return path


def summary_of(path, *, metric=None, **more):
    frame = pl.read_parquet(path)
    failed = int((frame["status"] == "failed").sum())
    return {
        "name": "sweep", "points": len(frame), "done": len(frame) - failed, "failed": failed, "computed": len(frame),
        "resumed": 0, "wall_s": 61.0, "busy_s": 120.0, "slots": 2, "efficiency": 0.984, "points_per_s": 12.5,
        "first_result_s": 1.5, "peak_rss_mb": 110.0, "best": None, "notes": [],
        "state": "failed" if failed else "done",
        **more,
    }  # fmt: skip


MANIFEST = {
    "name": "sweep", "target": "fit:fit", "command_line": "inv sweep --grid grid.yaml", "started": 1.79e9,
    "git_commit": "9f2c1ab7d0e4c3b2", "git_dirty": True, "lock_hash": "a81f", "python": "3.11.9",
    "sweepfleet": "0.1.0", "host": "host", "platform": "Linux", "seed": 42,
}  # fmt: skip


def page_of(folder, path, *, metric=None, manifest=MANIFEST, **more):
    return write_report(folder, results=path, summary=summary_of(path, **more), manifest=manifest, metric=metric)


def data_in(page):
    """The JSON that the page carries."""
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def static_in(page):
    """The page's text without its scripts."""
    return re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def ordinary(folder, count=300):
    """A run like most: a text, a logarithmic and a whole number, a parameter that some points lack, failures."""
    draw = random.Random(1)
    failed = range(7, count, 60)
    params = {
        "model": [("ridge", "lasso")[i % 2] for i in range(count)],
        "alpha": [10.0 ** (i % 5 - 3) for i in range(count)],
        "depth": [i // 5 % 3 + 1 for i in range(count)],
        "l1_ratio": [0.5 if i % 2 else None for i in range(count)],
        "same": [7] * count,
    }
    rmse = [None if i in failed else 50 + draw.gauss(0, 3) + i % 5 for i in range(count)]
    metrics = {"rmse": rmse, "r2": [None if value is None else 1 - value / 80 for value in rmse]}
    return make_rows(folder, params=params, metrics=metrics, failed=failed)


# What the charts say


def test_cells_hold_the_statistics_of_all_their_finite_rows(tmp_path):
    """Mean, sd, least, greatest and count agree with a plain loop over the rows; NaN and infinities are left out."""
    draw = random.Random(3)
    count = 600
    params = {
        "a": [draw.choice([1, 2, 5]) for _ in range(count)],
        "b": [draw.choice(["x", "y", None]) for _ in range(count)],
        "c": [draw.choice([True, False]) for _ in range(count)],
    }
    values = [draw.choice([draw.gauss(0, 1), draw.gauss(5, 1), math.nan, math.inf, None]) for _ in range(count)]
    results = open_results(make_rows(tmp_path, params=params, metrics={"m": values}))
    axes = profile(results).axes
    found = crosses.crosses(results.frame, axes, ("m",))

    checked = 0
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = found["pairs"][f"{first},{second}"][0]
        for i, one in enumerate(axes[first].levels):
            for j, other in enumerate(axes[second].levels):
                expected = [
                    value
                    for value, x, y in zip(values, params[axes[first].name], params[axes[second].name], strict=True)
                    if value is not None and math.isfinite(value) and x == one and y == other
                ]
                cell = i * len(axes[second].levels) + j
                assert table["n"][cell] == len(expected)
                assert table["mean"][cell] == pytest.approx(statistics.fmean(expected), rel=1e-5)
                assert table["sd"][cell] == pytest.approx(statistics.stdev(expected), rel=1e-5)
                assert (table["min"][cell], table["max"][cell]) == pytest.approx(
                    (min(expected), max(expected)), rel=1e-5
                )
                checked += 1
    assert checked == 3 * 3 + 3 * 2 + 3 * 2
    assert sum(found["singles"]["0"][0]["n"]) == sum(value is not None and math.isfinite(value) for value in values)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_continuous_parameter_is_put_into_bins_that_hold_every_row(tmp_path, scale):
    """Bins on a drawn number's own scale, each counted as numpy counts it."""
    raw = np.random.default_rng(5).uniform(-4, 0, 500)
    values = 10**raw if scale == "log" else raw
    results = open_results(make_rows(tmp_path, params={"x": values.tolist()}, metrics={"m": [1.0] * 500}))
    (axis,) = profile(results).axes
    assert axis.log == (scale == "log")
    table = crosses.crosses(results.frame, (axis,), ("m",))["singles"]["0"][0]
    expected, _ = np.histogram(
        values, bins=np.array(axis.edges) * [1 - 1e-12, *[1] * (len(axis.edges) - 2), 1 + 1e-12]
    )
    assert sum(table["n"]) == 500
    assert np.abs(np.array(table["n"]) - expected).max() <= 1  # a value on an edge may round to either side


def test_scales_follow_the_values(tmp_path):
    """Values a constant factor apart over decades are logarithmic; even steps, zeros and short spans are not."""
    count = 120
    choices = {
        "log": [10.0**k for k in range(-4, 2)],
        "even": list(range(1, 502, 10)),
        "zero": [0.0, 0.01, 1.0, 100.0],
        "short": [1.0, 2.0, 4.0],
    }
    params = {name: [values[i % len(values)] for i in range(count)] for name, values in choices.items()}
    results = open_results(make_rows(tmp_path, params=params, metrics={"m": [1.0] * count}))
    assert {axis.name for axis in profile(results).axes if axis.log} == {"log"}


def test_one_value_all_over_is_fixed_and_too_many_texts_are_no_axis(tmp_path):
    params = {
        "same": [3] * 100,
        "names": [f"n{i}" for i in range(100)],
        "absent": [None] * 100,
        "k": [i % 4 for i in range(100)],
    }
    found = profile(open_results(make_rows(tmp_path, params=params, metrics={"m": [1.0] * 100})))
    assert found.fixed == {"same": 3}
    assert [axis.name for axis in found.axes] == ["k"]


def test_the_page_stays_small_with_many_wide_parameters(tmp_path):
    """Pairs are taken while their cells fit the budget, those of the first axes first; every axis has its own."""
    params = {f"p{k}": [(i * (k + 1)) % 59 for i in range(3000)] for k in range(12)}
    results = open_results(make_rows(tmp_path, params=params, metrics={"m": [float(i) for i in range(3000)]}))
    axes = profile(results).axes
    found = crosses.crosses(results.frame, axes, ("m",))
    cells = sum(len(tables[0]["n"]) for tables in found["pairs"].values())
    assert len(found["singles"]) == len(axes) == 12
    assert list(found["pairs"])[:3] == ["0,1", "0,2", "1,2"]
    assert 0.8 * crosses.CELLS_MAX < cells <= crosses.CELLS_MAX


def test_histograms_count_every_finite_row_once(tmp_path):
    """What is drawn, what lies outside and what is not finite add up to the rows that have a value."""
    draw = random.Random(2)
    plain = [draw.gauss(0, 1) for _ in range(996)] + [1e9, math.nan, math.inf, None]
    decades = [10 ** draw.uniform(-6, 3) for _ in range(1000)]
    path = make_rows(tmp_path, params={}, metrics={"plain": plain, "decades": decades, "flat": [2.0] * 1000})
    entries = {
        entry["name"]: entry
        for entry in distributions.distributions(open_results(path), ("plain", "decades", "flat"))
    }
    assert sum(entries["plain"]["counts"]) + entries["plain"]["outside"] == 997
    assert entries["plain"]["outside"] >= 1
    assert entries["plain"]["not_finite"] == 2
    assert entries["plain"]["edges"][-1] < 10
    assert entries["decades"]["log"]
    assert sum(entries["decades"]["counts"]) == 1000
    assert sum(entries["flat"]["counts"]) == 1000


def test_text_metrics_are_counted_by_value(tmp_path):
    path = make_rows(tmp_path, params={}, metrics={"label": ["cat", "dog", "cat", None]})
    (entry,) = distributions.distributions(open_results(path), ())
    assert list(zip(entry["labels"], entry["counts"], strict=True)) == [("cat", 2), ("dog", 1)]


def test_a_sample_does_not_fall_in_step_with_the_grid(tmp_path):
    """20,000 rows of a grid whose period divides the sampling stride: still every value is there, evenly."""
    count = 20_000
    params = {"k": [i % 10 for i in range(count)], "block": [i * 4 // count for i in range(count)]}
    results = open_results(make_rows(tmp_path, params=params, metrics={"m": [float(i) for i in range(count)]}))
    axes = profile(results).axes
    found = sample.sample(results, axes, ("m",), clock=None, complete=None)
    values = dict(zip((axis.name for axis in axes), found["params"], strict=True))
    assert (found["shown"], found["total"]) == (sample.ROWS_MAX, count)
    assert len(set(found["metrics"][0])) == sample.ROWS_MAX
    assert set(values["k"]) == set(range(10))
    assert {values["block"].count(k) for k in range(4)} == {500}


def test_a_sample_holds_every_finished_row_while_it_can(tmp_path):
    """Levels by their place, bins by their value, what is missing or not finite as nothing."""
    count = 100
    params = {
        "kind": [("b", "a", None)[i % 3] for i in range(count)],
        "x": [None if i == 7 else i / 7 for i in range(count)],
    }
    metrics = {"m": [math.inf if i == 3 else float(i) for i in range(count)]}
    results = open_results(make_rows(tmp_path, params=params, metrics=metrics, failed=[4]))
    axes = sorted(profile(results).axes, key=lambda axis: axis.name)
    found = sample.sample(results, axes, ("m",), clock=None, complete=None)
    rows = [i for i in range(count) if i != 4]
    assert axes[0].levels == ("a", "b", None)
    assert found["params"][0] == [(1, 0, 2)[i % 3] for i in rows]
    assert found["params"][1] == [None if i == 7 else pytest.approx(i / 7, rel=1e-6) for i in rows]
    assert found["metrics"] == [[None if i == 3 else i for i in rows]]
    assert found["shown"] == found["total"] == 99


def test_utilisation_is_the_exact_overlap_of_rows_and_bins(tmp_path):
    """Each bin's busy slots equal the summed overlap of every row with it; finished points fall where they ended."""
    draw = random.Random(4)
    started = [1.79e9 + draw.uniform(0, 50) for _ in range(400)]
    duration = [draw.expovariate(1.0) for _ in range(400)]
    failed = range(0, 400, 40)
    path = make_rows(
        tmp_path, params={}, metrics={"m": [1.0] * 400}, failed=failed, started=started, duration=duration
    )
    found, _ = utilisation.utilisation(open_results(path), slots=8)
    origin = min(started)
    edges = found["edges"]
    for low, high, busy in zip(edges, edges[1:], found["busy"], strict=False):
        overlaps = (
            max(0.0, min(high, s - origin + d) - max(low, s - origin)) for s, d in zip(started, duration, strict=True)
        )
        assert busy == pytest.approx(sum(overlaps) / (high - low), abs=1e-3)
    assert sum(found["done"]) == 390
    assert sum(found["failed"]) == 10
    assert found["busy_s"] == pytest.approx(sum(duration))
    assert found["cuts"] == []


def test_a_pause_between_two_commands_is_cut_out_and_told(tmp_path):
    """Resuming after three days leaves two busy stretches side by side, and says where and how long the pause was."""
    started = [float(i) for i in range(100)] + [259_200.0 + i for i in range(100)]
    path = make_rows(tmp_path, params={}, metrics={"m": [1.0] * 200}, started=started, duration=[1.0] * 200)
    found, _ = utilisation.utilisation(open_results(path), slots=1)
    assert found["active_s"] == pytest.approx(200.0)
    (cut,) = found["cuts"]
    assert (cut["at"], cut["pause_s"]) == pytest.approx((100.0, 259_100.0))
    assert min(found["busy"]) == pytest.approx(1.0, abs=1e-3)


def test_rows_without_times_have_no_utilisation(tmp_path):
    path = make_rows(tmp_path, params={}, metrics={"m": [1.0, 2.0]}, started=[math.nan, math.nan])
    assert utilisation.utilisation(open_results(path), slots=1) is None


# Which rows are shown


@pytest.mark.parametrize(("goal", "expected"), [("minimize", [3, 0, 5]), ("maximize", [4, 0, 5])])
def test_the_best_rows_are_finite_and_ties_keep_the_file_order(tmp_path, goal, expected):
    values = [1.0, math.nan, math.inf, -2.0, 8.0, 1.0, None, -math.inf]
    results = open_results(make_rows(tmp_path, params={}, metrics={"m": values}, failed=[6]))
    assert picks.best_rows(results, Metric("m", goal), 3) == expected


def test_the_table_has_all_failures_and_the_best_rows(tmp_path):
    """Of 5,000 rows 2,000 are embedded: the 30 failures, and the 1,970 best."""
    values = [float((i * 7919) % 5000) for i in range(5000)]
    failed = range(100, 5000, 170)
    path = make_rows(
        tmp_path, params={}, metrics={"m": [None if i in failed else v for i, v in enumerate(values)]}, failed=failed
    )
    found = picks.table(open_results(path), Metric("m", "maximize"), fixed=())
    columns = {column["name"]: column["values"] for column in found["columns"]}
    assert (found["shown"], found["total"]) == (2000, 5000)
    assert columns["status"].count("failed") == len(failed)
    finished = sorted((v for i, v in enumerate(values) if i not in failed), reverse=True)
    shown = sorted((v for v in columns["metric.m"] if v is not None), reverse=True)
    assert shown == finished[: 2000 - len(failed)]


def test_thousands_of_failures_leave_room_for_the_best(tmp_path):
    path = make_rows(tmp_path, params={}, metrics={"m": [float(i) for i in range(5000)]}, failed=range(4000))
    found = picks.table(open_results(path), Metric("m"), fixed=())
    status = next(column["values"] for column in found["columns"] if column["name"] == "status")
    assert (status.count("failed"), status.count("done")) == (1000, 1000)


@pytest.mark.parametrize(("code", "there"), [(["aa"] * 3, False), (["aa", "aa", "bb"], True)])
def test_the_code_of_rows_is_a_column_when_it_varies(tmp_path, code, there):
    path = make_rows(tmp_path, params={"a": [1, 2, 3]}, metrics={"m": [1.0, 2.0, 3.0]}, code=code)
    names = [column["name"] for column in picks.table(open_results(path), None, fixed=())["columns"]]
    assert ("code" in names) == there


def test_numbers_that_json_would_lose_travel_as_text(tmp_path):
    """Seeds past 2^53, NaN and infinities reach the table as they are."""
    path = make_rows(tmp_path, params={}, metrics={"m": [math.nan, -math.inf, 1.5]})
    found = picks.table(open_results(path), None, fixed=())
    columns = {column["name"]: column["values"] for column in found["columns"]}
    assert columns["metric.m"] == ["NaN", "-Infinity", 1.5]
    assert columns["seed"] == [str(2**62 + i) for i in range(3)]


def test_a_metric_called_like_a_parameter_keeps_its_whole_name(tmp_path):
    path = make_rows(tmp_path, params={"size": [1, 2]}, metrics={"size": [3.0, 4.0]})
    labels = [column["label"] for column in picks.table(open_results(path), None, fixed=())["columns"]]
    assert labels[1:3] == ["param.size", "metric.size"]


def test_failures_are_grouped_by_their_cause(tmp_path):
    """Texts that differ above the error's own line, or in its numbers, are one; the most frequent comes first."""
    errors = {
        i: ("ValueError", f"Traceback (most recent call last):\n  line {i}\nValueError: {i} is negative\n")
        for i in range(6)
    }
    errors |= {
        6: ("ValueError", "Traceback (most recent call last):\n  x\nValueError: other"),
        7: ("Timeout", "took 10 s"),
        8: ("Timeout", "took 11 s"),
    }
    path = make_rows(tmp_path, params={}, metrics={"m": [None] * 9 + [1.0]}, failed=range(9), errors=errors)
    groups, more = failures(open_results(path))
    assert [(g.error_type, g.line, g.count) for g in groups] == [
        ("ValueError", "ValueError: 0 is negative", 6),
        ("Timeout", "Timeout: took 10 s", 2),
        ("ValueError", "ValueError: other", 1),
    ]
    assert groups[0].point_ids == tuple(f"{i:016x}" for i in range(EXAMPLES_MAX))
    assert groups[0].text.startswith("Traceback (most recent call last):\n  line 0")
    assert more == 0


def test_a_command_that_failed_is_known_by_its_own_words(tmp_path):
    """What R says last, "Execution halted", says nothing; the line of the error does."""
    said = "CommandFailedError: Rscript exited with 1\n"
    errors = {
        0: ("CommandFailedError", f"{said}Error in fit(0.1) : singular matrix\nCalls: fit\nExecution halted"),
        1: ("CommandFailedError", f"{said}Error in fit(7.5) : singular matrix\nExecution halted"),
        2: ("CommandFailedError", f"{said}Error: no such file\nExecution halted"),
    }
    path = make_rows(tmp_path, params={}, metrics={"m": [None] * 3}, failed=range(3), errors=errors)
    groups, _ = failures(open_results(path))
    assert [(group.line, group.count) for group in groups] == [
        ("Error in fit(0.1) : singular matrix (Rscript exited with 1)", 2),
        ("Error: no such file (Rscript exited with 1)", 1),
    ]


def test_a_failure_without_a_text_is_a_cause_too(tmp_path):
    path = make_rows(tmp_path, params={}, metrics={"m": [None]}, failed=[0], errors={0: (None, None)})
    (group,), _ = failures(open_results(path))
    assert (group.error_type, group.line, group.text) == ("Error", "Error", "")


# The file


def test_the_page_says_what_matters_without_a_script(tmp_path):
    """Name, state, counts, commit, notes, best points and fixed parameters are in the markup itself."""
    best = {"point_id": "00", "metric": "rmse", "mean": 41.25, "goal": "minimize", "params": {}}
    page = page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse"), best=best, notes=["Rows from two commits."])
    static = static_in(page)
    for words in (
        "<h1>sweep</h1>", "finished, some points failed", "of 300", "295", "98.4 %", "41.25", "9f2c1ab7d0",
        "with uncommitted changes", "Rows from two commits.", "Best points", "same = 7", "inv sweep --grid grid.yaml",
        "5 failed, for 1 cause", "1 min 01 s",
    ):  # fmt: skip
        assert words in static


def test_the_page_asks_the_network_for_nothing(tmp_path):
    """No element names an address, and the policy forbids every connection and every script but the page's own."""
    page = page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse"))
    static = static_in(page)
    assert not re.search(r'(src|href)="(?!#|data:,)', static)
    assert "@import" not in static
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', static)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split(";")[1]


def test_an_efficiency_nobody_summed_up_comes_from_the_rows(tmp_path):
    """Two slots, each busy half of the time."""
    path = make_rows(
        tmp_path, params={}, metrics={"m": [1.0] * 10}, started=[float(i) for i in range(10)], duration=[1.0] * 10
    )
    page = page_of(tmp_path, path, efficiency=None, wall_s=None, busy_s=None)
    assert '<span class="value">50.0 %</span>' in static_in(page)


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    page = page_of(tmp_path, ordinary(tmp_path), metric=Metric("rmse"), state="interrupted", points=1000)
    static = static_in(page)
    assert "700 points are still to run." in static
    assert "700 left" in static


def test_hostile_texts_cannot_leave_their_place(tmp_path):
    """A value that closes a script element stays a text, in markup and in data, and survives unchanged."""
    path = make_rows(
        tmp_path,
        params={HOSTILE: [HOSTILE, "b"], "n": [1, 2]},
        metrics={f"m{HOSTILE}": [1.0, 2.0]},
        failed=[1],
        errors={1: (HOSTILE, f"{HOSTILE}\n{HOSTILE}")},
    )
    page = page_of(
        tmp_path, path, metric=Metric(f"m{HOSTILE}"), manifest=dict.fromkeys(MANIFEST, HOSTILE),
        notes=[HOSTILE], name=HOSTILE,
    )  # fmt: skip
    assert "<img" not in page.read_text(encoding="utf-8").split("<script", 1)[0]
    assert "<img" not in static_in(page)
    columns = {column["name"]: column["values"] for column in data_in(page)["table"]["columns"]}
    assert columns[f"param.{HOSTILE}"] == [HOSTILE, "b"]


def test_embedded_json_has_no_markup_and_reads_back():
    data = {"text": "</script><!-- & \u2028 é \N{GRINNING FACE}", "number": 1e-300}
    raw = embed(data)
    assert not set("<>&") & set(raw)
    assert json.loads(raw) == data


def test_a_report_that_cannot_be_put_in_place_leaves_nothing_beside(tmp_path):
    path = ordinary(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        page_of(tmp_path, path, metric=Metric("rmse"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.html", "results.parquet"]


def test_a_new_report_replaces_the_old_one_whole(tmp_path):
    path = ordinary(tmp_path)
    (tmp_path / "report.html").write_text("old")
    page = page_of(tmp_path, path, metric=Metric("rmse"))
    assert page == tmp_path / "report.html"
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_page_without_charts_carries_no_chart_library(tmp_path):
    path = make_rows(tmp_path, params={}, metrics={}, started=[math.nan])
    assert page_of(tmp_path, path).stat().st_size < 100_000


MEASURE = """
import resource, sys
from pathlib import Path
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report import write_report
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
results = folder / "results.parquet"
write_report(folder, results=results, summary={"slots": 4}, manifest={}, metric=Metric("loss"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KB on Linux only")
def test_a_million_rows_are_read_in_little_memory(tmp_path):
    """Three parameters, a metric and 10^6 rows: the report's process grows by less than 200 MB."""
    count = 1_000_000
    draw = np.random.default_rng(0)
    row = np.arange(count)
    x = draw.random(count)
    pl.DataFrame(
        {
            "point_id": pl.Series(row).cast(pl.String).str.zfill(16),
            "replicate": np.zeros(count, dtype=np.int64),
            "seed": draw.integers(0, 2**62, count),
            "param.x": x,
            "param.y": row % 50,
            "param.k": pl.Series(row % 3).cast(pl.String),
            "metric.loss": np.sin(6 * x) + row % 50 / 50,
            "status": pl.Series(np.where(row % 200, "done", "failed")),
            "attempts": np.ones(count, dtype=np.int64),
            "infra_losses": np.zeros(count, dtype=np.int64),
            "error_type": pl.Series(np.where(row % 200, None, "ValueError"), dtype=pl.String),
            "error": pl.Series(np.where(row % 200, None, "Traceback\nValueError: no"), dtype=pl.String),
            "started": 1.79e9 + row / 1000,
            "duration_s": np.full(count, 0.0039),
            "worker": pl.Series(row % 4).cast(pl.String),
            "git_commit": pl.Series(["9f2c1ab"]).new_from_index(0, count),
            "env_hash": pl.Series(["ab12"]).new_from_index(0, count),
        }
    ).write_parquet(tmp_path / "results.parquet", row_group_size=100_000)
    # The allocator inside polars keeps freed pages for a while; what is promised is what is in use.
    environment = {**os.environ, "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        env=environment, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert int(ran.stdout) < 200
    assert "2,000 of 1,000,000 shown" in static_in(tmp_path / "report.html")
