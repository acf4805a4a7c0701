"""What a target may return: kinds of values, and the metrics that come of each."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import pytest

from sweepfleet.slot.records import Packet
from sweepfleet.slot.values import BadResultError
from sweepfleet.slot.writer import metrics_of
from tests.slot.test_writer import read
from tests.support import Memory, outcomes_of, space

POINT = space({"a": [1]}).point(0)


@dataclass
class Fit:
    loss: float
    steps: int


@dataclass(frozen=True, slots=True)
class Nested:
    fit: Fit
    name: str


class Scores(NamedTuple):
    loss: float
    acc: float


class Color(str, enum.Enum):  # noqa: UP042 - whose str() is not its value
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Named(int, enum.Enum):
    """An integer whose value is another: the value counts."""

    def __new__(cls, number: int, name: str) -> Self:
        made = int.__new__(cls, number)
        made._value_ = name
        return made

    TOP = (1, "top")


class Plain(enum.Enum):
    LOW = 0.25
    MANY = (1, 2)


class Tensor:
    """As PyTorch's: `item`, `tolist`, `numel`, `ndim`, `dtype`, and no `size` that is a number."""

    dtype = "torch.float32"

    def __init__(self, value: Any, ndim: int = 0) -> None:
        self._value, self.ndim = value, ndim

    def item(self) -> Any:
        return self._value

    def tolist(self) -> Any:
        return self._value

    def numel(self) -> int:
        return len(self._value) if self.ndim else 1

    def size(self) -> Any:
        return (len(self._value),)


class Timestamp(dt.datetime):
    """As pandas': a datetime, of which NaT is one that differs from itself."""

    absent = False

    def __ne__(self, other: object) -> bool:
        return self.absent or super().__ne__(other)


NAT = Timestamp(1, 1, 1)
NAT.absent = True
NAType = type("NAType", (), {"__module__": "pandas._libs.missing"})
Series = type(
    "Series",
    (),
    {
        "__module__": "pandas.core.series",
        "__init__": lambda self, found: setattr(self, "found", found),
        "to_dict": lambda self: self.found,
        "to_list": lambda self: list(self.found.values()),
    },
)


class Bag(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return {"loss": 0.5}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(["loss"])

    def __len__(self) -> int:
        return 1


KINDS: list[tuple[str, Any, dict[str, Any]]] = [
    ("one int", 3, {"value": 3}),
    ("one float", 0.5, {"value": 0.5}),
    ("one bool", True, {"value": True}),
    ("one numpy scalar", np.float32(0.5), {"value": 0.5}),
    ("one array of no dimension", np.array(2), {"value": 2}),
    ("one tensor", Tensor(0.5), {"value": 0.5}),
    ("one Decimal", Decimal("0.1"), {"value": 0.1}),
    ("one Fraction", Fraction(1, 4), {"value": 0.25}),
    ("one IntEnum", Level.HIGH, {"value": 3}),
    ("dict", {"loss": 0.5, "n": 3, "ok": True, "why": "x", "no": None}, None),  # type: ignore[list-item]
    ("empty dict", {}, {}),
    ("OrderedDict", collections.OrderedDict(loss=0.5), {"loss": 0.5}),
    ("defaultdict", collections.defaultdict(int, loss=1), {"loss": 1}),
    ("Counter", collections.Counter("aab"), {"a": 2, "b": 1}),
    ("MappingProxyType", types.MappingProxyType({"loss": 0.5}), {"loss": 0.5}),
    ("Mapping", Bag(), {"loss": 0.5}),
    ("dataclass", Fit(0.5, 3), {"loss": 0.5, "steps": 3}),
    ("dataclass within a dataclass", Nested(Fit(0.5, 3), "x"), {"fit.loss": 0.5, "fit.steps": 3, "name": "x"}),
    ("named tuple", Scores(0.5, 0.9), {"loss": 0.5, "acc": 0.9}),
    ("pandas Series with names", Series({"loss": 0.5, "n": np.int64(3)}), {"loss": 0.5, "n": 3}),
    ("nested maps", {"a": {"b": {"c": 1}, "d": 2}, "e": 3}, {"a.b.c": 1, "a.d": 2, "e": 3}),
    ("empty map inside", {"a": {}, "b": 1}, {"b": 1}),
    ("list", {"x": [1, 0.5, None, "a"], "y": 2}, {"x": '[1, 0.5, null, "a"]', "y": 2}),
    ("empty list", {"x": []}, {"x": "[]"}),
    ("tuple", {"x": (1, 2)}, {"x": "[1, 2]"}),
    ("list of maps", {"x": [{"a": np.int64(1)}, {}]}, {"x": '[{"a": 1}, {}]'}),
    ("list of one", {"x": [0.5]}, {"x": "[0.5]"}),
    ("array of one", {"x": np.array([0.5])}, {"x": "[0.5]"}),
    ("array", {"x": np.arange(4).reshape(2, 2)}, {"x": "[[0, 1], [2, 3]]"}),
    ("masked array", {"x": np.ma.array([1, 2], mask=[0, 1])}, {"x": "[1, null]"}),
    ("masked scalar", {"x": np.ma.masked}, {"x": None}),
    ("tensor", {"x": Tensor([0.5, 1.0], ndim=1)}, {"x": "[0.5, 1.0]"}),
    ("polars Series", {"x": pl.Series([1, None])}, {"x": "[1, null]"}),
    ("pandas Series without names", {"x": Series({0: 1, 1: 2})}, {"x": "[1, 2]"}),
    ("numpy scalars", {"a": np.int8(-1), "b": np.bool_(True), "c": np.str_("w")}, {"a": -1, "b": True, "c": "w"}),
    ("numpy times", {"t": np.datetime64("2024-01-02T03:04:05.000000007")}, {"t": "2024-01-02T03:04:05.000000007"}),
    ("numpy durations", {"t": np.timedelta64(1500, "ms"), "n": np.timedelta64("NaT")}, {"t": 1.5, "n": None}),
    ("datetime", {"t": dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC)}, {"t": "2024-01-02T03:00:00+00:00"}),
    ("date", {"t": dt.date(2024, 1, 2)}, {"t": "2024-01-02"}),
    ("timedelta", {"t": dt.timedelta(minutes=1, milliseconds=5)}, {"t": 60.005}),
    ("pandas Timestamp", {"t": Timestamp(2024, 1, 2), "n": NAT}, {"t": "2024-01-02T00:00:00", "n": None}),
    ("pandas NA", {"x": NAType(), "y": 1}, {"x": None, "y": 1}),
    ("Decimal", {"x": Decimal("0.1"), "n": Decimal(2**70 + 1)}, {"x": 0.1, "n": 2**70 + 1}),
    ("Decimal not finite", {"x": Decimal("-Infinity")}, {"x": -math.inf}),
    ("Fraction", {"x": Fraction(1, 3), "n": Fraction(2**53 + 1)}, {"x": 1 / 3, "n": 2**53 + 1}),
    ("str Enum", {"x": Color.RED, Color.RED: 1}, {"x": "red", "red": 1}),
    ("Enum", {"x": Plain.LOW, "y": Plain.MANY, "z": Level.HIGH}, {"x": 0.25, "y": "[1, 2]", "z": 3}),
    ("int Enum with another value", {"x": Named.TOP}, {"x": "top"}),
    ("int past 64 bits", {"n": 2**64 + 1, "m": -(2**70)}, {"n": 2**64 + 1, "m": -(2**70)}),
    ("int of numpy past 63 bits", {"n": np.uint64(2**64 - 1)}, {"n": 2**64 - 1}),
    ("int of 4,000 digits", {"n": 10**3999}, {"n": 10**3999}),
    ("NaN and infinities", {"a": math.nan, "b": -math.inf}, {"a": math.nan, "b": -math.inf}),
    ("lone surrogate", {"x": "a\ud800"}, {"x": "a\\ud800"}),
    ("names with signs", {"val/loss": 0.5, "f1-score": 1, "": 2}, {"val/loss": 0.5, "f1-score": 1, "": 2}),
]


@pytest.mark.parametrize(("value", "right"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_each_kind_of_value_becomes_these_metrics(value: Any, right: dict[str, Any] | None) -> None:
    """The same through the packed form, twice over, as a test point shows it, and beside text."""
    right = value if right is None else right
    memory = Memory()
    try:
        raw_id = bytes.fromhex(POINT.id)
        beside = value | {"text": "t"} if isinstance(value, dict) else value
        for each in (value, value, beside):
            memory.writer.done(POINT, raw_id, each, started=0.0, duration_s=0.0)
        memory.writer.idle()
        found = [metrics for _, metrics in outcomes_of(Packet("x", segments=[read(memory)]))]
    finally:
        memory.close()
    more = {"text": "t"} if isinstance(value, dict) else {}
    for metrics, wanted in zip(
        [*found, metrics_of(value, metric="value")], [right, right, right | more, right], strict=True
    ):
        assert json.dumps(metrics) == json.dumps(wanted)


def loop() -> dict[str, Any]:
    found: dict[str, Any] = {"loss": 0.5}
    found["self"] = found
    return found


async def later() -> int:
    return 1


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "returned None of type NoneType. Does the function end without `return`?"),
        ("0.93", "returned '0.93' of type str. Return a dict of numbers, or one number"),
        ([1, 2], "Return a dict of metrics, a list of dicts (rows), or one number"),
        ((0.1, 0.2), "of type tuple. Return a dict of metrics"),
        (np.array([0.5]), "of type ndarray. Return one number (`.item()`, `float(...)`)"),
        (Tensor([0.5], ndim=1), "Return one number (`.item()`, `float(...)`)"),
        (pl.Series([1]), "of type Series. Return a dict of numbers"),
        ({1, 2}, "of type set. A set has no order: return sorted(...)."),
        (b"0.93", "of type bytes. Return text (`.decode()`)"),
        (1j, "of type complex. Return its real and imaginary part"),
        ((x for x in [1]), "of type generator. Return list(...), or write `return` instead of `yield`"),
        (Fit, "of type type. Return a dict of numbers"),
        (Color.RED, "of type Color. Return a dict of numbers"),
        ({"x": {1, 2}}, "returned x = {1, 2} of type set. A set has no order"),
        ({"a": {"x": b"0"}}, "returned a.x = b'0' of type bytes"),
        ({"x": [b"0"]}, "returned x = b'0' of type bytes"),
        ({"x": 1j}, "of type complex"),
        ({"x": np.complex128(1j)}, "of type complex"),
        ({"x": np.longdouble(1)}, "of type longdouble"),
        ({"x": object()}, "of type object"),
        ({"x": (x for x in [1])}, "of type generator"),
        ({"x": pl.DataFrame({"a": [1]})}, "of type DataFrame. Return a frame alone, or (metrics, frame)"),
        ({1: 0.5}, "the key 1: the names of metrics are text. Write str(1)"),
        ({"a": {0: 0.5}}, "the key 0: the names of metrics are text"),
        ({"a.b": 1, "a": {"b": 2}}, "returned two metrics named a.b"),
        ({"a": {"b": 2}, "a.b": 1}, "returned two metrics named a.b"),
        ({"\ud800": 1}, "not valid UTF-8"),
        ({"n": 10**5000}, "an integer of 16,610 bits; the limit is 4,000 digits"),
        ({"n": Decimal("1e999999999")}, "the limit is 4,000 digits"),
        ({"x": Decimal("sNaN")}, "a signalling NaN"),
        ({"x": Fraction(10**400 + 1, 3)}, "larger than any float"),
        ({"x": [0] * 1_000_000}, "a list of 1,000,000 items; the limit is 1,048,576 bytes of JSON text"),
        ({"x": np.zeros(1_000_000)}, "an array of 1,000,000 numbers"),
        ({"x": ["y" * 100_000] * 20}, "bytes; the limit is 1,048,576"),
        (loop(), "nested too deeply or contain themselves"),
        ({f"m{number}": number for number in range(5000)}, "more than 4,096 metrics"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_has_no_form_is_refused_with_what_to_return(value: Any, says: str) -> None:
    with pytest.raises(BadResultError) as refusal:
        metrics_of(value, metric="value")
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_a_coroutine_that_a_plain_function_returned_is_refused_and_closed() -> None:
    """With the hint how to have it run; Python's own warning that nobody awaited it does not come."""
    returned = later()
    with pytest.raises(BadResultError, match="`async def`"):
        metrics_of(returned, metric="value")
    assert returned.cr_frame is None


def test_a_shape_of_one_type_is_packed_and_one_of_maps_is_not_taken_for_it() -> None:
    """Results of one shape keep their quick form although others of the run are nested, enums or large."""
    memory = Memory()
    try:
        for value in ({"n": 1}, {"n": 2**64 + 1}, {"n": Level.HIGH}, {"n": {"m": 1}}, {"n": Plain.LOW}, {"n": 2}):
            memory.writer.done(POINT, bytes.fromhex(POINT.id), value, started=0.0, duration_s=0.0)
        memory.writer.idle()
        found = [metrics for _, metrics in outcomes_of(Packet("x", segments=[read(memory)]))]
    finally:
        memory.close()
    assert found == [{"n": 1}, {"n": 2**64 + 1}, {"n": 3}, {"n.m": 1}, {"n": 0.25}, {"n": 2}]
