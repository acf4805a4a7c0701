"""What `grid.parameters` promises: the values that a parameter's form means, to the last bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.parameters import ParameterError, dimension, explicit, linspace, logspace
from sweepfleet.grid.plan import Distribution
from sweepfleet.grid.spec import ParameterSpec
from sweepfleet.grid.wandb import LAWS

moderate = settings(deadline=None, max_examples=200, derandomize=True)
reals = st.floats(-1e6, 1e6, allow_subnormal=False)


def made(method="grid", **spec):
    return dimension("x", ParameterSpec.model_validate(spec), method=method)


def values(**spec):
    return [value for (value,) in made(**spec).rows]


def typed(numbers):
    return [(type(number), number) for number in numbers]


@moderate
@given(reals, reals, st.integers(1, 200))
def test_linspace_is_numpy_s_to_the_last_bit(first, last, count):
    assert linspace(first, last, count) == np.linspace(first, last, count).tolist()


def test_linspace_keeps_to_numpy_where_a_step_vanishes():
    assert linspace(0, 5e-324, 4) == np.linspace(0, 5e-324, 4).tolist()


@moderate
@given(st.floats(-20, 20), st.floats(-20, 20), st.integers(1, 50))
def test_logspace_is_numpy_s_within_one_unit_in_the_last_place(first, last, count):
    ours, theirs = np.array(logspace(first, last, count)), np.logspace(first, last, count)
    assert np.all(np.abs(ours - theirs) <= np.spacing(np.maximum(ours, theirs)))


@moderate
@given(st.integers(-300, 300), st.integers(2, 20))
def test_whole_powers_of_ten_are_what_one_would_write(power, count):
    assert logspace(power, power + count - 1, count) == [float(f"1e{power + step}") for step in range(count)]


@moderate
@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_a_range_of_whole_numbers_is_python_s(start, stop, step):
    expected = list(range(start, stop, step))
    if expected:
        assert typed(values(range=[start, stop, step])) == typed(expected)
    else:
        with pytest.raises(ParameterError, match="is empty"):
            made(range=[start, stop, step])


@moderate
@given(st.integers(-500, 500), st.integers(1, 100), st.integers(1, 99), st.integers(0, 3))
def test_a_range_of_decimals_does_not_drift(start, width, step, digits):
    """Each value is the one that its decimal notation means, and the stop is excluded."""
    scale = 10**digits
    start_at, stop_at, by = (float(Fraction(number, scale)) for number in (start, start + width, step))
    expected = [float(Fraction(number, scale)) for number in range(start, start + width, step)]
    assert typed(values(range=[start_at, stop_at, by])) == typed(expected)


def test_a_range_may_leave_out_its_step_and_mix_kinds():
    assert typed(values(range=[0, 3])) == typed([0, 1, 2])
    assert typed(values(range=[0, 0.5, 0.1])) == typed([0.0, 0.1, 0.2, 0.3, 0.4])
    assert typed(values(range=[1, 0, -0.25])) == typed([1.0, 0.75, 0.5, 0.25])


@moderate
@given(
    st.integers(-20, 20) | st.floats(-20, 20, width=16),
    st.integers(1, 20) | st.floats(0.5, 20, width=16),
    st.sampled_from([1, 2, 3, 0.1, 0.25, 0.3, None]),
)
def test_a_quantised_range_in_a_grid_is_numpy_s_arange_as_at_wandb(low, width, q):
    high = low + width
    spec = {"distribution": "q_uniform", "min": low, "max": high} | ({"q": q} if q is not None else {})
    expected = dict.fromkeys(np.arange(low, high, 1.0 if q is None else q).tolist())
    assert typed(values(**spec)) == typed(expected)


def test_values_are_passed_whole_and_once():
    assert values(values=[[1, 2], {"a": 1}, [1, 2], 1, 1.0, True, None]) == [[1, 2], {"a": 1}, 1, 1.0, True, None]
    assert typed(values(values=[1, 1.0, True])) == typed([1, 1.0, True])
    assert values(value=None) == [None]
    assert values(value=3, distribution="constant") == [3]
    assert values(values=[3], distribution="categorical") == [3]


def test_bounds_alone_imply_a_law_as_at_wandb():
    assert made(min=1, max=5).distribution == Distribution("int_uniform", low=1, high=5)
    assert made("random", min=1, max=5.0).distribution == Distribution("uniform", low=1, high=5.0)
    assert made("random", distribution="int_uniform", min=1, max=5.0).distribution == Distribution(
        "int_uniform", low=1, high=5
    )


@pytest.mark.parametrize("law", sorted(LAWS))
def test_every_law_of_wandb_can_be_drawn_from(law):
    from sweepfleet.grid.laws import Law

    spec = {key: {"min": 1, "max": 5}[key] for key in LAWS[law].needs}
    drawn = made("random", distribution=law, **spec).distribution
    assert drawn is not None
    assert Law(drawn).quantile(0.5) > 0 or law in {"normal", "q_normal", "q_beta"}


@pytest.mark.parametrize("law", sorted(LAWS.keys() - {"int_uniform", "q_uniform"}))
@pytest.mark.parametrize("method", ["grid", "one_at_a_time"])
def test_a_grid_refuses_what_has_no_list_of_values(law, method):
    spec = {key: {"min": 1, "max": 5}[key] for key in LAWS[law].needs}
    with pytest.raises(ParameterError, match=f"method {method} cannot") as caught:
        made(method, distribution=law, **spec)
    assert "linspace: [" in caught.value.remedy


def test_a_step_s_kind_is_kept():
    assert type(made("random", distribution="q_normal", q=2).distribution.q) is int
    assert type(made("random", distribution="q_normal", q=2.0).distribution.q) is float


def test_probabilities_belong_to_distinct_values():
    weighted = made("random", values=["a", "b", "a"], probabilities=[0.25, 0.5, 0.25])
    assert weighted.rows == (("a",), ("b",))
    assert weighted.probabilities == (0.5, 0.5)


@pytest.mark.parametrize(
    ("method", "spec", "key", "message"),
    [
        ("grid", {}, None, "no values"),
        ("grid", {"values": [1], "range": [0, 1]}, "range", "`values` and `range`"),
        ("grid", {"values": [1], "min": 0}, "min", "`values` and `min`"),
        ("grid", {"min": 0}, None, "`max` is missing"),
        ("grid", {"range": [0]}, "range", "1 numbers"),
        ("grid", {"range": [0, 1, 0]}, "range", "step is 0"),
        ("grid", {"range": [0, 1e300, 1e-300]}, "range", "1,000,000"),
        ("grid", {"linspace": [0, 1]}, "linspace", "2 numbers"),
        ("grid", {"linspace": [0, 1, 2.5]}, "linspace", "not a whole number"),
        ("grid", {"linspace": [-1e308, 1e308, 3]}, "linspace", "too far apart"),
        ("grid", {"logspace": [0, 309, 3]}, "logspace", "too large"),
        ("grid", {"linspace": [0, 10**400, 3]}, "linspace", "too large"),
        ("grid", {"distribution": "q_uniform", "min": 1, "max": 1}, "max", "excluded"),
        ("grid", {"distribution": "q_uniform", "min": -(10**308), "max": 10**308, "q": 1}, "q", "1,000,000"),
        ("grid", {"distribution": "categorical"}, "distribution", "needs `values`"),
        ("grid", {"values": [1, 2], "probabilities": [0.5, 0.5]}, "probabilities", "Method grid"),
        ("random", {"values": [1, 2], "probabilities": [0.5]}, "probabilities", "2 values and 1"),
        ("random", {"values": [1, 2], "probabilities": [0.5, 0.6]}, "probabilities", "sum to 1.1"),
        ("random", {"values": [1, 2], "probabilities": [-1, 2]}, "probabilities", "0 or more"),
        ("random", {"value": 1, "probabilities": [1]}, "probabilities", "`values` only"),
        ("random", {"distribution": "unifrom", "min": 0, "max": 1}, "distribution", "not a distribution"),
        ("random", {"distribution": "uniform", "min": 0}, "distribution", "needs `max`"),
        ("random", {"distribution": "normal", "min": 0}, "min", "no `min`"),
        ("random", {"distribution": "normal", "sigma": -1}, "sigma", "0 or more"),
        ("random", {"distribution": "q_normal", "q": 0}, "q", "above 0"),
        ("random", {"distribution": "log_uniform_values", "min": 0, "max": 1}, "min", "above 0"),
        ("random", {"distribution": "int_uniform", "min": 0.5, "max": 1}, "min", "whole number"),
        ("random", {"min": 2, "max": 1}, "min", "above max"),
    ],
)
def test_what_cannot_be_used_says_why_and_where(method, spec, key, message):
    with pytest.raises(ParameterError) as caught:
        made(method, **spec)
    assert message in caught.value.message
    assert caught.value.key == key
    assert caught.value.remedy


def test_a_zip_s_columns_are_listed_in_full():
    def column(**spec):
        return explicit(ParameterSpec.model_validate(spec))

    assert column(values=[1, 1, 2]) == [1, 1, 2]
    assert column(min=1, max=3) == [1, 2, 3]
    assert column(linspace=[0, 1, 3]) == [0.0, 0.5, 1.0]
    for refused in ({"min": 0.5, "max": 1}, {"values": [1], "probabilities": [1]}, {"min": 0, "max": 10**9}):
        with pytest.raises(ParameterError):
            column(**refused)
