"""Several runs on one page: what is paired, what is said of it, and where the page stands."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats
from test_report import MANIFEST, data_in, make_rows, static_in, summary_of

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.comparison import compare
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.report.compare import Run, write_comparison
from sweepfleet.run.report.pairs import pairs
from sweepfleet.run.report.scan import open_results

OVER_FOLDS = Metric("rmse", over=("fold",))


def run_of(folder, name, *, metric=OVER_FOLDS, **rows):
    path = make_rows(folder / name, **rows)
    return Run(name, path, summary_of(path, name=name), MANIFEST, metric)


def folds(alphas, *, shift, seed=0):
    """Rows of a cross-validation over five folds: the same noise for the same point, and a shift."""
    rows = [(alpha, fold) for alpha in alphas for fold in range(5)]
    noise = {row: np.random.default_rng([seed, *row]).normal() for row in rows}
    return {
        "params": {"alpha": [alpha for alpha, _ in rows], "fold": [fold for _, fold in rows]},
        "metrics": {"rmse": [float(10 + noise[row] + shift * row[0]) for row in rows]},
    }


def test_pairs_are_of_equal_parameters_and_statistics_of_configurations(tmp_path):
    """Alphas 2, 3, 4 are in both runs, over five folds each: 15 pairs of points in three configurations."""
    first = run_of(tmp_path, "first", **folds([1, 2, 3, 4], shift=0.0))
    other = run_of(tmp_path, "other", **folds([2, 3, 4, 5], shift=0.5))
    found = pairs(open_results(first.results), open_results(other.results), ["rmse"], over=("fold",))
    (each,) = found.differences
    gaps = np.array([1.0, 1.5, 2.0])
    reach = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / math.sqrt(3)
    assert found.keys == ("alpha", "fold")
    assert (each.pairs, each.units, each.lower, each.higher) == (15, 3, 0, 3)
    assert each.mean == pytest.approx(1.5)
    assert (each.low, each.high) == pytest.approx((1.5 - reach, 1.5 + reach))
    assert each.other_mean - each.first_mean == pytest.approx(1.5)


def test_replicates_are_paired_with_their_own(tmp_path):
    rows = {"params": {"a": [1, 1, 2, 2]}, "replicate": [0, 1, 0, 1]}
    first = run_of(tmp_path, "first", metrics={"m": [1.0, 2.0, 3.0, 4.0]}, **rows)
    other = run_of(tmp_path, "other", metrics={"m": [2.0, 4.0, 3.0, 4.0]}, **rows)
    (each,) = pairs(open_results(first.results), open_results(other.results), ["m"], over=()).differences
    assert (each.pairs, each.units, each.mean) == (4, 2, 0.75)


def test_one_and_one_point_zero_are_the_same_value(tmp_path):
    first = run_of(tmp_path, "first", params={"a": [1, 2]}, metrics={"m": [1.0, 2.0]})
    other = run_of(tmp_path, "other", params={"a": [1.0, 2.5]}, metrics={"m": [5.0, 6.0]})
    (each,) = pairs(open_results(first.results), open_results(other.results), ["m"], over=()).differences
    assert (each.pairs, each.mean) == (1, 4.0)


def test_a_parameter_of_one_run_alone_is_averaged_over_and_named(tmp_path):
    first = run_of(tmp_path, "first", params={"a": [1, 2]}, metrics={"m": [1.0, 2.0]}, metric=Metric("m"))
    rows = {"params": {"a": [1, 1, 2, 2], "extra": [0, 1, 0, 1]}, "metrics": {"m": [2.0, 4.0, 3.0, 3.0]}}
    other = run_of(tmp_path, "other", metric=Metric("m"), **rows)
    found = pairs(open_results(first.results), open_results(other.results), ["m"], over=())
    assert found.averaged == ("extra",)
    assert (found.differences[0].pairs, found.differences[0].mean) == (2, 1.5)
    page = static_in(write_comparison(tmp_path / "page.html", [first, other]))
    assert "The mean is over <code>extra</code>, which only one of them has." in page


def test_failed_points_and_values_that_are_no_numbers_make_no_pair(tmp_path):
    first = run_of(tmp_path, "first", params={"a": [1, 2, 3]}, metrics={"m": [1.0, math.nan, 3.0]})
    other = run_of(tmp_path, "other", params={"a": [1, 2, 3]}, metrics={"m": [2.0, 2.0, None]}, failed=[2])
    (each,) = pairs(open_results(first.results), open_results(other.results), ["m"], over=()).differences
    assert (each.pairs, each.low, each.p_value) == (1, None, None)


def test_the_page_has_the_best_of_each_and_the_differences(tmp_path):
    """In markup: each run's best mean over folds, the paired difference, and what each parameter was."""
    first = run_of(tmp_path, "first", **folds([1, 2, 3, 4], shift=1.0))
    other = run_of(tmp_path, "other", **folds([2, 3, 4, 5], shift=0.5))
    page = write_comparison(tmp_path / "page.html", [first, other])
    static = static_in(page)
    best = min(
        pl.read_parquet(first.results).group_by("param.alpha").agg(pl.col("metric.rmse").mean())["metric.rmse"]
    )
    for words in (f">{best:.6g}<", "3 better", ">-1.5<", "1, 2, 3, 4", "2, 3, 4, 5", "its mean over fold"):
        assert words in static
    data = data_in(page)
    assert [run["name"] for run in data["runs"]] == ["first", "other"]
    assert len(data["pairs"][0]["rmse"]["first"]) == 3
    for run, rows in zip(data["spreads"][0]["runs"], (first, other), strict=True):
        assert sum(run["shares"]) == pytest.approx(1.0, abs=1e-3)
        assert run["middle"] == pytest.approx(pl.read_parquet(rows.results)["metric.rmse"].median(), rel=1e-5)


def test_runs_without_a_common_metric_are_refused(tmp_path):
    first = run_of(tmp_path, "first", params={"a": [1, 2]}, metrics={"m": [1.0, 2.0]})
    other = run_of(tmp_path, "other", params={"a": [1, 2]}, metrics={"k": [1.0, 2.0]})
    with pytest.raises(UsageError, match=r"no numeric metric in common.*first: m; other: k"):
        write_comparison(tmp_path / "page.html", [first, other])
    assert not (tmp_path / "page.html").exists()


def test_the_page_stands_in_the_first_runs_folder(tmp_path):
    folder = RunFolder(tmp_path / "first")
    assert folder.comparison(["b", "c"]) == tmp_path / "first" / "compare-b-c.html"
    names = [f"{letter}" * 100 for letter in "bcd"]
    assert len(folder.comparison(names).name) < 160
    assert folder.comparison(names) != folder.comparison([*names, "e"])


def test_a_run_is_not_compared_with_itself(tmp_path):
    with pytest.raises(UsageError, match="given twice"):
        compare([RunFolder(tmp_path / "a"), RunFolder(tmp_path / "a")])
