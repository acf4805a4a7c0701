"""What a target may return, and what becomes of it in shared memory."""

from __future__ import annotations

import json
import math
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.space import Point
from sweepfleet.slot.records import (
    HEADER,
    HEADER_BYTES,
    HEAP_START,
    IDLE,
    MAX_PAYLOAD_BYTES,
    RECORD,
    ROWS_SCHEMA,
    SHARED_BYTES,
    Packet,
    Segment,
)
from sweepfleet.slot.values import MAX_METRICS, BadResultError
from sweepfleet.slot.writer import ERROR_CHARS, describe, metrics_of
from tests.support import Memory, outcomes_of, space, written

POINT = space({"a": [1]}).point(0)
RAW_ID = bytes.fromhex(POINT.id)
QUIET_NAN = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]
NEGATIVE_NAN = struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0]


@pytest.fixture
def memory() -> Iterator[Memory]:
    memory = Memory(metric="rmse")
    yield memory
    memory.close()


def bits(value: Any) -> Any:
    """A value that compares equal only when it is the same to the last bit, and of the same type."""
    return (float, struct.pack("<d", value)) if isinstance(value, float) else (type(value), value)


def done(memory: Memory, value: Any, point: Point = POINT) -> dict[str, Any]:
    """Write a result, read it back from the raw memory, and forget it."""
    memory.writer.restart()
    memory.writer.done(point, bytes.fromhex(point.id), value, started=1.5, duration_s=0.25)
    memory.writer.idle()
    segment = read(memory)
    ((index, found),) = outcomes_of(Packet("x", segments=[segment]))
    assert index == point.index
    return dict(found)


def read(memory: Memory) -> Segment:
    *_, heap, complete = HEADER.unpack_from(memory.mapped)
    return Segment(
        memory.mapped[HEADER_BYTES : HEADER_BYTES + complete * RECORD.size],
        memory.mapped[HEAP_START : HEAP_START + heap],
        memory.schemas,
    )


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, QUIET_NAN, NEGATIVE_NAN, 0.1),
        *(0, -1, 2**63 - 1, -(2**63) + 1, True, False),
        *(None, "", "text", "ü\n\x00\u2028😀", "x" * 1_000_000),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!a}",
)
def test_a_scalar_comes_back_bit_for_bit(memory: Memory, value: Any) -> None:
    """Every float, NaN payloads and signs included, every 64-bit int, bools, null and text."""
    assert bits(done(memory, {"x": value})["x"]) == bits(value)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 0.1, math.inf, -math.inf, 2**63 - 1, -(2**63) + 1, True])
def test_beside_text_a_number_still_comes_back_bit_for_bit(memory: Memory, value: Any) -> None:
    """A result that has to be kept as JSON loses nothing of its numbers; of a NaN it keeps that it is one."""
    found = done(memory, {"x": value, "name": "ridge", "nan": math.nan})
    assert bits(found["x"]) == bits(value)
    assert math.isnan(found["nan"])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.5), 0.5),
        (np.int64(2**63 - 1), 2**63 - 1),
        (np.uint8(200), 200),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.array(7), 7),
        (np.str_("word"), "word"),
        (2**63, 2**63),
        (-(2**70) + 1, -(2**70) + 1),
    ],
    ids=repr,
)
def test_numbers_of_numpy_and_large_ints_become_plain_ones(memory: Memory, value: Any, plain: Any) -> None:
    """NumPy's scalars and arrays of no dimension are numbers; an int past 64 bits keeps its digits."""
    assert bits(done(memory, {"x": value})["x"]) == bits(plain)
    assert bits(done(memory, {"x": value, "t": "text"})["x"]) == bits(plain)


@pytest.mark.parametrize(("value", "metrics"), [(2, {"rmse": 2}), (0.5, {"rmse": 0.5}), (True, {"rmse": True})])
def test_one_number_is_the_grids_metric(memory: Memory, value: Any, metrics: dict[str, Any]) -> None:
    assert done(memory, value) == metrics == metrics_of(value, metric="rmse")
    assert done(memory, np.float64(0.5)) == {"rmse": 0.5}


def test_any_dict_will_do(memory: Memory) -> None:
    """A subclass, an empty one, and one whose order changes are all dicts."""
    assert done(memory, OrderedDict(b=1, a=2.0)) == {"b": 1, "a": 2.0}
    assert done(memory, {}) == {}
    assert list(done(memory, {"x": 1, "y": 2.0})) == ["x", "y"]
    assert list(done(memory, {"y": 2.0, "x": 1})) == ["y", "x"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "returned None of type NoneType"),
        ("text", "returned 'text' of type str"),
        ([1, 2], "of type list"),
        (1j, "of type complex"),
        (np.zeros(3), "of type ndarray"),
        ({"x": 1j}, "type complex"),
        ({"x": np.complex128(1j)}, "type complex"),
        ({"x": np.longdouble(1)}, "type longdouble"),
        ({1: 2}, "the key 1: the names of metrics are text"),
        ({("a", "b"): 2}, "the key ('a', 'b')"),
        ({"\ud800": 1}, "not valid UTF-8"),
        ({"x": "y" * (MAX_PAYLOAD_BYTES + 1)}, "bytes of metrics; the limit is 1,048,576"),
        ({f"m{number}": 1.0 for number in range(MAX_METRICS + 1)}, "returned more than 4,096 metrics"),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, str) else "",
)
def test_what_is_no_result_is_refused_with_what_to_do(memory: Memory, value: Any, says: str) -> None:
    """The error says what was returned; nothing is written, and the next point's result is sound."""
    with pytest.raises(BadResultError) as refusal:
        done(memory, value)
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 500, "a short word about a large result"
    assert done(memory, {"x": 1.5}) == {"x": 1.5}


def test_the_most_metrics_that_are_allowed_come_back(memory: Memory) -> None:
    value = {f"m{number}": number * 0.5 for number in range(MAX_METRICS)}
    assert done(memory, value) == value


def test_text_that_no_table_can_hold_is_spelled_out(memory: Memory) -> None:
    """A lone surrogate would stop the ledger or the tables: it is written as its escape."""
    assert done(memory, {"name": "a\ud800b"}) == {"name": "a\\ud800b"}


def test_more_shapes_than_numbers_for_them_still_come_back(memory: Memory) -> None:
    """The 256th shape of result and all later ones are kept as JSON, and cost no memory for ever."""
    for number in range(400):
        assert done(memory, {f"m{number}": 0.5, "n": number}) == {f"m{number}": 0.5, "n": number}
    assert sorted(memory.schemas) == list(range(ROWS_SCHEMA))
    assert done(memory, {"m0": 0.25, "n": 1}) == {"m0": 0.25, "n": 1}
    assert len(memory.writer._schemas) <= ROWS_SCHEMA


def test_one_shape_with_other_types_is_another_shape(memory: Memory) -> None:
    """An int, a float and a bool under one name are not read as one another."""
    for value in (1, 1.0, True, "1", None, 1):
        found = done(memory, {"x": value})["x"]
        assert bits(found) == bits(value)


scalars = st.one_of(
    st.floats(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.booleans(),
    st.none(),
    st.text(max_size=10),
)
results = st.dictionaries(st.text(max_size=5), scalars, max_size=5)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(results, max_size=12))
def test_a_segment_of_any_results_comes_back(values: list[dict[str, Any]]) -> None:
    """What a child wrote is what an owner reads, in order, through a packet's bytes."""
    points = list(space({"a": range(20)}).points(0, len(values)))
    segment = written(list(zip(points, values, strict=True)), started=12.5, duration_s=0.125)
    found = outcomes_of(Packet.from_bytes(Packet("x", segments=[segment]).to_bytes()))
    assert [index for index, _ in found] == list(range(len(values)))
    for (_, metrics), value in zip(found, values, strict=True):
        same = {name: ("nan",) if v != v else bits(v) for name, v in value.items()}  # noqa: PLR0124 - NaN
        assert {name: ("nan",) if v != v else bits(v) for name, v in metrics.items()} == same  # noqa: PLR0124
    for record, point in zip(segment.rows(), points, strict=False):
        assert (record.id.hex(), record.seed) == (point.id, point.seed)
        assert (record.started, record.duration_s) == (12.5, 0.125)


def test_what_the_header_calls_complete_is_readable_at_any_instant(memory: Memory) -> None:
    """A child that dies before, during or after a write leaves whole records, and none that is not whole."""
    points = list(space({"a": range(6)}).points(0, 6))
    values: list[Any] = [{"x": 0.5}, {"x": 1}, {"x": "text"}, ValueError("no"), {}, {"y": None}]
    seen: list[int] = []

    def look() -> None:
        _, index, *_, complete = HEADER.unpack_from(memory.mapped)
        found = outcomes_of(Packet.from_bytes(Packet("x", segments=[read(memory)]).to_bytes()))
        assert [number for number, _ in found] == list(range(complete))
        for (_, outcome), value in zip(found, values, strict=False):
            assert (outcome[0] if isinstance(value, ValueError) else outcome) == (
                "ValueError" if isinstance(value, ValueError) else value
            )
        assert index in (IDLE, complete), "the one that runs is the first that is not complete"
        seen.append(complete)

    class Watched:
        """The shared memory, looked at before and after each store into it."""

        def __setitem__(self, key: Any, value: Any) -> None:
            look()
            memory.mapped[key] = value
            look()

    memory.writer._memory = Watched()  # type: ignore[assignment]
    pack_into = RECORD.pack_into
    for point, value in zip(points, values, strict=True):
        raw_id = bytes.fromhex(point.id)
        memory.writer.begin(point, raw_id)
        with pytest.MonkeyPatch.context() as patched:
            fake = type(
                "Record",
                (),
                {"size": RECORD.size, "pack_into": lambda _, __, *rest: pack_into(memory.mapped, *rest)},
            )
            patched.setattr("sweepfleet.slot.writer.RECORD", fake())
            if isinstance(value, ValueError):
                memory.writer.failed(point, raw_id, value, started=0.0, duration_s=0.0)
            else:
                memory.writer.done(point, raw_id, value, started=0.0, duration_s=0.0)
        look()
    memory.writer.idle()
    assert set(seen) == set(range(7))


def test_a_full_memory_says_so_before_it_overflows(memory: Memory) -> None:
    """`full` leaves room for one more point, whatever that returns."""
    count = 0
    while not memory.writer.full:
        memory.writer.done(POINT, RAW_ID, {"x": "y" * 1_000_000}, started=0.0, duration_s=0.0)
        count += 1
    memory.writer.failed(POINT, RAW_ID, ValueError("\x00" * 10**6), started=0.0, duration_s=0.0)
    memory.writer.idle()
    assert HEAP_START + HEADER.unpack_from(memory.mapped)[4] <= SHARED_BYTES
    assert count > 50
    memory.writer.restart()
    assert not memory.writer.full


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nor can this")


def failure(memory: Memory, error: BaseException) -> tuple[str, str]:
    memory.writer.restart()
    memory.writer.failed(POINT, RAW_ID, error, started=0.0, duration_s=0.0)
    memory.writer.idle()
    ((_, said),) = outcomes_of(Packet("x", segments=[read(memory)]))
    assert isinstance(said, tuple)
    return said


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301 - for its traceback
    except BaseException as caught:  # noqa: BLE001 - SystemExit too
        return caught


def test_any_exception_can_be_written_down(memory: Memory) -> None:
    """One that cannot be printed, one of a megabyte, one with bytes that are no text, and a chain of them."""
    assert "UnprintableError" in failure(memory, raised(UnprintableError()))[1]
    kind, text = failure(memory, raised(ValueError("head" + "x" * 10**6 + "tail")))
    assert kind == "ValueError"
    assert len(text) < ERROR_CHARS + 100
    assert "characters dropped" in text
    assert text.endswith("tail")
    assert "\\udcff" in failure(memory, raised(OSError("\udcff")))[1]
    long_name = type("E" * 10**6, (Exception,), {})
    assert len(failure(memory, raised(long_name()))[0]) <= 200
    chained = raised(ValueError("second"))
    chained.__cause__ = raised(KeyError("first"))
    assert "first" in failure(memory, chained)[1]


def test_a_traceback_begins_in_the_users_file() -> None:
    """Frames of this package are left out; an error of our own has no traceback at all."""
    with pytest.raises(BadResultError) as refusal:
        metrics_of([1], metric="x")
    assert refusal.value.__traceback__ is not None
    assert describe(refusal.value.with_traceback(None)).startswith("BadResultError: returned [1]")
    text = describe(raised(ValueError("here")))
    assert text.startswith("Traceback")
    assert __file__ in text


def test_metrics_of_is_what_a_test_point_prints() -> None:
    assert metrics_of({"a": np.float32(0.5), "b": "x"}, metric="m") == {"a": 0.5, "b": "x"}
    assert json.dumps(metrics_of(3, metric="m")) == '{"m": 3}'


def test_a_huge_wrong_result_is_not_written_out_in_full_first() -> None:
    """Saying what was returned costs no more memory for a long list than for a short one."""
    import tracemalloc

    value = list(range(2_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadResultError):
            metrics_of(value, metric="x")
        assert tracemalloc.get_traced_memory()[1] < sys.getsizeof(value) / 10
    finally:
        tracemalloc.stop()
