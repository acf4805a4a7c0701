"""The examples' functions are right: they agree with plain scikit-learn, with scipy and with theory."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from examples.diabetes import fit as diabetes
from examples.digits import fit as digits
from examples.montecarlo import estimate
from sweepfleet.grid.command import render
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLE = re.findall(r"^\| `(\S+\.yaml)` .*\| ([\d,]+) \|", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)


def test_readme_lists_every_grid_file():
    assert sorted(name for name, _ in TABLE) == sorted(str(p.relative_to(EXAMPLES)) for p in EXAMPLES.rglob("*.yaml"))


@pytest.mark.parametrize(("name", "points"), TABLE)
def test_grid_file_has_the_points_that_the_readme_says_and_draws_no_warning(name, points):
    sweep = load(EXAMPLES / name)
    count = Space(sweep.plan).count()
    assert (count.points, count.exact) == (int(points.replace(",", "")), True)
    assert sweep.warnings == ()
    assert sweep.metric is not None


@pytest.mark.parametrize(
    ("params", "plain"),
    [
        ({"model": "ols"}, LinearRegression()),
        ({"model": "ridge", "alpha": 3.0}, Ridge(alpha=3.0)),
        ({"model": "lasso", "alpha": 2.0}, Lasso(alpha=2.0)),
        ({"model": "elastic_net", "alpha": 0.1, "l1_ratio": 0.7}, ElasticNet(alpha=0.1, l1_ratio=0.7)),
    ],
)
def test_diabetes_scores_as_scikit_learns_cross_validation_does(params, plain):
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    expected = cross_validate(
        make_pipeline(StandardScaler(), plain),
        features,
        progression,
        cv=KFold(5, shuffle=True, random_state=0),
        scoring=("neg_root_mean_squared_error", "r2"),
        return_estimator=True,
    )
    scores = [diabetes.fit(**params, fold=fold) for fold in range(5)]
    assert [s["rmse"] for s in scores] == pytest.approx(-expected["test_neg_root_mean_squared_error"], rel=1e-4)
    assert [s["r2"] for s in scores] == pytest.approx(expected["test_r2"], rel=1e-3)
    assert [s["nonzero"] for s in scores] == [np.count_nonzero(e[-1].coef_) for e in expected["estimator"]]


def test_diabetes_tests_every_patient_in_exactly_one_fold():
    tested = np.concatenate([diabetes.split(fold)[1] for fold in range(5)])
    assert sorted(tested) == list(range(442))
    for fold in range(5):
        assert not set(diabetes.split(fold)[0]) & set(diabetes.split(fold)[1])


@pytest.mark.parametrize("model", ["lasso", "elastic_net"])
@pytest.mark.parametrize("l1_ratio", [0.1, 0.9])
def test_diabetes_converges_at_the_smallest_penalty(model, l1_ratio):
    """A ConvergenceWarning would fail this test, as every warning does here."""
    for fold in range(5):
        score = diabetes.fit(model, fold, alpha=1e-3, l1_ratio=l1_ratio)
        assert score["rmse"] == pytest.approx(diabetes.fit("ols", fold)["rmse"], rel=0.01)


def test_diabetes_lasso_drops_every_measurement_under_a_heavy_penalty():
    score = diabetes.fit("lasso", 0, alpha=100.0)
    assert score["nonzero"] == 0
    assert score["r2"] <= 0  # it predicts the mean


def test_diabetes_refuses_a_model_that_it_does_not_know():
    with pytest.raises(ValueError, match="'rigde'"):
        diabetes.fit("rigde", 0)


def test_digits_forest_is_a_function_of_its_seed():
    first, again, other = (digits.forest(25, 8, 0.25, seed) for seed in (1, 1, 2**31 - 1))
    assert first == again
    assert first != other


def test_digits_forest_reads_better_when_it_is_deeper():
    shallow, deep = digits.forest(50, 4, 0.1, 7), digits.forest(50, 16, 0.1, 7)
    assert shallow["accuracy"] < 0.95 < deep["accuracy"] < 1
    assert shallow["leaves"] <= 50 * 2**4 < deep["leaves"]


def test_digits_svm_on_all_components_is_scikit_learns_plain_svc():
    """All 64 components are a rotation, and the kernel sees distances only."""
    pictures, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        pictures, labels, test_size=0.25, stratify=labels, random_state=5
    )
    plain = SVC(C=10, gamma=0.002).fit(train, train_labels)
    score = digits.svm(c=10, gamma=0.002, components=64, seed=5)
    assert score["accuracy"] == plain.score(test, test_labels) > 0.98
    assert score["support_vectors"] == pytest.approx(plain.n_support_.sum(), abs=2)


def test_digits_svm_guesses_when_gamma_is_far_too_large():
    assert digits.svm(c=1, gamma=0.1, components=64, seed=5)["accuracy"] < 0.2


def test_montecarlo_month_is_a_function_of_its_seed():
    assert estimate.month(30, 80, 11) == estimate.month(30, 80, 11) != estimate.month(30, 80, 12)


def test_montecarlo_shop_that_never_orders_misses_all_demand_beyond_its_opening_stock():
    for seed in range(20):
        draws = Random(seed)
        demand = sum(draws.expovariate(1 / estimate.MEAN_DEMAND) for _ in range(estimate.DAYS))
        month = estimate.month(-1, 80, seed)
        assert month["missed"] == pytest.approx(demand - estimate.OPENING_STOCK)
        assert month["orders"] == 0


def simulate_months(reorder_at: float, order: float, *, months: int) -> np.ndarray:
    """The same shop written anew, all months side by side: cost per day, one a month."""
    demand = np.random.default_rng(0).exponential(estimate.MEAN_DEMAND, (estimate.DAYS, months))
    stock = np.full(months, estimate.OPENING_STOCK)
    on_the_way = np.zeros((estimate.DAYS + estimate.DELIVERY_DAYS, months))
    cost = np.zeros(months)
    for day in range(estimate.DAYS):
        stock = stock + on_the_way[day]
        sold = np.minimum(stock, demand[day])
        cost += estimate.COST_OF_MISSING * (demand[day] - sold)
        stock = stock - sold
        cost += estimate.COST_OF_STORING * stock
        orders = (stock <= reorder_at) & ~on_the_way[day + 1 :].any(axis=0)
        on_the_way[day + estimate.DELIVERY_DAYS, orders] = order
        cost += estimate.COST_OF_ORDER * orders
    return cost / estimate.DAYS


@pytest.mark.parametrize(("reorder_at", "order"), [(10, 20), (30, 80), (100, 60), (50, 200)])
def test_montecarlo_mean_cost_agrees_with_a_second_simulation(reorder_at, order):
    ours = np.array([estimate.month(reorder_at, order, seed)["cost_per_day"] for seed in range(4000)])
    theirs = simulate_months(reorder_at, order, months=40_000)
    standard_error = math.hypot(ours.std() / len(ours) ** 0.5, theirs.std() / len(theirs) ** 0.5)
    assert abs(ours.mean() - theirs.mean()) < 4 * standard_error


def test_montecarlo_best_policy_lies_inside_the_grid():
    def mean_cost(reorder_at: float, order: float) -> float:
        return sum(estimate.month(reorder_at, order, seed)["cost_per_day"] for seed in range(500)) / 500

    best = mean_cost(30, 80)
    assert all(best < mean_cost(*edge) for edge in [(10, 80), (100, 80), (30, 20), (30, 200)])


@pytest.mark.parametrize(("grid_file", "program"), [("grid.yaml", "awk"), ("grid-r.yaml", "Rscript")])
@pytest.mark.parametrize(("beta", "gamma"), [(1.663, 0.44), (1.2, 0.6), (2.3, 0.3)])
def test_influenza_command_agrees_with_scipys_solver_and_with_theory(grid_file, program, beta, gamma):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    sweep = load(EXAMPLES / "any_language" / grid_file)
    space = Space(sweep.plan)
    point = next(p for p in space.points(0, space.size) if p.params == {"beta": beta, "gamma": gamma})
    words = render(sweep.target.command, point, env={})
    done = subprocess.run(words, cwd=sweep.folder, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])

    in_bed = [3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4]
    course = solve_ivp(
        lambda _, y: [-beta * y[0] * y[1] / 763, beta * y[0] * y[1] / 763 - gamma * y[1]],
        (0, 14),
        [762, 1],
        t_eval=range(1, 15),
        rtol=1e-9,
        atol=1e-9,
    )
    rmse = np.sqrt(np.mean((course.y[1] - in_bed) ** 2))
    # At the peak s = gamma / beta, and i + s - gamma / beta * ln(s) never changes (Kermack and McKendrick 1927).
    threshold = 763 * gamma / beta
    peak = 763 - threshold + threshold * math.log(threshold / 762)
    assert result["rmse"] == pytest.approx(rmse, abs=0.01)
    assert result["peak"] == pytest.approx(peak, abs=0.01)
    assert result["infected"] == pytest.approx(763 - course.y[0][-1], abs=0.01)
    assert 0 < result["peak_day"] <= 14
