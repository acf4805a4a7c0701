"""A packet as columns."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.run.rows import Rows, as_number, rows_of
from sweepfleet.slot.records import Packet
from tests.support import space, written

SPACE = space({"a": range(100)})
numbers = st.one_of(st.floats(), st.integers(-(2**52), 2**52), st.booleans())
outcomes = st.one_of(
    st.fixed_dictionaries({"m": numbers}),
    st.fixed_dictionaries({"m": numbers, "t": st.sampled_from(["x", None])}),
    st.fixed_dictionaries({"other": numbers, "m": numbers}),
    st.fixed_dictionaries({"other": numbers}),
    st.fixed_dictionaries({"m": st.sampled_from(["text", None])}),
    st.just({}),
    st.builds(ValueError, st.text(max_size=5)),
)


def rows(values: list[Any], **rest: Any) -> Rows:
    points = SPACE.points(0, len(values))
    (found,) = rows_of(Packet("host/1", segments=[written(list(zip(points, values, strict=False)), **rest)]))
    return found


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(outcomes, min_size=1, max_size=12))
def test_the_columns_say_what_was_written(values: list[Any]) -> None:
    """Ids, payloads, failures and metrics, each as a plain loop over the results would have it."""
    found = rows(values, duration_s=0.5)
    assert len(found) == len(values)
    assert found.ids() == [SPACE.point(index).id for index in range(len(values))]
    assert found.busy_s == 0.5 * len(values)
    assert found.worker == "host/1"
    failed = [(place, value) for place, value in enumerate(values) if isinstance(value, ValueError)]
    assert [(place, failure.index, failure.error_type) for place, failure in found.failures()] == [
        (place, place, "ValueError") for place, _ in failed
    ]
    for (_, failure), (_, error) in zip(found.failures(), failed, strict=True):
        assert failure.error == f"ValueError: {error}"
    assert len(found.payloads()) == len(values)
    numbers = [
        value["m"] if isinstance(value, dict) and isinstance(value.get("m"), bool | int | float) else math.nan
        for value in values
    ]
    assert np.array_equal(found.measured("m"), np.array(numbers, np.float64), equal_nan=True)
    names = {name for value in values if isinstance(value, dict) for name in value}
    assert set(found.returned()) == names
    assert found.finished == len(values) - len(failed)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("0.5", 0.5),
        ("1e400", math.inf),
        (str(2**80), float(2**80)),
        (2**80, float(2**80)),
        (10**400, math.nan),
        ("1_000", math.nan),
        (" 1", math.nan),
        ("nan", math.nan),
        ("diverged", math.nan),
        ("", math.nan),
        (None, math.nan),
        ([1], math.nan),
        (True, 1.0),
        ("true", 1.0),
        ("false", 0.0),
    ],
)
def test_text_that_is_a_number_counts_as_in_the_tables(value: Any, number: float) -> None:
    """A column that has text keeps numbers as text."""
    assert as_number(value) == number or (math.isnan(number) and math.isnan(as_number(value)))
    if isinstance(value, str) and value not in ("true", "false"):
        cast = pl.Series([value]).cast(pl.Float64, strict=False)[0]
        assert (cast if cast is not None else math.nan) == number or math.isnan(number)


def test_payloads_are_the_bytes_as_written() -> None:
    """What the ledger keeps is what the child packed."""
    found = rows([{"t": "a"}, {"t": "bb"}])
    assert [json.loads(payload) for payload in found.payloads()] == [{"t": "a"}, {"t": "bb"}]
