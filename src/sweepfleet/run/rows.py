"""A packet as columns, for the driver and the ledger, without a Python loop over points."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweepfleet.slot.records import RECORD, ROWS_SCHEMA, TEXT_SCHEMA, Packet, Schema, Segment, Status
from sweepfleet.slot.tables import unpacked

# sweepfleet.slot.records.RECORD, field by field.
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
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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

    @property
    def finished(self) -> int:
        """How many of them did not fail."""
        return int(np.count_nonzero(self.table["status"] == Status.DONE))

    def ids(self) -> list[str]:
        """Point ids as 16 hex digits each."""
        text = self.table["id"].tobytes().hex()
        return [text[at : at + 16] for at in range(0, len(text), 16)]

    def payloads(self) -> list[bytes]:
        """The payloads as written, without the several rows that a point may have returned."""
        heap = self.heap
        offsets, lengths = self.table["offset"].tolist(), self.table["length"].tolist()
        found = [heap[at : at + size] for at, size in zip(offsets, lengths, strict=True)]
        for place in self._with_tables():
            found[place] = unpacked(found[place])[0]
        return found

    def tables(self) -> dict[int, bytes]:
        """The row tables of points, compressed, by position."""
        offsets, lengths = self.table["offset"], self.table["length"]
        return {
            place: unpacked(self.heap[int(offsets[place]) : int(offsets[place]) + int(lengths[place])])[1]
            for place in self._with_tables()
        }

    def _with_tables(self) -> list[int]:
        found: list[int] = np.flatnonzero(self.table["schema"] == ROWS_SCHEMA).tolist()
        return found

    def failures(self) -> Iterator[tuple[int, Failure]]:
        """The failed attempts, each with its place among the rows."""
        for place in np.flatnonzero(self.table["status"] == Status.FAILED).tolist():
            row = self.table[place]
            at = int(row["offset"])
            said = json.loads(self.heap[at : at + int(row["length"])])
            yield place, Failure(int(row["index"]), said["type"], said["error"])

    def measured(self, metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The metric of each row; NaN where it has none or no number, as failed ones do."""
        found = np.full(len(self.table), np.nan)
        finished = self.table["status"] == Status.DONE
        for number in np.unique(self.table["schema"][finished]).tolist():
            places = np.flatnonzero(finished & (self.table["schema"] == number))
            values = self._values(self.table[places], number, metric)
            if values is not None:
                found[places] = values
        return found

    def returned(self) -> dict[str, None]:
        """The names of all metrics that finished rows have."""
        done = self.table[self.table["status"] == Status.DONE]
        names: dict[str, None] = {}
        for number in np.unique(done["schema"]).tolist():
            if number not in (TEXT_SCHEMA, ROWS_SCHEMA):
                names |= dict.fromkeys(self.schemas[number].names)
                continue
            for row in done[done["schema"] == number]:
                names |= dict.fromkeys(self._said(row))
        return names

    def _said(self, row: Any) -> dict[str, Any]:
        """The metrics of a row that has them as JSON."""
        at = int(row["offset"])
        payload = self.heap[at : at + int(row["length"])]
        found: dict[str, Any] = json.loads(unpacked(payload)[0] if row["schema"] == ROWS_SCHEMA else payload)
        return found

    def _values(self, table: Any, number: int, metric: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        if number in (TEXT_SCHEMA, ROWS_SCHEMA):
            return np.array([as_number(self._said(row).get(metric)) for row in table])
        schema = self.schemas[number]
        if metric not in schema.names:
            return None
        place = schema.names.index(metric)
        at = table["offset"].astype(np.int64)[:, None] + (8 * place + np.arange(8))
        return _numbers(np.frombuffer(self.heap, np.uint8)[at], schema.kinds[place])


def column(schema: Schema, metric: str, payloads: bytes) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """A metric of concatenated payloads; None where the schema does not have it."""
    if metric not in schema.names:
        return None
    place = schema.names.index(metric)
    cells = np.frombuffer(payloads, np.uint8).reshape(-1, 8 * len(schema.names))
    return _numbers(cells[:, 8 * place : 8 * place + 8], schema.kinds[place])


def _numbers(cells: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers from the eight bytes of each."""
    if kind == "?":
        flags: np.ndarray[Any, Any] = cells[:, 0]
        return flags.astype(np.float64)
    numbers: np.ndarray[Any, Any] = np.ascontiguousarray(cells).view("<f8" if kind == "d" else "<i8")
    return numbers[:, 0].astype(np.float64)


def as_number(value: Any) -> float:
    """A metric's value as a float, also when it is text that is a number or a boolean, as in the tables; else NaN."""
    if value in ("true", "false"):
        return float(value == "true")
    if isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value)):
        with contextlib.suppress(OverflowError):
            return float(value)
    return math.nan


def rows_of(packet: Packet) -> Iterator[Rows]:
    """The packet's segments as columns."""
    for segment in packet.segments:
        yield Rows(packet.worker, _table(segment), segment.heap, segment.schemas, segment.code)


def _table(segment: Segment) -> np.ndarray[Any, np.dtype[np.void]]:
    return np.frombuffer(segment.records, RECORD_TYPE)
