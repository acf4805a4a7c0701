"""The packed form of finished points, as bytes."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.slot.records import (
    HEADER,
    HEADER_BYTES,
    HEAP_START,
    IDLE,
    MAX_POINTS,
    RECORD,
    SHARED_BYTES,
    Packet,
    Schema,
    Segment,
    drop,
    error_payload,
    printable,
)

moderate = settings(deadline=None, max_examples=150, derandomize=True)
spans = st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 20)), max_size=8).map(
    lambda found: [(start, start + length) for start, length in found]
)
kinds = st.text("dq?", max_size=5)
schemas = kinds.flatmap(
    lambda code: st.lists(st.text(max_size=6), min_size=len(code), max_size=len(code), unique=True).map(
        lambda names: Schema(tuple(names), code)
    )
)
segments = st.builds(
    Segment,
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.dictionaries(st.integers(0, 254), schemas, max_size=3),
    st.dictionaries(st.sampled_from(["fit.py", "lib/a.py"]), st.text("0af", max_size=4)),
)
packets = st.builds(
    Packet,
    st.text(max_size=20),
    st.floats(0, 1e6),
    st.lists(segments, max_size=4),
    st.dictionaries(st.integers(0, 2**63 - 1), st.integers(1, 100), max_size=4),
)


@moderate
@given(spans, st.integers(0, 200))
def test_drop_leaves_exactly_what_is_left(given_spans: list[tuple[int, int]], count: int) -> None:
    """`drop` is the list of indexes without its head, whatever the spans."""
    indexes = [index for start, stop in given_spans for index in range(start, stop)]
    rest = drop(given_spans, count)
    assert [index for start, stop in rest for index in range(start, stop)] == indexes[count:]
    assert all(start < stop for start, stop in rest), "no empty span, which would be a bundle without points"


@moderate
@given(packets)
def test_a_packet_comes_back_as_it_was_sent(packet: Packet) -> None:
    """to_bytes and from_bytes are each other's inverse, for any content."""
    assert Packet.from_bytes(packet.to_bytes()) == packet


@moderate
@given(kinds, st.data())
def test_a_schema_unpacks_what_it_packs(code: str, data: st.DataObject) -> None:
    """Eight bytes a metric, and the values bit for bit."""
    strategies = {"d": st.binary(min_size=8, max_size=8), "q": st.integers(-(2**63), 2**63 - 1), "?": st.booleans()}
    raw = [data.draw(strategies[kind]) for kind in code]
    values = [struct.unpack("<d", v)[0] if kind == "d" else v for kind, v in zip(code, raw, strict=True)]
    schema = Schema(tuple(f"m{place}" for place in range(len(code))), code)
    packed = schema.packer.pack(*values)
    assert len(packed) == 8 * len(code)
    found = list(schema.unpack(packed).values())
    again = [struct.pack("<d", v) if kind == "d" else v for kind, v in zip(code, found, strict=True)]
    assert again == raw


def test_the_layout_has_room_for_all_that_it_promises() -> None:
    """The header, the records and the heap do not overlap, and the largest heap fits its 32-bit offsets."""
    assert HEADER.size <= HEADER_BYTES
    assert HEADER_BYTES + MAX_POINTS * RECORD.size == HEAP_START < SHARED_BYTES < 1 << 32
    assert HEADER.unpack(HEADER.pack(0.0, IDLE, bytes(8), 0, 0, 0))[1] == IDLE


@moderate
@given(st.text(st.characters(), max_size=30))
def test_an_errors_text_can_be_written_anywhere(text: str) -> None:
    """Whatever a message holds, lone surrogates included, its printable form is UTF-8, and most are unchanged."""
    shown = printable(text)
    shown.encode("utf-8")
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert shown == text
    assert error_payload(text, text).isascii()
