"""What the report works out about configurations and parameters, against plain loops and known answers."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
from test_report import data_in, make_rows, page_of, static_in

from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report.axes import Axis, profile
from sweepfleet.run.report.clock import clock_of
from sweepfleet.run.report.configurations import configurations
from sweepfleet.run.report.history import history
from sweepfleet.run.report.importance import importance
from sweepfleet.run.report.scan import open_results

FOLDS = 5


def folds(folder, *, broken=()):
    """Four configurations over five folds: `alpha` 2 is best in the mean, 1 on its easiest fold."""
    rows = [(alpha, fold) for alpha in (1, 2, 3, 4) for fold in range(FOLDS)]
    scores = {1: [0, 9, 9, 9, 9], 2: [5, 5, 5, 5, 6], 3: [6, 6, 6, 6, 6], 4: [1, 1, 1, 1, 1]}
    failed = [place for place, row in enumerate(rows) if row in broken]
    return make_rows(
        folder,
        params={"alpha": [alpha for alpha, _ in rows], "fold": [fold for _, fold in rows]},
        metrics={"rmse": [None if p in failed else float(scores[a][f]) for p, (a, f) in enumerate(rows)]},
        failed=failed,
        started=[1.79e9 + 10 * fold + alpha for alpha, fold in rows],  # fold after fold
        duration=[1.0] * len(rows),
    )


def table_of(page):
    """The rows of the table of the best, as texts."""
    body = re.search(r'<section id="best">.*?<tbody>(.*?)</tbody>', static_in(page), re.DOTALL)[1]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>") if row]


# The best


def test_the_best_is_a_mean_over_folds_and_incomplete_configurations_rank_last(tmp_path):
    """Easiest folds do not win, nor does a configuration of which two folds failed: it says 3 of 5, at the end."""
    path = folds(tmp_path, broken=[(4, 0), (4, 3)])
    page = page_of(tmp_path, path, metric=Metric("rmse", over=("fold",)))
    table = table_of(page)
    assert [(row[1], row[3], row[4]) for row in table] == [
        ("5.2", "5", "2"),
        ("6", "5", "3"),
        ("7.2", "5", "1"),
        ("1", "3 of 5", "4"),
    ]
    assert [row[2] for row in table] == ["0.447", "0", "4.02", "0"]
    assert "1 configuration lacks points and ranks last." in static_in(page)


def test_the_header_names_the_mean_its_spread_and_its_points(tmp_path):
    best = {"metric": "rmse", "goal": "minimize", "mean": 5.2, "sd": 0.4472136, "n": 5, "of": 5, "params": {}}
    page = page_of(tmp_path, folds(tmp_path), metric=Metric("rmse", over=("fold",)), best=best)
    assert "mean of 5, sd 0.447 · lower is better" in static_in(page)


def test_charts_of_means_leave_out_incomplete_configurations_and_say_so(tmp_path):
    """The rows of alpha 4, which lacks a fold, are named in the sample: their mean would be the easy folds'."""
    path = folds(tmp_path, broken=[(4, 0)])
    data = data_in(page_of(tmp_path, path, metric=Metric("rmse", over=("fold",))))
    assert data["incomplete"] == 1
    alpha = next(place for place, axis in enumerate(data["axes"]) if axis["name"] == "alpha")
    levels = [
        data["axes"][alpha]["levels"][data["sample"]["params"][alpha][row]] for row in data["sample"]["left_out"]
    ]
    assert levels == [4] * 4


def test_nothing_is_left_out_when_no_configuration_is_complete(tmp_path):
    path = folds(tmp_path, broken=[(alpha, 0) for alpha in (1, 2, 3, 4)])
    data = data_in(page_of(tmp_path, path, metric=Metric("rmse", over=("fold",))))
    assert (data["incomplete"], data["sample"]["left_out"]) == (0, [])


def test_parameters_come_by_importance_and_averaged_ones_last(tmp_path):
    axes = data_in(page_of(tmp_path, folds(tmp_path), metric=Metric("rmse", over=("fold",))))["axes"]
    assert [axis["name"] for axis in axes] == ["alpha", "fold"]


# The best so far


def test_a_row_counts_when_it_ends_and_a_configuration_with_its_last_point(tmp_path):
    """Rows end fold after fold; each configuration is completed in the last fold, a second apart."""
    results = open_results(folds(tmp_path))
    found = configurations(results, Metric("rmse", over=("fold",)))
    start = np.sort(results.frame.collect()["started"].to_numpy())
    steps = history(results, found, clock_of(start, start + 1))
    assert steps["rows"] == {"at": [1.0], "best": [0.0]}
    assert steps["configurations"] == {"at": [41.0, 42.0, 44.0], "best": [7.2, 5.2, 1.0]}


def test_the_highest_so_far_when_higher_is_better(tmp_path):
    values = [1.0, 0.5, 3.0, 2.0, None, 3.0, 8.0]
    path = make_rows(
        tmp_path, params={"a": list(range(7))}, metrics={"m": values}, failed=[4], duration=[1.0] * 7,
        started=[1.79e9 + place for place in (6, 5, 4, 3, 2, 1, 0)],
    )  # fmt: skip
    results = open_results(path)
    start = np.sort(results.frame.collect()["started"].to_numpy())
    steps = history(results, configurations(results, Metric("m", "maximize")), clock_of(start, start + 1))
    assert steps == {"rows": {"at": [1.0], "best": [8.0]}, "configurations": None}


def test_the_clock_leaves_out_a_long_pause(tmp_path):
    """What ends after three days without work ends a second later on the clock."""
    start = np.array([0.0, 10.0, 259_200.0])
    clock = clock_of(start, start + 5)
    assert clock.cuts() == [{"at": pytest.approx(15.0), "pause_s": pytest.approx(259_185.0)}]
    assert clock.at(np.array([3.0, 15.0, 259_201.0])) == pytest.approx([3.0, 15.0, 16.0])


# Importance


def frame_of(columns, value):
    return pl.LazyFrame({f"param.{name}": values for name, values in columns.items()} | {"value": value})


def axis_of(name, count):
    return Axis(name, tuple(range(count)), numeric=True, log=False)


def test_a_share_is_epsilon_squared(tmp_path):
    """Against a plain loop over the rows of every level."""
    draw = np.random.default_rng(1)
    a, value = draw.integers(0, 4, 300), draw.normal(size=300)
    value = value + a
    groups = [value[a == level] for level in range(4)]
    between = sum(len(group) * (group.mean() - value.mean()) ** 2 for group in groups)
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    expected = (between - 3 * within / (300 - 4)) / (between + within)
    (share,) = importance(frame_of({"a": a}, value), [axis_of("a", 4)]).shares
    assert share.share == pytest.approx(expected)


@pytest.mark.parametrize("count", [60, 3000])
def test_shares_are_those_that_the_data_were_made_with(count):
    """Variance 5/4 from a, 35/48 from b, none from c, 1 of noise; 90 % intervals hold the truth nearly always."""
    truth = {"a": 1.25, "b": 35 / 48, "c": 0.0}
    total = sum(truth.values()) + 1
    held = dict.fromkeys(truth, 0)
    for seed in range(60):
        draw = np.random.default_rng(seed)
        columns = {"a": draw.integers(0, 4, count), "b": draw.integers(0, 6, count), "c": draw.integers(0, 20, count)}
        value = columns["a"] + columns["b"] / 2 + draw.normal(size=count)
        found = importance(frame_of(columns, value), [axis_of("a", 4), axis_of("b", 6), axis_of("c", 20)])
        assert [share.axis.name for share in found.shares][:1] == ["a"] or count == 60
        for share in found.shares:
            held[share.axis.name] += share.low <= truth[share.axis.name] / total <= share.high
    assert min(held.values()) >= 48


def test_many_levels_without_an_effect_gain_nothing():
    draw = np.random.default_rng(0)
    value = draw.normal(size=200)
    (share,) = importance(frame_of({"a": draw.integers(0, 50, 200)}, value), [axis_of("a", 50)]).shares
    assert share.share < 0.05
    assert share.low == 0


def test_a_metric_over_decades_is_taken_as_its_logarithm():
    draw = np.random.default_rng(0)
    a = draw.integers(0, 5, 400)
    found = importance(frame_of({"a": a}, 10.0 ** (a + draw.normal(0, 0.3, 400))), [axis_of("a", 5)])
    assert found.log
    assert found.shares[0].share > 0.9


@pytest.mark.parametrize("values", [[1.0] * 50, [math.nan] * 50, [1.0, 2.0] * 4])
def test_nothing_is_said_without_variance_or_with_few_rows(values):
    assert importance(frame_of({"a": [i % 2 for i in range(len(values))]}, values), [axis_of("a", 2)]) is None


def test_points_without_a_parameter_are_a_level_of_their_own(tmp_path):
    """A conditional parameter explains what being set does."""
    draw = np.random.default_rng(0)
    there = draw.integers(0, 2, 300).astype(bool)
    a = [float(draw.integers(0, 3)) if each else None for each in there]
    value = np.where(there, 5.0, 0.0) + draw.normal(size=300)
    results = open_results(make_rows(tmp_path, params={"a": a}, metrics={"m": value.tolist()}))
    found = configurations(results, Metric("m"))
    (share,) = importance(found.values(results), profile(results).axes).shares
    assert share.share > 0.8
