"""A packet as columns."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.rows import Rows, rows_of
from tests.support import space, written
from worker.records import Packet

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
@given(st.lists(outcomes, min_size=1, max_size=12), st.sampled_from([1.0, -1.0]))
def test_the_columns_say_what_was_written(values: list[Any], sign: float) -> None:
    """Ids, payloads, failures and the best, each as a plain loop over the results would have it."""
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
    candidates = [
        (sign * value["m"], place)
        for place, value in enumerate(values)
        if isinstance(value, dict) and isinstance(value.get("m"), bool | int | float) and math.isfinite(value["m"])
    ]
    best = found.best("m", sign=sign)
    if not candidates:
        assert best is None
    else:
        assert best is not None
        assert best[0] == min(value for value, _ in candidates)
        assert best in candidates


def test_among_equals_of_one_shape_the_first_is_best() -> None:
    assert rows([{"m": 2.0}, {"m": 1.0}, {"m": 1.0}]).best("m", sign=1.0) == (1.0, 1)
    assert rows([{"m": 2}, {"m": 2}, {"m": 1}]).best("m", sign=-1.0) == (-2.0, 0)


def test_nothing_that_is_no_finite_number_is_best() -> None:
    assert rows([{"m": math.nan}, {"m": math.inf}, {"m": -math.inf}]).best("m", sign=1.0) is None
    assert rows([{"m": "0.5"}, {"m": None}]).best("m", sign=1.0) is None
    assert rows([ValueError("no")]).best("m", sign=1.0) is None
    assert rows([{"m": math.nan}, {"m": 3.0}]).best("m", sign=1.0) == (3.0, 1)


def test_payloads_are_the_bytes_as_written() -> None:
    """What the ledger keeps is what the child packed."""
    found = rows([{"t": "a"}, {"t": "bb"}])
    assert [json.loads(payload) for payload in found.payloads()] == [{"t": "a"}, {"t": "bb"}]
