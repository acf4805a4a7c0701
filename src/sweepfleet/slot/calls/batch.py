"""Calls and what came of them, packed: many small pickles in one buffer, and large arrays in buffers of their own.

Nothing here is unpickled: that is for the process that calls, and for the one that called.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweepfleet.slot.calls.frames import Buffer, Frame


class Pickled(NamedTuple):
    """An object as bytes (pickle protocol 5)."""

    data: Buffer
    outside: Sequence[Buffer] = ()  # its out-of-band buffers


@dataclass(slots=True)  # not frozen, as Outcome: they are made by the hundred thousand, and nobody changes them
class Call:
    """A function with its arguments."""

    index: int  # that its outcome has
    function: str  # the digest of the pickled function
    arguments: Pickled  # of (args, kwargs)
    key: str | None = None  # what it is by content, where its result is kept


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no outcome of its own: its process ended, or it took more than it may."""

    kind: str  # Timeout, MemoryLimit, OutOfMemory, Crash, ProcessExit, ProcessLost, Unreadable
    text: str


@dataclass(slots=True)
class Outcome:
    """What came of a call."""

    index: int
    value: Pickled | Failure  # the result; what it raised where `raised`; a Failure where its process failed
    raised: bool = False
    wall_s: float = 0.0
    key: str | None = None
    attempts: int = 1
    started: float = 0.0  # unix time

    def at(self, index: int) -> Outcome:
        """The same for another index."""
        return Outcome(index, self.value, self.raised, self.wall_s, self.key, self.attempts, self.started)

    @property
    def ok(self) -> bool:
        """Whether the call returned."""
        return not self.raised and not isinstance(self.value, Failure)


def pack_calls(calls: Sequence[Call], header: dict[str, Any]) -> Frame:
    """A frame with calls, and with what else `header` has."""
    functions = list(dict.fromkeys(call.function for call in calls))
    place = {digest: number for number, digest in enumerate(functions)}
    more: dict[str, Any] = {"functions": functions}
    if len(functions) > 1:
        more["which"] = [place[call.function] for call in calls]
    if any(call.key is not None for call in calls):
        more["keys"] = [call.key for call in calls]
    return _pack(header | more, [call.index for call in calls], [call.arguments for call in calls])


def unpack_calls(frame: Frame) -> list[Call]:
    """The calls of a frame."""
    header = frame.header
    functions = header["functions"]
    which = header.get("which") or itertools.repeat(0)
    keys = header.get("keys") or itertools.repeat(None)
    return [
        Call(index, functions[place], arguments, key)
        for (index, arguments), place, key in zip(_unpack(frame), which, keys, strict=False)
    ]


def indexes_of(frame: Frame) -> Sequence[int]:
    """The indexes of a frame's calls or outcomes."""
    indexes: Sequence[int] = frame.header["each"] or range(*frame.header["indexes"] or (0, 0))
    return indexes


def pack_outcomes(outcomes: Sequence[Outcome], header: dict[str, Any]) -> Frame:
    """A frame with outcomes, and with what else `header` has."""
    empty = Pickled(b"")
    failures = {i: [o.value.kind, o.value.text] for i, o in enumerate(outcomes) if isinstance(o.value, Failure)}
    more: dict[str, Any] = {"wall_s": [round(outcome.wall_s, 6) for outcome in outcomes]}
    if raised := [place for place, outcome in enumerate(outcomes) if outcome.raised]:
        more["raised"] = raised
    if failures:
        more["failures"] = failures
    if any(outcome.key is not None for outcome in outcomes):
        more["keys"] = [outcome.key for outcome in outcomes]
    if tried := {place: outcome.attempts for place, outcome in enumerate(outcomes) if outcome.attempts != 1}:
        more["attempts"] = tried
    if any(outcome.started for outcome in outcomes):
        more["started"] = [outcome.started for outcome in outcomes]
    values = [empty if isinstance(outcome.value, Failure) else outcome.value for outcome in outcomes]
    return _pack(header | more, [outcome.index for outcome in outcomes], values)


def unpack_outcomes(frame: Frame) -> list[Outcome]:
    """The outcomes of a frame."""
    header = frame.header
    raised = set(header.get("raised", ()))
    failures = {int(place): Failure(*found) for place, found in header.get("failures", {}).items()}
    attempts = {int(place): count for place, count in header.get("attempts", {}).items()}
    keys = header.get("keys") or itertools.repeat(None)
    started = header.get("started") or itertools.repeat(0.0)
    return [
        Outcome(index, failures.get(place, value), place in raised, wall_s, key, attempts.get(place, 1), begun)
        for place, ((index, value), wall_s, key, begun) in enumerate(
            zip(_unpack(frame), header["wall_s"], keys, started, strict=False)
        )
    ]


def _pack(header: dict[str, Any], indexes: list[int], values: Sequence[Pickled]) -> Frame:
    first, last = (indexes[0], indexes[-1]) if indexes else (0, -1)
    contiguous = last - first + 1 == len(indexes) and indexes == list(range(first, last + 1))
    outside = [[place, len(value.outside)] for place, value in enumerate(values) if value.outside]
    whole = {
        "indexes": [first, last + 1] if contiguous else None,
        "each": None if contiguous else indexes,
        "lengths": [len(value.data) for value in values],
        "outside": outside,
    }
    buffers: list[Buffer] = [b"".join(value.data for value in values)]
    buffers += itertools.chain.from_iterable(value.outside for value in values)
    return Frame(header | whole, buffers)


def _unpack(frame: Frame) -> Iterable[tuple[int, Pickled]]:
    header = frame.header
    indexes = header["each"] if header["indexes"] is None else range(*header["indexes"])
    counts = dict(header["outside"])
    data, *rest = frame.buffers
    view = memoryview(data)
    begin = taken = 0
    for place, (index, length) in enumerate(zip(indexes, header["lengths"], strict=True)):
        count = counts.get(place, 0)
        yield index, Pickled(view[begin : begin + length], rest[taken : taken + count])
        begin, taken = begin + length, taken + count
