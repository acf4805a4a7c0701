import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from sweepfleet.grid.laws import Law
from sweepfleet.grid.plan import Distribution
from sweepfleet.grid.sampling import RandomDraws, SobolDraws, Weights

moderate = settings(deadline=None, max_examples=150, derandomize=True)

# Each law of W&B with scipy's own law of the same meaning, before any rounding to q.
CONTINUOUS = {
    "uniform": (Distribution("uniform", low=-2, high=5), stats.uniform(-2, 7)),
    "log_uniform": (Distribution("log_uniform", low=-3, high=2), stats.loguniform(math.exp(-3), math.exp(2))),
    "log_uniform_values": (Distribution("log_uniform_values", low=1e-4, high=10), stats.loguniform(1e-4, 10)),
    "inv_log_uniform": (Distribution("inv_log_uniform", low=-3, high=2), stats.loguniform(math.exp(-2), math.exp(3))),
    "inv_log_uniform_values": (Distribution("inv_log_uniform_values", low=0.1, high=9), stats.loguniform(0.1, 9)),
    "normal": (Distribution("normal", mu=3, sigma=0.5), stats.norm(3, 0.5)),
    "normal, by default": (Distribution("normal"), stats.norm(0, 1)),
    "log_normal": (Distribution("log_normal", mu=1, sigma=2), stats.lognorm(s=2, scale=math.e)),
    "beta": (Distribution("beta", a=2, b=5), stats.beta(2, 5)),
}
QUANTISED = {
    "q_uniform": (Distribution("q_uniform", low=0, high=10, q=0.5), stats.uniform(0, 10)),
    "q_log_uniform": (Distribution("q_log_uniform", low=0, high=4, q=2), stats.loguniform(1, math.exp(4))),
    "q_log_uniform_values": (Distribution("q_log_uniform_values", low=1, high=99, q=3), stats.loguniform(1, 99)),
    "q_normal": (Distribution("q_normal", mu=10, sigma=4, q=1), stats.norm(10, 4)),
    "q_log_normal": (Distribution("q_log_normal", mu=1, sigma=1, q=0.25), stats.lognorm(s=1, scale=math.e)),
    "q_beta": (Distribution("q_beta", a=2, b=5, q=0.1), stats.beta(2, 5)),
}
BOUNDS = {"uniform": (-2, 5), "log_uniform_values": (1e-4, 10), "inv_log_uniform_values": (0.1, 9), "beta": (0, 1)}
shares = st.floats(0, 1, exclude_min=True, exclude_max=True)


def draws_of(distribution, count=4000):
    source, law = RandomDraws(seed=11, stream=0, dimensions=[("x",)]), Law(distribution)
    return [law.quantile(source(index)[0]) for index in range(count)]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_law_has_scipys_quantiles_and_cdf(name):
    distribution, reference = CONTINUOUS[name]
    law = Law(distribution)
    us = np.linspace(0.001, 0.999, 499)
    values = [law.quantile(u) for u in us.tolist()]
    assert all(type(value) is float for value in values)
    assert np.allclose(values, reference.ppf(us), rtol=1e-9, atol=1e-12)
    assert np.allclose([law.cdf(value) for value in values], us, atol=1e-9)
    assert law.kind == "float"
    assert not law.discrete
    assert law.probability(values[7]) == 0


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_of_a_continuous_law_are_distributed_like_it(name):
    distribution, reference = CONTINUOUS[name]
    assert stats.kstest(draws_of(distribution), reference.cdf).pvalue > 0.001


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_law_is_wandbs_rounding_of_the_law_under_it(name):
    distribution, reference = QUANTISED[name]
    law, q = Law(distribution), distribution.q
    us = np.linspace(0.0005, 0.9995, 997)
    values = [law.quantile(u) for u in us.tolist()]
    assert np.allclose(values, np.round(reference.ppf(us) / q) * q)
    assert {type(value) for value in values} == {type(q)}
    assert law.kind == ("int" if isinstance(q, int) else "float")
    assert law.discrete


@pytest.mark.parametrize("name", QUANTISED)
def test_the_probabilities_of_a_quantised_law_are_its_cells(name):
    distribution, reference = QUANTISED[name]
    law, q = Law(distribution), distribution.q
    for value in sorted(set(draws_of(distribution, 200))):
        assert law.probability(value) == pytest.approx(reference.cdf(value + q / 2) - reference.cdf(value - q / 2))


def test_q_is_1_by_default_and_then_a_float_as_in_wandb():
    values = draws_of(Distribution("q_uniform", low=0, high=4), 200)
    assert set(values) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert {type(value) for value in values} == {float}


@pytest.mark.parametrize(("low", "high"), [(1, 6), (-3, 0), (5, 5), (0, 1)])
def test_int_uniform_reaches_both_ends_equally_often(low, high):
    values = draws_of(Distribution("int_uniform", low=low, high=high))
    assert {type(value) for value in values} == {int}
    counts = [values.count(value) for value in range(low, high + 1)]
    assert sum(counts) == len(values)
    if low < high:
        assert stats.chisquare(counts).pvalue > 0.001
    law = Law(Distribution("int_uniform", low=low, high=high))
    assert law.kind == "int"
    assert law.discrete
    assert law.probability(low) == 1 / (high - low + 1)


@moderate
@given(st.sampled_from(sorted(CONTINUOUS) + sorted(QUANTISED)), shares, shares)
def test_quantiles_never_decrease_and_stay_within_bounds(name, u, v):
    distribution, _ = (CONTINUOUS | QUANTISED)[name]
    law = Law(distribution)
    low, high = sorted((u, v))
    assert law.quantile(low) <= law.quantile(high)
    least, most = BOUNDS.get(name, (-math.inf, math.inf))
    assert least <= law.quantile(low) <= most
    assert least <= law.quantile(high) <= most


@moderate
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), shares)
def test_log_uniform_values_never_leaves_its_bounds_by_a_rounding(a, b, u):
    low, high = sorted((a, b))
    assert low <= Law(Distribution("log_uniform_values", low=low, high=high)).quantile(u) <= high


def test_a_law_without_spread_is_one_value():
    for distribution in (Distribution("uniform", low=2.5, high=2.5), Distribution("normal", mu=2.5, sigma=0)):
        law = Law(distribution)
        assert law.discrete
        assert law.quantile(0.3) == 2.5
        assert law.probability(2.5) == 1


def test_values_past_the_largest_float_are_infinite_not_errors():
    assert Law(Distribution("log_normal", mu=700, sigma=100)).quantile(0.999) == math.inf
    assert Law(Distribution("q_log_normal", mu=700, sigma=100, q=1)).quantile(0.999) == math.inf


@pytest.mark.parametrize(
    "distribution", [Distribution("gumbel"), Distribution("uniform", low=1), Distribution("q_int")]
)
def test_an_unknown_law_or_a_missing_bound_is_refused(distribution):
    with pytest.raises(ValueError):
        Law(distribution)


def test_weights_choose_each_row_as_often_as_they_say():
    probabilities = [0.1, 0.0, 0.25, 0.65, 0.0]
    weights, source = Weights(probabilities), RandomDraws(seed=1, stream=0, dimensions=[("x",)])
    rows = [weights(source(index)[0]) for index in range(4000)]
    counts = [rows.count(row) for row in range(5)]
    assert counts[1] == counts[4] == 0
    assert stats.chisquare([counts[0], counts[2], counts[3]], [400, 1000, 2600]).pvalue > 0.001


@moderate
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), shares, st.integers(0, 5))
def test_a_row_of_probability_0_never_comes_up(parts, u, place):
    probabilities = [*parts[:place], 0.0, *parts[place:]]
    assert Weights(probabilities)(u) != min(place, len(parts))


def test_a_number_on_the_border_of_two_weights_falls_to_the_next_that_is_not_0():
    assert Weights([0.5, 0.0, 0.5])(0.5) == 2


def test_random_draws_are_independent_between_dimensions_streams_and_seeds():
    count = 3000
    sources = [
        RandomDraws(seed=seed, stream=stream, dimensions=[("x",), ("y",)]) for seed in (0, 1) for stream in (0, 1)
    ]
    columns = [column for source in sources for column in zip(*map(source, range(count)), strict=True)]
    columns.append(columns[0][1:] + columns[0][:1])  # the next draw does not follow from the last
    off_diagonal = np.corrcoef(columns)[~np.eye(len(columns), dtype=bool)]
    assert abs(off_diagonal).max() < 4 / math.sqrt(count)


def test_a_further_dimension_changes_no_other_dimensions_draws():
    few = RandomDraws(seed=3, stream=0, dimensions=[("x",), ("a", "b")])
    more = RandomDraws(seed=3, stream=0, dimensions=[("new",), ("a", "b"), ("x",)])
    for index in range(50):
        x, ab = few(index)
        assert more(index)[1:] == [ab, x]


def test_draws_are_never_0_or_1_at_the_edge_of_their_cells():
    source = RandomDraws(seed=3, stream=0, dimensions=[("x",)])
    values = [source(index)[0] for index in range(20_000)]
    assert all(0 < value < 1 for value in values)
    assert len(set(values)) == len(values)
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_a_sobol_point_read_at_any_index_is_that_of_the_sequence():
    """The reference goes through the sequence in one sweep; ours is read in a shuffled order."""
    dimensions, count = 3, 1 << 14
    source = SobolDraws(seed=5, stream=0, dimensions=dimensions)
    engine = qmc.Sobol(dimensions, bits=32, rng=np.random.default_rng(source._key))
    sequence = (engine.random(count) + 2.0**-33).tolist()
    indexes = list(range(0, count, 37))
    random.Random(0).shuffle(indexes)
    assert [source(index) for index in indexes] == [sequence[index] for index in indexes]
    again = SobolDraws(seed=5, stream=0, dimensions=dimensions)
    assert [again(index) for index in range(count)] == sequence


def test_sobol_points_fill_the_square_more_evenly_than_random_ones():
    sobol, plain = SobolDraws(seed=0, stream=0, dimensions=2), RandomDraws(seed=0, stream=0, dimensions=["a", "b"])
    even, uneven = (qmc.discrepancy([source(index) for index in range(512)]) for source in (sobol, plain))
    assert even < uneven / 10
    assert all(0 < u < 1 for index in range(512) for u in sobol(index))


def test_another_seed_or_stream_is_another_sobol_sequence():
    firsts = {
        tuple(SobolDraws(seed=seed, stream=stream, dimensions=2)(0))
        for seed in (0, 1, -7, 10**30)
        for stream in (0, 1)
    }
    assert len(firsts) == 8
