"""A slot's runner: computes bundles in a child process, and survives whatever a point does to that."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.slot.cause import MEMORY_LIMIT, Cause, append_failure, cause_of
from sweepfleet.slot.context import Context
from sweepfleet.slot.drain import Budget
from sweepfleet.slot.leaving import interrupt
from sweepfleet.slot.process import Child, Running
from sweepfleet.slot.records import IDLE, RECORD, Packet, Stop, drop
from sweepfleet.slot.source import RunnerClosedError, Source, imported

MEMORY_POLL_S = 0.05  # how late growth past the memory limit may be noticed
TIMEOUT_POLL_S = 0.005  # and a timeout
# A child that is told its next job may have to wait for its core until the thread that told it sleeps.
YIELD_S = 0.0005
BUNDLE_LIMIT_S = 2.0  # after which a bundle comes back as it is: its points took longer than was thought
MAX_STRAYS = 3  # deaths between two points, one after the other and with nothing done, before we give up


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Job:
    """A bundle's points."""

    spans: Sequence[Span]  # half-open ranges of indexes at which there are points; of positions with `shuffle`
    shuffle: int | None = None  # key of the permutation that turns positions into indexes
    limit_s: float | None = None  # after which no other point is begun; None: BUNDLE_LIMIT_S

    @property
    def within_s(self) -> float:
        """The limit that is enforced, in seconds."""
        return self.limit_s or BUNDLE_LIMIT_S

    def line(self, spans: Sequence[Span]) -> str:
        """The line that tells a child to compute these of its points."""
        return json.dumps({"spans": spans, "shuffle": self.shuffle, "limit_s": self.within_s})


class _Going(NamedTuple):
    """A job that a child has, or gets next."""

    budget: Budget
    begin_s: float

    @classmethod
    def now(cls) -> _Going:
        return cls(Budget(), time.perf_counter())


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
        self._going: _Going | None = None  # begun by the job before it
        self.takes_checkpoint = False  # whether its target does; known when it is ready
        self._stop = Stop.NO  # of its present child and of those to come

    def stop(self, how: Stop) -> None:
        """Begin no other point; `run` returns soon, with those that have ended. What is given then has no results."""
        self._stop = how
        if (child := self._child) is not None:
            child.stop(how)

    def interrupt(self) -> None:
        """Tell the point in hand to stop, if it handles SIGTERM; one that fails from now on comes back unfinished."""
        self.stop(Stop.INTERRUPTED)
        if (child := self._child) is not None and child.running().point_index != IDLE:
            interrupt(child.pid, command=self.context.target.run is None)

    @property
    def running(self) -> str | None:
        """The id of the point that runs now, if there is one."""
        with contextlib.suppress(ValueError):  # the child was closed meanwhile
            if (child := self._child) is not None and (now := child.running()).point_index != IDLE:
                return now.id.hex()
        return None

    def drop_point(self) -> None:
        """End the point in hand, if there is one; after `stop`."""
        if (child := self._child) is not None and child.running().point_index != IDLE:
            child.kill()

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
        """The current child, started now if there is none. Raises UsageError where the target is refused."""
        if (child := self._child) is not None:
            return child
        with self._asking:  # and not `_busy`, which a bundle has locked
            return self._child or self._start()

    def ready(self) -> None:
        """Wait until the child has imported the target. Raises UsageError when it cannot."""
        with self._busy:
            if not self._ready:
                _, said = imported(self.child, self._restart, self.context, closed=lambda: self._closed, word="ready")
                self.takes_checkpoint = said["checkpoints"]
                self._ready = True

    def _start(self) -> Child:
        child = self._source.child(cores=self._cores)
        if self._closed:  # meanwhile: nobody else knows of it
            child.close()
            raise RunnerClosedError
        self._child = child
        child.stop(self._stop)
        return child

    def _restart(self) -> Child:
        with self._asking:
            ended, self._child, self._ready = self._child, None, False
            if ended is not None:
                ended.close()
            return self._start()

    def run(self, spans: Sequence[Span], *, shuffle: int | None = None, limit_s: float | None = None) -> bytes:
        """Compute the points of all spans; see `compute` and `Job`."""
        return self.compute(Job(spans, shuffle, limit_s))

    def compute(self, job: Job, next_job: Callable[[], Job | None] = lambda: None) -> bytes:
        """Compute a job's points; never raises for a point's fault.

        Args:
            job: one of its own, or the one that `next_job` gave to the call before: that has begun.
            next_job: asked for the job to begin while this one's results are packed: the child has no time to lose.

        Returns:
            a `slot.records.Packet` as bytes: of all points, or of the first ones where they took longer than the
            job's limit; of one at least, except after `stop`.
        """
        with self._busy:
            packet = self._compute(job, next_job)
        return packet.to_bytes()

    def _compute(self, job: Job, next_job: Callable[[], Job | None]) -> Packet:
        packet = Packet(worker=self.name)
        begun, self._going = self._going, None
        going = begun or _Going.now()
        rest = list(job.spans)
        strays = 0
        end_s = going.begin_s + job.within_s
        over = bool(self._stop) and begun is None
        while not over:
            if self._closed:
                raise RunnerClosedError
            self.ready()
            child = self.child
            cause, culprit, unfinished = self._attempt(child, None if begun else job.line(rest), going.budget)
            begun = None
            if self._stop is Stop.INTERRUPTED or (self._stop and cause is None):
                unfinished = culprit.point_index if culprit is not None else unfinished
                cause = None
            if unfinished is not None:
                packet.unfinished.append(unfinished)
            segment = child.collect(culprit or child.running())
            rest = drop(rest, len(segment.records) // RECORD.size)
            strays = 0 if segment.records or culprit is not None or cause is None else strays + 1
            if cause is not None and strays > MAX_STRAYS:
                raise RuntimeError(f"The process that runs points dies before it reaches a point. {cause.error}")
            if culprit is not None and unfinished is None:
                if cause is None:  # killed from outside
                    packet.losses[culprit.point_index] = losses = packet.losses.get(culprit.point_index, 0) + 1
                    if losses > self.context.infra_retries:
                        cause = Cause(
                            "ProcessLost", f"Its process was killed from outside {counted(losses, 'time')}."
                        )
                if cause is not None:
                    append_failure(segment, culprit, cause)
                    rest = drop(rest, 1)
            packet.outputs |= child.outputs(segment, culprit=culprit is not None and cause is not None)
            if segment.records:
                packet.segments.append(segment)
            over = not rest or bool(self._stop) or (bool(packet.segments) and time.perf_counter() >= end_s)
            if self._ready:
                self._begin(child, next_job() if over and not self._stop else None)
            elif not (self._closed or self._stop):
                with contextlib.suppress(UsageError, RunnerClosedError):  # `ready` raises it again
                    self._restart()
        packet.wall_s = time.perf_counter() - going.begin_s
        return packet

    def _begin(self, child: Child, job: Job | None) -> None:
        """Have an idle child begin the job of the next `compute`."""
        if job is not None:
            going = _Going.now()
            child.start(job.line(job.spans), going.budget)
            self._going = going
            time.sleep(YIELD_S)

    def _attempt(
        self, child: Child, line: str | None, budget: Budget
    ) -> tuple[Cause | None, Running | None, int | None]:
        """Run until the job ends or the child does; `_ready` says afterwards whether it lives.

        Args:
            child: that runs it.
            line: that tells the child; None: it has been told.
            budget: how much of what its points print may come back.

        Returns:
            why the child ended, and the point at which it did, if at any; without a cause it was killed from
            outside. And the index of a point that ended because it was interrupted.
        """
        child.life.begin_job()
        if line is not None:
            child.start(line, budget)
        fresh = not child.used
        while True:
            reply = child.reply(self._patience_s(child))
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
                    return None, None, None  # what earlier points left behind may be to blame: in a new child
                # What it finished since then does not count: the question where it hangs may have disturbed it.
                return cause, suspect, None
            if "ended" in reply:
                return None, None, reply["unfinished"]
            if "died" in reply:
                self._ready = False
                code = child.life.exit_code()
                culprit = child.running()
                # Between two points it may be a thread, or whatever else an earlier one left behind.
                return cause_of(child, code), None if culprit.point_index == IDLE else culprit, None

    def _patience_s(self, child: Child) -> float | None:
        """How long to wait before a running child is checked again."""
        if self.context.memory_bytes is not None:
            return MEMORY_POLL_S
        limit_s = self.context.timeout_s
        if limit_s is None:
            return None
        running = child.running()
        spent_s = 0.0 if running.point_index == IDLE else time.monotonic() - running.since_s
        return max(TIMEOUT_POLL_S, limit_s - spent_s)

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
