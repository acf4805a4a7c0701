"""A slot's runner: computes bundles in a child process, and outlives whatever a point does to it."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from grid.errors import UsageError
from worker.context import Context
from worker.drain import Budget
from worker.process import Child, Running
from worker.records import IDLE, RECORD, TEXT_SCHEMA, Packet, Segment, Status, drop, error_payload
from worker.source import RunnerClosedError, Source, from_outside, how, imported

POLL_S = 0.05  # how late a timeout, or growth past the memory limit, may be noticed
BUNDLE_LIMIT_S = 2.0  # after which a bundle comes back as it is: its points took longer than was thought
MAX_STRAYS = 3  # deaths between two points, one after the other and with nothing done, before we give up

MEMORY_LIMIT = "MemoryLimit"

Span = tuple[int, int]


class Cause(NamedTuple):
    """Why a point failed although its code returned no error."""

    error_type: str
    error: str


class Runner:
    """Computes bundles in a child process; one bundle at a time.

    A point that hangs, exits, crashes or outgrows its memory takes only the child with it: the runner keeps
    what the child had finished, records the culprit as failed, and goes on with the rest in a new child.
    """

    def __init__(
        self, context: Context, *, name: str, cores: Sequence[int] = (), source: Source | None = None
    ) -> None:
        """Return at once; `ready` has a child started. Call `close` in the end.

        Args:
            context: of the sweep.
            name: that its results carry.
            cores: that its points are tied to; without any, to none.
            source: of its children; None: one of its own.
        """
        self.context = context
        self.name = name
        self._cores = cores
        self._source = source or Source(context, cores=cores)
        self._owns = source is None
        self._child: Child | None = None
        self._ready = False
        self._closed = False
        self._busy, self._asking = threading.RLock(), threading.RLock()
        self._poll_s = POLL_S if context.timeout_s or context.memory_bytes else None

    def close(self) -> None:
        """End the child and everything that it started, now. A second time it does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._owns:
            self._source.close()
        if (child := self._child) is not None:
            child.kill()  # which ends a `run` that another thread is in
        with self._busy, self._asking:
            if self._child is not None:
                self._child.close()

    @property
    def child(self) -> Child:
        """The present child, asked for now if there is none. Raises UsageError where the target is refused."""
        if (child := self._child) is not None:
            return child
        with self._asking:  # and not `_busy`, which a bundle holds
            return self._child or self._start()

    def ready(self) -> None:
        """Wait until the child has imported the target. Raises UsageError when it cannot."""
        with self._busy:
            if not self._ready:
                imported(self.child, self._restart, self.context, closed=lambda: self._closed, word="ready")
                self._ready = True

    def _start(self) -> Child:
        child = self._source.child(cores=self._cores)
        if self._closed:  # meanwhile: nobody else knows of it
            child.close()
            raise RunnerClosedError
        self._child = child
        return child

    def _restart(self) -> Child:
        with self._asking:
            ended, self._child, self._ready = self._child, None, False
            if ended is not None:
                ended.close()
            return self._start()

    def run(self, spans: Sequence[Span], *, shuffle: int | None = None, limit_s: float | None = None) -> bytes:
        """Compute the points of all spans; never raises for a point's fault.

        Args:
            spans: half-open ranges of indexes at which there are points; of positions when `shuffle` is given.
            shuffle: key of the permutation that turns positions into indexes.
            limit_s: after which no other point is begun; None: BUNDLE_LIMIT_S.

        Returns:
            a `worker.records.Packet` as bytes: of all points, or of the first ones where they took longer than
            `limit_s`; of one at least.
        """
        with self._busy:
            return self._run(spans, shuffle, limit_s or BUNDLE_LIMIT_S).to_bytes()

    def _run(self, spans: Sequence[Span], shuffle: int | None, limit_s: float) -> Packet:
        packet = Packet(worker=self.name)
        budget = Budget()
        begin_s = time.perf_counter()
        rest = list(spans)
        strays = 0
        end_s = begin_s + limit_s
        while rest and (not packet.segments or time.perf_counter() < end_s):
            if self._closed:
                raise RunnerClosedError
            self.ready()
            child = self.child
            cause, culprit = self._attempt(child, _job(rest, shuffle, limit_s), budget)
            segment = child.collect(culprit or child.running())
            rest = drop(rest, len(segment.records) // RECORD.size)
            strays = 0 if segment.records or culprit is not None or cause is None else strays + 1
            if cause is not None and strays > MAX_STRAYS:
                raise RuntimeError(f"The runner child dies before it comes to a point. {cause.error}")
            if culprit is not None:
                if cause is None:  # killed from outside
                    packet.losses[culprit.point_index] = losses = packet.losses.get(culprit.point_index, 0) + 1
                    if losses > self.context.infra_retries:
                        cause = Cause("ProcessLost", f"Its process was killed from outside {losses} times.")
                if cause is not None:
                    _append_failure(segment, culprit, cause)
                    rest = drop(rest, 1)
            packet.outputs |= child.outputs(segment, culprit=culprit is not None and cause is not None)
            if segment.records:
                packet.segments.append(segment)
            if not self._ready and not self._closed:
                with contextlib.suppress(UsageError, RunnerClosedError):  # `ready` meets it again, and tells
                    self._restart()
        packet.wall_s = time.perf_counter() - begin_s
        return packet

    def _attempt(self, child: Child, job: str, budget: Budget) -> tuple[Cause | None, Running | None]:
        """Run until the job ends or the child does; `_ready` says afterwards whether it lives.

        Returns:
            why the child ended, and the point at which it did, if at any; without a cause it was killed from
            outside.
        """
        fresh = not child.used
        child.start(job, budget)
        while True:
            reply = child.reply(self._poll_s)
            if reply is None:
                suspect = child.running()
                fresh = fresh and not suspect.complete
                cause = self._overdrawn(child, suspect)
                if cause is None:
                    continue
                self._ready = False
                child.kill()
                child.drain()
                if cause.error_type == MEMORY_LIMIT and not fresh:
                    return None, None  # what earlier points left behind may be to blame: again, in a new child
                # What it finished since then does not count: the question where it hangs may have disturbed it.
                return cause, suspect
            if "ended" in reply:
                return None, None
            if "died" in reply:
                self._ready = False
                code = child.life.exit_code()
                culprit = child.running()
                # Between two points it may be a thread, or whatever else an earlier one left behind.
                return _cause(child, code), None if culprit.point_index == IDLE else culprit

    def _overdrawn(self, child: Child, running: Running) -> Cause | None:
        """Whether the running point has used up its time or its memory."""
        if running.point_index == IDLE:
            return None
        limit_s, limit_bytes = self.context.timeout_s, self.context.memory_bytes
        if limit_s is not None and time.monotonic() - running.since_s > limit_s:
            where = child.tell_where() if self.context.target.run else ""
            return Cause("Timeout", f"Took longer than its timeout of {limit_s:g} s.\n{where}".rstrip())
        if limit_bytes is not None:
            usage = child.memory(limit_bytes)
            if usage.used > limit_bytes:
                return Cause(
                    MEMORY_LIMIT,
                    f"Used {usage}, more than its resources.memory of {limit_bytes / 1e6:,.0f} MB.",
                )
        return None


def _job(spans: Sequence[Span], shuffle: int | None, limit_s: float) -> str:
    return json.dumps({"spans": spans, "shuffle": shuffle, "limit_s": limit_s})


def _cause(child: Child, code: int | None) -> Cause | None:
    """What a child's exit code says of the point that ran; None when it was killed from outside."""
    if code is None:
        return Cause("ProcessExit", f"It closed files that are not its own.\n{child.log_tail()}".rstrip())
    if from_outside(code):
        if -code == signal.SIGKILL and child.life.killed_for_memory():
            return Cause("OutOfMemory", "The kernel killed its process: the machine's memory was used up.")
        return None
    return Cause(
        "Crash" if code < 0 else "ProcessExit",
        f"Its process {how(code)}.\n{child.log_tail()}".rstrip(),
    )


def _append_failure(segment: Segment, culprit: Running, cause: Cause) -> None:
    """Add the culprit's record to what the child left."""
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
