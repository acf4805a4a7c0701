"""The writing side of `slot.records`, in the runner child."""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
import traceback
from collections.abc import Callable
from enum import Enum
from typing import Any

from sweepfleet.grid.space import Point
from sweepfleet.slot.records import (
    HEADER,
    HEADER_BYTES,
    HEAP_START,
    IDLE,
    MAX_PAYLOAD_BYTES,
    MAX_POINTS,
    RECORD,
    ROWS_SCHEMA,
    SHARED_BYTES,
    TEXT_SCHEMA,
    Schema,
    Status,
    error_payload,
)
from sweepfleet.slot.tables import MAX_ROWS_BYTES, packed, split
from sweepfleet.slot.values import BadResultError, as_map, metrics, name_of

ERROR_CHARS = 8000
MAX_NAME_CHARS = 200  # of an exception's type
_NO_ID = bytes(8)
# As plain numbers: an enum's members are looked up by a function of Python's, at every point.
_DONE, _FAILED = int(Status.DONE), int(Status.FAILED)
_MOST_BYTES = MAX_ROWS_BYTES + 3 * MAX_PAYLOAD_BYTES  # of one point's payload, and some room
_FULL_HEAP = SHARED_BYTES - HEAP_START - _MOST_BYTES
_PACKAGE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - as code objects write it
_ASYNCIO = os.path.join(os.path.dirname(os.__file__), "asyncio", "")  # noqa: PTH118, PTH120 - by which we call `async def`
_OURS = (os.path.join(_PACKAGE, ""), _ASYNCIO)  # noqa: PTH118


class Writer:
    """Writes finished points into shared memory; `announce` first sends each new schema to the owner."""

    def __init__(self, memory: mmap.mmap, *, metric: str, announce: Callable[[int, Schema], None]) -> None:
        self._memory = memory
        self._metric = metric
        self._announce = announce
        self._schemas: dict[tuple[Any, ...], tuple[int, Callable[..., bytes]]] = {}
        self.forked = False  # whether this process is a copy, made by a point's fork: it must write nothing
        self.restart()

    def restart(self) -> None:
        """Forget what the owner has read."""
        self._count = 0
        self._heap = 0
        self.full = False  # whether another point might not fit
        self.idle()

    def idle(self) -> None:
        """Commit the last record, and mark that no point runs."""
        self._memory[: HEADER.size] = HEADER.pack(0.0, IDLE, _NO_ID, 0, self._heap, self._count)

    def begin(self, point: Point, raw_id: bytes) -> None:
        """Commit the last record, and mark the point that runs now; its timeout starts here."""
        # One store rather than `pack_into`, which writes zeros first: the owner may look at any instant.
        self._memory[: HEADER.size] = HEADER.pack(
            time.monotonic(), point.index, raw_id, point.seed, self._heap, self._count
        )

    def done(self, point: Point, raw_id: bytes, value: Any, *, started: float, duration_s: float) -> None:
        """Write a point's metrics. Raises BadResultError when `value` is not a result."""
        schema, payload = self._pack(value)
        self._write(point, raw_id, payload, started, duration_s, _DONE, schema)

    def failed(self, point: Point, raw_id: bytes, error: BaseException, *, started: float, duration_s: float) -> None:
        """Write a point's error and the part of its traceback that is the user's own."""
        payload = error_payload(type(error).__name__[:MAX_NAME_CHARS], describe(error))
        self._write(point, raw_id, payload, started, duration_s, _FAILED, TEXT_SCHEMA)

    def _write(
        self,
        point: Point,
        raw_id: bytes,
        payload: bytes,
        started: float,
        duration_s: float,
        status: int,
        schema: int,
    ) -> None:
        heap, size = self._heap, len(payload)
        self._memory[HEAP_START + heap : HEAP_START + heap + size] = payload
        at = HEADER_BYTES + self._count * RECORD.size
        RECORD.pack_into(
            self._memory, at, point.index, started, duration_s, raw_id, point.seed, heap, size, status, schema
        )
        self._heap = heap + size
        self._count += 1
        self.full = self._count == MAX_POINTS or self._heap > _FULL_HEAP

    def _pack(self, value: Any) -> tuple[int, bytes]:
        kind = value.__class__
        if kind is float or kind is int:
            if (known := self._schemas.get((self._metric, kind))) is not None:  # most points, with no more steps
                try:
                    return known[0], known[1](value)
                except struct.error:  # an int past 64 bits
                    pass
            value = {self._metric: value}
        elif kind is not dict:
            value, rows = split(value)
            value = as_map(value, metric=self._metric)
            if rows is not None:
                return ROWS_SCHEMA, packed(_as_json(value), rows)
        items = value.values()
        key = (*value, *map(type, items))
        known = self._schemas.get(key)
        if known is None:
            known = self._learn(key, value)
        schema, pack = known
        try:
            return schema, pack(*items)
        except Exception:  # noqa: BLE001 - an int past 64 bits, text that JSON cannot represent: the slow way says which
            return TEXT_SCHEMA, _as_json(value)

    def _learn(self, key: tuple[Any, ...], value: dict[Any, Any]) -> tuple[int, Callable[..., bytes]]:
        """Choose how results of this shape are packed, and announce it when it is new."""
        keys = tuple(value)
        metrics(value)  # refuses what has no form, and says why
        kinds = "".join(_kind(item) for item in value.values())
        number = len(self._schemas)
        if len(kinds) != len(keys) or number >= ROWS_SCHEMA:

            def as_text(*values: Any) -> bytes:
                return _as_json(dict(zip(keys, values, strict=True)))

            known = (TEXT_SCHEMA, as_text)
            if number < ROWS_SCHEMA:  # names that are different for every point would fill the memory
                self._schemas[key] = known
        else:
            schema = Schema(tuple(map(name_of, keys)), kinds)
            self._announce(number, schema)
            self._schemas[key] = known = (number, schema.packer.pack)
        return known


def metrics_of(value: Any, *, metric: str) -> dict[str, Any]:
    """The metrics of a target's result, as JSON values. Raises BadResultError."""
    value, rows = split(value)
    data = _as_json(as_map(value, metric=metric))
    if rows is not None:
        packed(data, rows)  # refuses too many
    found: dict[str, Any] = json.loads(data)
    return found


def _kind(value: Any) -> str:
    """The struct code that every value of this type fits, or nothing."""
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ not in ("ndarray", "datetime64", "timedelta64"):
        value = value.item()
    elif isinstance(value, Enum):
        return ""  # its value may be of any type
    if isinstance(value, bool):
        return "?"
    return "q" if isinstance(value, int) else "d" if isinstance(value, float) else ""


def _as_json(value: dict[Any, Any]) -> bytes:
    data = json.dumps(metrics(value)).encode()
    if len(data) > MAX_PAYLOAD_BYTES:
        raise BadResultError(
            f"returned {len(data):,} bytes of metrics; the limit is {MAX_PAYLOAD_BYTES:,}. "
            "Write anything larger into artifact_dir."
        )
    return data


def describe(error: BaseException) -> str:
    """The traceback from the user's first frame on, shortened in the middle if it is very long."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    if frames is None:
        text = f"{type(error).__name__}: {error}"
    else:
        text = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
    if len(text) > ERROR_CHARS:
        half = ERROR_CHARS // 2
        text = f"{text[:half]}\n... {len(text) - ERROR_CHARS:,} characters dropped ...\n{text[-half:]}"
    return text
