"""The packed form of finished points: written by the runner child, read by the driver.

A child writes into memory that it shares with its owner, so that what it finished survives its death at any
instant. The memory holds a header, an array of fixed-size records, and a heap of payloads:

    header   HEADER   what runs now, and how many records are complete
    records  RECORD   one a point, in the order they ended
    heap     bytes    each record's payload: its metrics, or its error as JSON

Several such segments, one for each child that worked on a bundle, make a `Packet`: the single bytes object
that crosses the network. Numbers are little-endian; floats are IEEE doubles and cross bit for bit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

# Fields: when the running point began (time.monotonic), its index (-1: none runs), id, seed, heap bytes in
# use, complete records. The count comes last because fields are stored in order: a child killed between two
# stores then leaves one finished point uncounted (it runs again), never one counted that did not finish.
HEADER = struct.Struct("<dq8sIII")
# Fields: index, started (unix time), duration_s, id, seed, payload's offset and length, status, schema.
RECORD = struct.Struct("<qdd8sIIIBB")
# One byte that the owner writes and the child reads between two points: one of `Stop`.
STOP_AT = 40
# The process ids of the child's supervisor and of the child, behind the header's fields; 0 until it runs.
PIDS, PIDS_AT = struct.Struct("<II"), 56
HEADER_BYTES = 64
MAX_POINTS = 1 << 16  # records in one segment, and so points in one bundle
HEAP_START = HEADER_BYTES + MAX_POINTS * RECORD.size
SHARED_BYTES = 1 << 26  # of which only the pages that are written take memory
MAX_PAYLOAD_BYTES = 1 << 20
ROWS_SCHEMA = 254  # the payload is a JSON object and several rows: see `slot.tables`
TEXT_SCHEMA = 255  # the payload is a JSON object: some metric is text or null, or schemas ran out
IDLE = -1


class Status(IntEnum):
    """How an attempt at a point ended."""

    DONE = 0
    FAILED = 1


class Stop(IntEnum):
    """Whether a child is to begin another point."""

    NO = 0
    CUT = 1  # the bundle ends after the point in hand
    INTERRUPTED = 2  # likewise; the point in hand was told to stop, and has not failed when it does


class Record(NamedTuple):
    """One attempt at one point, as read back; times in seconds."""

    point_index: int
    started: float
    duration_s: float
    id: bytes
    seed: int
    offset: int
    length: int
    status: int
    schema: int


@dataclass(frozen=True, slots=True)
class Schema:
    """The metrics of a packed payload: eight bytes each, in this order."""

    names: tuple[str, ...]
    kinds: str  # struct codes, one a name: "d" float, "q" int, "?" bool (padded to eight bytes)

    @property
    def packer(self) -> struct.Struct:
        """The payload's layout."""
        return struct.Struct("<" + "".join(f"{kind}7x" if kind == "?" else kind for kind in self.kinds))

    def unpack(self, payload: bytes) -> dict[str, Any]:
        """The metrics in a payload."""
        return dict(zip(self.names, self.packer.unpack(payload), strict=True))


@dataclass(slots=True)
class Segment:
    """The part of a bundle that one child finished."""

    records: bytes
    heap: bytes
    schemas: dict[int, Schema]
    code: dict[str, str] = field(default_factory=dict)  # the source files that computed them: file -> digest

    def rows(self) -> Iterator[Record]:
        """Its records, in the order in which they ended."""
        return map(Record._make, RECORD.iter_unpack(self.records))

    def record(self, number: int) -> Record:
        """One of them."""
        return Record._make(RECORD.unpack_from(self.records, number * RECORD.size))

    def payload(self, record: Record) -> bytes:
        """A record's payload as it was written."""
        return self.heap[record.offset : record.offset + record.length]


@dataclass(slots=True)
class Packet:
    """All results of a bundle."""

    worker: str  # the slot that ran it
    wall_s: float = 0.0  # that the slot spent on it
    segments: list[Segment] = field(default_factory=list)
    losses: dict[int, int] = field(default_factory=dict)  # index -> times its process was taken away
    unfinished: list[int] = field(default_factory=list)  # indexes of points in hand when the machine had to leave
    outputs: dict[str, bytes] = field(
        default_factory=dict
    )  # point id -> what it printed: a packed sweepfleet.slot.output.Printed

    @property
    def attempts(self) -> int:
        """The number of attempts in it."""
        return sum(len(segment.records) for segment in self.segments) // RECORD.size

    def to_bytes(self) -> bytes:
        """The packet as one bytes object: a length, a JSON table of contents, then the parts end to end."""
        codes: list[dict[str, str]] = []  # a packet's segments mostly have the same
        for segment in self.segments:
            if segment.code not in codes:
                codes.append(segment.code)
        contents = {
            "worker": self.worker,
            "wall_s": self.wall_s,
            "losses": sorted(self.losses.items()),
            "unfinished": self.unfinished,
            "codes": codes,
            "outputs": [[id_, len(printed)] for id_, printed in self.outputs.items()],
            "segments": [
                {
                    "records": len(segment.records),
                    "heap": len(segment.heap),
                    "schemas": [[number, s.names, s.kinds] for number, s in segment.schemas.items()],
                    "code": codes.index(segment.code),
                }
                for segment in self.segments
            ],
        }
        head = json.dumps(contents).encode()
        parts: list[bytes] = [len(head).to_bytes(4, "little"), head]
        for segment in self.segments:
            parts += (segment.records, segment.heap)
        parts += self.outputs.values()
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet:
        """The packet that `to_bytes` wrote."""
        at = 4 + int.from_bytes(data[:4], "little")
        contents = json.loads(data[4:at])
        packet = cls(
            worker=contents["worker"],
            wall_s=contents["wall_s"],
            losses=dict(contents["losses"]),
            unfinished=contents["unfinished"],
        )
        for part in contents["segments"]:
            middle = at + part["records"]
            end = middle + part["heap"]
            schemas = {number: Schema(tuple(names), kinds) for number, names, kinds in part["schemas"]}
            code = contents["codes"][part["code"]]
            packet.segments.append(Segment(data[at:middle], data[middle:end], schemas, code))
            at = end
        for id_, size in contents["outputs"]:
            packet.outputs[id_] = data[at : at + size]
            at += size
        return packet


def error_payload(error_type: str, error: str) -> bytes:
    """A failed record's payload."""
    return json.dumps({"type": printable(error_type), "error": printable(error)}).encode()


def printable(text: str) -> str:
    """Text that every table and file can store: unpaired surrogates are escaped.

    They come with file names that are no UTF-8; JSON can carry them, SQLite, Parquet and CSV cannot.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def drop(spans: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Spans without their first `count` indexes."""
    rest = []
    for start, stop in spans:
        skipped = min(count, stop - start)
        count -= skipped
        if start + skipped < stop:
            rest.append((start + skipped, stop))
    return rest
