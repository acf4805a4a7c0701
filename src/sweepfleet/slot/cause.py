"""Why a point's process died, and the row that says so."""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

from sweepfleet.slot.process import Child, Running
from sweepfleet.slot.records import RECORD, TEXT_SCHEMA, Segment, Status, error_payload
from sweepfleet.slot.source import from_outside, how

MEMORY_LIMIT = "MemoryLimit"


class Cause(NamedTuple):
    """Why a point failed although its code returned no error."""

    error_type: str
    error: str


def cause_of(child: Child, code: int | None) -> Cause | None:
    """The failure that a child's exit code means for the point that ran; None when it was killed from outside."""
    if code is None:
        return Cause("ProcessExit", f"It closed files of the process that runs it.\n{child.log_tail()}".rstrip())
    if from_outside(code):
        if -code == signal.SIGKILL and child.life.killed_for_memory():
            return Cause("OutOfMemory", "The kernel killed its process: the machine ran out of memory.")
        return None
    return Cause(
        "Crash" if code < 0 else "ProcessExit",
        f"Its process {how(code)}.\n{child.log_tail()}".rstrip(),
    )


def append_failure(segment: Segment, culprit: Running, cause: Cause) -> None:
    """Add the culprit's record to the child's records."""
    payload = error_payload(cause.error_type, cause.error)
    duration_s = time.monotonic() - culprit.since_s
    segment.records += RECORD.pack(
        culprit.point_index,
        time.time() - duration_s,
        duration_s,
        culprit.id,
        culprit.seed,
        len(segment.heap),
        len(payload),
        Status.FAILED,
        TEXT_SCHEMA,
    )
    segment.heap += payload
