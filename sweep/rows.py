"""A packet as columns: what the driver counts and the ledger writes, without a Python loop a point."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.records import RECORD, TEXT_SCHEMA, Packet, Schema, Segment, Status

# worker.records.RECORD, field by field.
RECORD_TYPE = np.dtype(
    [
        ("index", "<i8"),
        ("started", "<f8"),
        ("duration_s", "<f8"),
        ("id", "V8"),
        ("seed", "<u4"),
        ("offset", "<u4"),
        ("length", "<u4"),
        ("status", "u1"),
        ("schema", "u1"),
    ]
)
assert RECORD_TYPE.itemsize == RECORD.size  # noqa: S101 - two spellings of one layout


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt."""

    index: int
    error_type: str
    error: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The attempts of one segment, in columns of equal length."""

    worker: str
    table: np.ndarray[Any, np.dtype[np.void]]  # of RECORD_TYPE
    heap: bytes
    schemas: dict[int, Schema]
    code: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def busy_s(self) -> float:
        """The time that these attempts took, added up."""
        return float(self.table["duration_s"].sum())

    def ids(self) -> list[str]:
        """Point ids as 16 hex digits each."""
        text = self.table["id"].tobytes().hex()
        return [text[at : at + 16] for at in range(0, len(text), 16)]

    def payloads(self) -> list[bytes]:
        """The payloads as written."""
        heap = self.heap
        offsets, lengths = self.table["offset"].tolist(), self.table["length"].tolist()
        return [heap[at : at + size] for at, size in zip(offsets, lengths, strict=True)]

    def failures(self) -> Iterator[tuple[int, Failure]]:
        """The failed attempts, each with its place among the rows."""
        for place in np.flatnonzero(self.table["status"] == Status.FAILED).tolist():
            row = self.table[place]
            at = int(row["offset"])
            said = json.loads(self.heap[at : at + int(row["length"])])
            yield place, Failure(int(row["index"]), said["type"], said["error"])

    def best(self, metric: str, *, sign: float) -> tuple[float, int] | None:
        """The lowest finite `sign * metric` and the index of its point; None when no row has one."""
        best: tuple[float, int] | None = None
        done = self.table[self.table["status"] == Status.DONE]
        for number in np.unique(done["schema"]).tolist():
            of_schema = done[done["schema"] == number]
            values = self._values(of_schema, number, metric)
            if values is None:
                continue
            values = np.where(np.isfinite(values), values * sign, np.inf)
            place = int(values.argmin())
            if np.isfinite(values[place]) and (best is None or values[place] < best[0]):
                best = float(values[place]), int(of_schema[place]["index"])
        return best

    def _values(self, table: Any, number: int, metric: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        if number == TEXT_SCHEMA:
            found = []
            for row in table:
                at = int(row["offset"])
                value = json.loads(self.heap[at : at + int(row["length"])]).get(metric)
                found.append(_as_float(value))
            return np.array(found)
        schema = self.schemas[number]
        if metric not in schema.names:
            return None
        column = schema.names.index(metric)
        kind = schema.kinds[column]
        at = table["offset"].astype(np.int64)[:, None] + (8 * column + np.arange(8))
        cells = np.frombuffer(self.heap, np.uint8)[at]
        if kind == "?":
            flags: np.ndarray[Any, Any] = cells[:, 0]
            return flags.astype(np.float64)
        numbers: np.ndarray[Any, Any] = np.ascontiguousarray(cells).view("<f8" if kind == "d" else "<i8")
        return numbers[:, 0].astype(np.float64)


def rows_of(packet: Packet) -> Iterator[Rows]:
    """The packet's segments as columns."""
    for segment in packet.segments:
        yield Rows(packet.worker, _table(segment), segment.heap, segment.schemas, segment.code)


def _table(segment: Segment) -> np.ndarray[Any, np.dtype[np.void]]:
    return np.frombuffer(segment.records, RECORD_TYPE)


def _as_float(value: Any) -> float:
    if not isinstance(value, int | float):
        return np.nan
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return np.inf if value > 0 else -np.inf
