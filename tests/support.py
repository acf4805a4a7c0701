"""Plans, contexts and packets built by hand, so that a test says only what it is about."""

from __future__ import annotations

import itertools
import json
import mmap
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from sweepfleet.grid.plan import Block, Dimension, Plan
from sweepfleet.grid.space import Point, Space
from sweepfleet.grid.sweep import Target
from sweepfleet.run.rows import rows_of
from sweepfleet.slot.context import Context
from sweepfleet.slot.records import (
    HEADER,
    HEADER_BYTES,
    HEAP_START,
    RECORD,
    ROWS_SCHEMA,
    SHARED_BYTES,
    TEXT_SCHEMA,
    Packet,
    Schema,
    Segment,
    Status,
    drop,
)
from sweepfleet.slot.runner import Runner
from sweepfleet.slot.tables import unpacked
from sweepfleet.slot.writer import Writer

DEADLINE_S = 120  # for a broken program to give up, not a measure of a good one


def dimension(name: str, values: Iterable[Any], *, when: str | None = None) -> Dimension:
    return Dimension((name,), tuple((value,) for value in values), when=when)


def grid(
    parameters: Mapping[str, Iterable[Any]] | None = None,
    *,
    target: str = "fit:fit",
    seed: int = 42,
    replicates: int = 1,
    **rules: Any,
) -> Plan:
    """A plan of one product block."""
    dimensions = tuple(dimension(name, values) for name, values in (parameters or {}).items())
    return Plan(target, seed, replicates, (Block("grid", dimensions, **rules),))


def space(parameters: Mapping[str, Iterable[Any]] | None = None, **rest: Any) -> Space:
    return Space(grid(parameters, **rest))


# A point notes in the target's folder that it has begun, and ends once there is a file `go`.
GATED = """
import pathlib, time

def fit(a):
    here = pathlib.Path(__file__).parent
    (here / f"began-{a}").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
    return a * 1.0
"""


def context(
    folder: Path,
    code: str,
    plan: Plan | None = None,
    *,
    target: Target | None = None,
    **limits: Any,
) -> Context:
    """A context whose target is `fit:fit` of a module with this code, in `folder`."""
    (folder / "fit.py").write_text(textwrap.dedent(code))
    return Context(
        plan_json=(plan or grid({"a": range(10)})).to_json(),
        target=target or Target(run="fit:fit"),
        folder=str(folder),
        root=str(folder),
        metric="value",
        **limits,
    )


class Memory:
    """Shared memory with a writer, as a runner child has it, in this process."""

    def __init__(self, *, metric: str = "value") -> None:
        self.mapped = mmap.mmap(-1, SHARED_BYTES)
        self.schemas: dict[int, Schema] = {}
        self.writer = Writer(self.mapped, metric=metric, announce=self.schemas.__setitem__)

    def close(self) -> None:
        self.mapped.close()


def written(outcomes: Sequence[tuple[Point, Any]], *, started: float = 1.7e9, duration_s: float = 0.5) -> Segment:
    """A segment in which each point returned its value, or raised it when it is an exception."""
    memory = Memory()
    try:
        for point, outcome in outcomes:
            raw_id = bytes.fromhex(point.id)
            memory.writer.begin(point, raw_id)
            if isinstance(outcome, BaseException):
                memory.writer.failed(point, raw_id, outcome, started=started, duration_s=duration_s)
            else:
                memory.writer.done(point, raw_id, outcome, started=started, duration_s=duration_s)
        memory.writer.idle()
        *_, heap, complete = HEADER.unpack_from(memory.mapped)
        return Segment(
            records=memory.mapped[HEADER_BYTES : HEADER_BYTES + complete * RECORD.size],
            heap=memory.mapped[HEAP_START : HEAP_START + heap],
            schemas=memory.schemas,
        )
    finally:
        memory.close()


def outcomes_of(packet: Packet) -> list[tuple[int, Any]]:
    """Every record of a packet: its point's index, and its metrics or (error type, error)."""
    found = []
    for segment in packet.segments:
        for record in segment.rows():
            payload = segment.payload(record)
            if record.status == Status.FAILED:
                said = json.loads(payload)
                found.append((record.point_index, (said["type"], said["error"])))
            elif record.schema == ROWS_SCHEMA:
                found.append((record.point_index, json.loads(unpacked(payload)[0])))
            elif record.schema == TEXT_SCHEMA:
                found.append((record.point_index, json.loads(payload)))
            else:
                found.append((record.point_index, segment.schemas[record.schema].unpack(payload)))
    return found


def everything(runner: Runner) -> Packet:
    """All that comes of a sweep's points; a runner gives back what it had no time for, and is asked again."""
    whole, rest = Packet(runner.name), [(0, Space(runner.context.plan).size)]
    while rest:
        packet = Packet.from_bytes(runner.run(rest))
        rest = drop(rest, packet.attempts)
        whole.segments += packet.segments
        whole.losses |= packet.losses
    return whole


def batches(
    outcomes: Sequence[tuple[Point, Any]],
    *,
    worker: str = "host/0",
    attempts: Mapping[int, int] | None = None,
    losses: Mapping[int, int] | None = None,
    again: Iterable[int] = (),
    code: Mapping[str, str] | None = None,
    **times: float,
) -> list[Any]:
    """What `Ledger.record` takes, for one segment with these outcomes."""
    segment = written(outcomes, **times)
    segment.code = dict(code or {})
    packet = Packet(worker, segments=[segment])
    return [(rows, attempts or {}, losses or {}, set(again)) for rows in rows_of(packet)]


def brute_force(parameters: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """The product's points, written out."""
    values = [list(each) for each in parameters.values()]
    return [dict(zip(parameters, row, strict=True)) for row in itertools.product(*values)]


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition` holds."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
