"""A grid that is written from values is read as these values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepfleet.grid.load import loads
from sweepfleet.grid.written import to_yaml
from sweepfleet.grid.yamlfile import Reading, compose

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(
        ["no", "1e-4", "~", "null", "0x1f", "- a", "a: b", "#", "1_000", "yes", ".nan", "", " ", "\u2028"]
    )
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def read(text: str) -> Any:
    node = compose(text)
    assert node is not None
    reading = Reading()
    value = reading.value(node)
    assert not reading.problems, reading.problems
    return value


def same(one: Any, other: Any) -> bool:
    """Equal, of one type, and to the last bit."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_as_it_was(values: dict[str, Any]) -> None:
    assert same(read(to_yaml(values)), values)


def test_a_grid_reads_well() -> None:
    assert to_yaml(
        {
            "run": "fit:fit",
            "parameters": {
                "alpha": {"logspace": [-3, 1, 9]},
                "model": ["ridge", "no"],
                "net": {"depth": {"values": [1]}},
            },
            "exclude": [{"model": "ridge", "alpha": 1e-4}],
        }
    ) == (
        "run: fit:fit\n"
        "parameters:\n"
        "  alpha: {logspace: [-3, 1, 9]}\n"
        '  model: [ridge, "no"]\n'
        "  net:\n"
        "    depth: {values: [1]}\n"
        "exclude:\n"
        "  - {model: ridge, alpha: 0.0001}\n"
    )


def test_what_no_file_can_hold_is_named() -> None:
    with pytest.raises(TypeError, match=r"parameters\.a\[1\]: a object cannot be a parameter's value"):
        to_yaml({"parameters": {"a": [1, object()]}})


def test_a_function_in_a_file_needs_a_name() -> None:
    with pytest.raises(Exception, match="`run` has to say what the function is called"):
        loads("pickle: f.pickle\nparameters: {a: [1]}\n", source=Path("grid.yaml"))
