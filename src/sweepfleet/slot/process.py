"""A child process: starts it, talks to it, watches and kills it. The runner decides what its end means."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweepfleet.slot.context import Context
from sweepfleet.slot.cores import environment
from sweepfleet.slot.drain import Budget, Log
from sweepfleet.slot.life import Life
from sweepfleet.slot.memory import Meter, Usage
from sweepfleet.slot.records import (
    HEADER,
    HEADER_BYTES,
    HEAP_START,
    IDLE,
    PIDS,
    PIDS_AT,
    RECORD,
    SHARED_BYTES,
    STOP_AT,
    Schema,
    Segment,
    Stop,
)

STARTS_S = 0.005  # between two looks whether a child has started
TRACE_S = 0.2  # for a hanging child to write where it hangs
_HERE = re.escape(str(Path(__file__).parent))
_OUR_FRAME = re.compile(rf'  File "(<frozen runpy>|{_HERE}/\w+\.py)", line \d+ in ')


class Running(NamedTuple):
    """The child's header: the point that runs now, and the number of finished ones."""

    since_s: float  # time.monotonic() when it began
    point_index: int  # sweepfleet.slot.records.IDLE when no point runs
    id: bytes
    seed: int
    heap: int
    complete: int


class Child:
    """A runner child with its pipes and its shared memory; `slot.drain` reads what it prints.

    `Child()` begins a process of its own, and `order` tells it what to import. `lead` makes it a template, of which
    `Child(template)` is a fork. `serve` has a child compute points.
    """

    def __init__(
        self, template: Child | None = None, *, cpus: int = 1, serves: tuple[Context, Sequence[int]] | None = None
    ) -> None:
        """Start a process, which waits to be told what it is for.

        Args:
            template: that it is a fork of; None: it is a new process.
            cpus: cores of a point, for the environment of a new process.
            serves: what `serve` will be given, if that is known: a fork then finds its order there.

        Raises:
            OSError: it cannot be started. BrokenPipeError: the template has ended.
        """
        self.cpus: int = template.cpus if template else cpus
        self.schemas: dict[int, Schema] = {}
        self.code: dict[str, str] = {}  # the source files that it has said to compute with
        self.refusal: str | None = None  # why it cannot import the target
        self._unread = b""
        self._started = False
        self.used = False  # whether it had a job before its present one
        self._serves = False
        self._scratch: str | None = None
        self._meter: Meter | None = None
        self._forks: socket.socket | None = None  # sends a template the descriptors of its next child
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self._log = Log()
            ours.callback(self._log.close)
            theirs.callback(self._log.close_write)
            shared_fd = _shared_file()
            ours.callback(self._close_shared)
            self._shared_fd = shared_fd
            self._memory = mmap.mmap(shared_fd, mmap.PAGESIZE)  # all of it is for a child that serves
            self._forget()
            jobs_fd, self._jobs_fd = os.pipe()
            theirs.callback(os.close, jobs_fd)
            ours.callback(os.close, self._jobs_fd)
            self._replies_fd, replies_fd = os.pipe()
            ours.callback(os.close, self._replies_fd)
            theirs.callback(os.close, replies_fd)
            life, its_life = socket.socketpair()  # ends in the child when this process does
            ours.enter_context(life)
            self.life = Life(life)
            theirs.enter_context(its_life)
            fds = [jobs_fd, replies_fd, its_life.fileno(), shared_fd]
            if template is None:
                self._forks, its_forks = socket.socketpair()
                ours.enter_context(self._forks)
                theirs.enter_context(its_forks)
                self.life.process = _spawn([*fds, its_forks.fileno()], log_fd=self._log.write_fd, cpus=cpus)
            else:
                if serves is not None:
                    self._tell_to_serve(*serves)
                    ours.callback(self._remove_scratch)
                template.fork([*fds, self._log.write_fd])
            self._ours = ours.pop_all()  # what `close` gives back
        self._poll = select.poll()
        self._poll.register(self._replies_fd, select.POLLIN)

    def order(self, context: Context, *, cores: Sequence[int] = (), look: bool = False) -> None:
        """Have a new process import a target; returns at once.

        Args:
            context: of the sweep.
            cores: that it is tied to; without any, to none.
            look: whether it is to find out what speaks against a fork of it then, and to make its copies independent.
        """
        self._tell(context=context.to_json(), cores=list(cores), look=look)

    def serve(self, context: Context, *, cores: Sequence[int] = ()) -> None:
        """Make it a child that computes points; it replies when it is ready."""
        if not self._serves:
            self._tell_to_serve(context, cores)
        self._memory.close()
        self._memory = mmap.mmap(self._shared_fd, SHARED_BYTES)
        self._close_shared()
        if self._forks is not None:
            self._forks.close()

    def _tell_to_serve(self, context: Context, cores: Sequence[int]) -> None:
        self._serves = True
        self._log.keep(context.log_bytes)
        if context.target.run is None or None in (context.artifacts, context.checkpoints):
            self._scratch = tempfile.mkdtemp(prefix="sweepfleet-")
        self._tell(template=False, token=self._log.token.hex(), scratch=self._scratch, cores=list(cores))

    def lead(self) -> None:
        """Make it a template, which is forked and computes nothing."""
        self._tell(template=True)

    def fork(self, fds: list[int]) -> None:
        """Have the template fork a child with these descriptors. Raises BrokenPipeError when it has ended."""
        if self._forks is None:
            raise BrokenPipeError
        socket.send_fds(self._forks, [b"f"], fds)

    def _tell(self, **order: Any) -> None:
        self.send(json.dumps(order))

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too; between it and us is its supervisor."""
        return self._pids()[1]

    def _pids(self) -> tuple[int, int]:
        """The ids of its supervisor and of itself; both 0 when it has ended before it could say."""
        while not (pids := PIDS.unpack_from(self._memory, PIDS_AT))[1]:
            if self.life.ended(STARTS_S) is not None:
                break
        return pids[0], pids[1]

    def start(self, job: str, budget: Budget | None = None) -> None:
        """Give an idle child its next job; the results of the last one are dropped.

        Args:
            job: as JSON.
            budget: how much of what its points print may come back.
        """
        # Here, not by the child: it may be dead already, and the old results must not be taken for the new ones.
        self._forget()
        self._log.begin(budget or Budget())
        self.used = self._started
        self._started = True
        self.send(job)

    def stop(self, how: Stop) -> None:
        """Have it begin no other point."""
        with contextlib.suppress(ValueError):  # it was closed meanwhile
            self._memory[STOP_AT] = how

    def _forget(self) -> None:
        HEADER.pack_into(self._memory, 0, 0.0, IDLE, bytes(8), 0, 0, 0)

    def send(self, line: str) -> None:
        """Send one line; if the child is gone, the next `reply` says so."""
        data = memoryview(line.encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._jobs_fd, data) :]

    def reply(self, timeout_s: float | None) -> dict[str, Any] | None:
        """The child's next message; None after `timeout_s` without one, {"died": True} when it is gone."""
        while b"\n" not in self._unread:
            if not self._poll.poll(None if timeout_s is None else timeout_s * 1000):
                return None
            data = os.read(self._replies_fd, 1 << 16)
            if not data:
                return {"died": True}
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "schema" in message:
            self.schemas[message["schema"]] = Schema(tuple(message["names"]), message["kinds"])
        if "code" in message:
            self.code = message["code"]
        return message

    def running(self) -> Running:
        """The child's current point and how much it has finished; rereads until the value is stable."""
        read = HEADER.unpack_from(self._memory)
        while (again := HEADER.unpack_from(self._memory)) != read:
            read = again
        return Running._make(read)

    def collect(self, at: Running) -> Segment:
        """Copy all records that were complete at that time."""
        end = HEADER_BYTES + at.complete * RECORD.size
        return Segment(
            records=self._memory[HEADER_BYTES:end],
            heap=self._memory[HEAP_START : HEAP_START + at.heap],
            schemas=dict(self.schemas),
            code=self.code,
        )

    def outputs(self, segment: Segment, *, culprit: bool) -> dict[str, bytes]:
        """What the points of a segment printed, packed, by id; with the culprit's record it has been the last one."""
        found = self._log.outputs(len(segment.records) // RECORD.size, culprit=culprit)
        return {segment.record(number).id.hex(): packed for number, packed in found.items()}

    def memory(self, limit_bytes: int) -> Usage:
        """What the child and all that it started use."""
        if self._meter is None:
            self._meter = Meter(self._pids()[0])  # orphans of points are beside the child, below its supervisor
        return self._meter.usage(limit_bytes)

    def tell_where(self) -> str:
        """Have a hanging child print the stacks of its threads, and return them."""
        self._log.read()
        before = self._log.size
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        end_s = time.monotonic() + TRACE_S
        while self._log.size == before and time.monotonic() < end_s:
            time.sleep(TRACE_S / 20)
            self._log.read()
        time.sleep(TRACE_S / 20)
        return self.log_tail(since=before)

    def kill(self) -> int:
        """End the process and all that it started, if it has not ended; what it finished can still be collected.

        Returns the exit code, negative for a signal.
        """
        return self.life.kill()

    def drain(self) -> None:
        """Read the last messages of a dead child: it may have announced a schema."""
        while "died" not in (self.reply(0) or {"died": True}):
            pass

    def close(self) -> None:
        """Kill the child and free its resources. A second call does nothing."""
        self.kill()
        self._memory.close()
        self._remove_scratch()
        self._ours.close()

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _close_shared(self) -> None:
        if self._shared_fd >= 0:
            os.close(self._shared_fd)
            self._shared_fd = -1

    def log_tail(self, *, since: int | None = None) -> str:
        """The last lines that the child printed for a point that has not ended."""
        text = self._log.tail(since=since)
        return "\n".join(line for line in text.splitlines() if not _OUR_FRAME.match(line)).strip()


def _spawn(fds: Sequence[int], *, log_fd: int, cpus: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: a `worker` or `json.py` in the current folder must not come before ours and Python's.
        [sys.executable, "-P", "-m", "sweepfleet.slot.child", *map(str, fds)],
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=fds,
        process_group=0,  # Ctrl-C does not reach it
        env=os.environ | environment(cpus),
    )


def _shared_file() -> int:
    """A file descriptor of `SHARED_BYTES` zeros that take no room until they are written."""
    if sys.platform == "linux":
        fd = os.memfd_create("sweepfleet-results")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SHARED_BYTES)
    return fd
