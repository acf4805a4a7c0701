"""The runner child: a process that computes points one after the other for the slot that owns it.

    python -P -m sweepfleet.slot.child JOBS REPLIES LIFE SHARED FORKS

The arguments are inherited file descriptors. Jobs come in as lines, replies go out as JSON lines, and finished points
are written into the shared memory (`slot.records`). Standard output and error are a pipe of their own
(`slot.output`), so nothing that a point prints can be taken for a reply. LIFE is for the supervisor, the process
above this one (`slot.supervisor`), which ends all when the owner does, however that came about.

The first line says what to import. What is sent next is what this process is to be: a child, or, where the owner
sees that nothing speaks against it, a template, which forks a child for each set of descriptors that comes through
the socket FORKS. Such a child is told no target: it has it.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all else is imported
    from sweepfleet.slot.compiled import keep

    keep()

import contextlib
import faulthandler
import gc
import itertools
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Point, Space
from sweepfleet.slot import copies, inside
from sweepfleet.slot.code import Code, code_of
from sweepfleet.slot.context import Context
from sweepfleet.slot.cores import stay_on
from sweepfleet.slot.fork_safety import ImportWatch, fork, renew
from sweepfleet.slot.handed import SCRATCH
from sweepfleet.slot.modules import put_aside
from sweepfleet.slot.output import Output
from sweepfleet.slot.points import points_of
from sweepfleet.slot.records import PIDS, PIDS_AT, SHARED_BYTES, STOP_AT, Schema, Stop
from sweepfleet.slot.supervisor import ENDED, supervise
from sweepfleet.slot.surroundings import Surroundings, start_folder
from sweepfleet.slot.target import Compute, find, takes_checkpoint
from sweepfleet.slot.writer import Writer

_INTERRUPTED = int(Stop.INTERRUPTED)
MOST_AHEAD = 64  # points that are made before their turn


class Link:
    """The child's ends of the pipes and memory that it shares with its owner."""

    def __init__(self, jobs_fd: int, replies_fd: int, shared_fd: int) -> None:
        self.fds = (jobs_fd, replies_fd)
        self.memory = mmap.mmap(shared_fd, SHARED_BYTES)
        os.close(shared_fd)
        self.jobs = os.fdopen(jobs_fd)
        self._replies = os.fdopen(replies_fd, "w")
        PIDS.pack_into(self.memory, PIDS_AT, os.getppid(), os.getpid())

    def orders(self) -> Iterator[dict[str, Any]]:
        """The owner's messages, until it closes the pipe."""
        return map(json.loads, self.jobs)

    def reply(self, **message: Any) -> None:
        """Send a reply to the owner."""
        self._replies.write(json.dumps(message) + "\n")
        self._replies.flush()

    def close(self) -> None:
        """Close it."""
        self.memory.close()
        self.jobs.close()
        self._replies.close()


@dataclass
class Work:
    """The imported target, and what belongs to it."""

    context: Context
    space: Space
    compute: Compute
    code: Code
    output: Output


def main(arguments: list[str]) -> None:
    """Serve jobs, or fork children that do, until the owner closes the pipe."""
    jobs_fd, replies_fd, life_fd, shared_fd, forks_fd = fds = list(map(int, arguments))
    for fd in fds:
        os.set_inheritable(fd, False)  # what a point starts must not keep the protocol's pipes open
    supervise(life_fd, jobs_fd, replies_fd, shared_fd, forks_fd)
    link = Link(jobs_fd, replies_fd, shared_fd)
    order = next(link.orders(), None)
    if order is None:
        return  # nothing is to be run
    stay_on(order["cores"])  # before a library is loaded that counts the cores
    context = Context.from_json(order["context"])
    work, against = _import(context, link, look=order["look"])
    if work is None:
        return
    link.reply(imported=True, against=against)
    order = next(link.orders(), None)
    if order is not None and order["template"]:
        link = _forked(link, socket.socket(fileno=forks_fd), work)
        order = next(link.orders(), None)
    else:
        os.close(forks_fd)
    if order is not None:
        stay_on(order["cores"])
        if order["scratch"] is not None:
            os.environ[SCRATCH] = order["scratch"]
        work.output.begin(bytes.fromhex(order["token"]))
        _serve(link, work)


def _import(context: Context, link: Link, *, look: bool) -> tuple[Work | None, list[str]]:
    """The target, unless it is refused; and the reasons not to fork the process that has imported it."""
    output = Output()
    # A crash writes its traceback where points print; so does a timeout, which the owner announces with SIGUSR1.
    faulthandler.enable(output.fd)
    faulthandler.register(signal.SIGUSR1, output.fd)
    inside.a_point = True
    space = Space(context.plan)
    os.chdir(start_folder(context.folder, context.root))
    if context.target.run is not None:
        put_aside()
    code = code_of(context)
    watch = ImportWatch(code.names) if look else None
    try:
        compute = find(context, space)
    except UsageError as refusal:
        link.reply(refused=str(refusal))
        return None, []
    output.prepare()
    code.look()  # copies then have it, and need not look through all that is imported
    return Work(context, space, compute, code, output), watch.findings() if watch else []


def _forked(link: Link, forks: socket.socket, work: Work) -> Link:
    """Be the template; returns in each child that is forked from it, with that child's own link."""
    work.output.flush()  # or each child would print it, too
    gc.collect(1)  # of the youngest objects: of all it takes a tenth of a second after a large import
    gc.freeze()  # what children share with this process stays shared: a collection would write to each object
    while True:
        data, fds, _, _ = socket.recv_fds(forks, 1, 5)
        for fd in fds:
            os.set_inheritable(fd, False)
        if not data:
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # supervisors of children that have ended
                pass
        jobs_fd, replies_fd, life_fd, shared_fd, log_fd = fds
        try:
            forked = fork() == 0
        except OSError as error:  # too little memory: the child has ended before it began
            os.write(life_fd, ENDED.pack(-(error.errno or 0)))
            forked = False
        if forked:
            link.close()
            forks.close()
            work.output.move_to(log_fd)
            os.close(log_fd)
            os.setpgid(0, 0)
            supervise(life_fd, jobs_fd, replies_fd, shared_fd)
            renew()
            return Link(jobs_fd, replies_fd, shared_fd)
        for fd in fds:
            os.close(fd)


def _serve(link: Link, work: Work) -> None:
    """Compute the points of each job, until the owner closes the pipe."""
    context, code, output = work.context, work.code, work.output

    def announce(number: int, schema: Schema) -> None:
        link.reply(schema=number, names=schema.names, kinds=schema.kinds)

    def tell_code() -> None:
        files = code.news()
        if files is not None:
            link.reply(code=files)

    writer = Writer(link.memory, metric=context.metric, announce=announce)
    os.register_at_fork(after_in_child=lambda: _become_a_copy(writer, *link.fds))
    surroundings = Surroundings(fault_log=output.fd)
    tell_code()
    link.reply(ready=True, checkpoints=takes_checkpoint(context, work.compute))
    for job in link.orders():
        writer.restart()
        end_s = time.perf_counter() + job["limit_s"]
        points = points_of(work.space, job["spans"], job["shuffle"])
        watched = None if context.target.run is not None else code
        if watched is not None:
            tell_code()  # of what was written since the last job
        unfinished = _run(
            *(points, work.compute, writer, link.memory),
            output=output,
            surroundings=surroundings,
            end_s=end_s,
            code=watched,
        )
        if watched is None:
            tell_code()  # of what the points imported
        link.reply(ended=True, unfinished=unfinished)


def _run(
    points: Iterator[Point],
    compute: Compute,
    writer: Writer,
    memory: mmap.mmap,
    *,
    output: Output,
    surroundings: Surroundings,
    end_s: float,
    code: Code | None = None,
) -> int | None:
    """Compute points until they are through, `end_s` has passed, the owner says `Stop`, or `code` changes.

    Without `code` it is what this process has imported, and stays that. It also ends where there is no room for more.

    Returns:
        the index of a point that ended because it was interrupted: it has no record.
    """
    number, failed, marked, unfinished = 0, False, True, None
    for number, point in enumerate(_ahead(points)):
        failed = False
        raw_id = bytes.fromhex(point.id)
        writer.begin(point, raw_id)
        started = time.time()
        begin = time.perf_counter()
        try:
            value = compute(point)
            duration_s = time.perf_counter() - begin
            if writer.forked:
                copies.end(None)
            writer.done(point, raw_id, value, started=started, duration_s=duration_s)
        except BaseException as error:  # noqa: BLE001 - a failing point is a recorded result, sys.exit() too
            duration_s = time.perf_counter() - begin
            if writer.forked:
                copies.end(error)
            if memory[STOP_AT] == _INTERRUPTED:
                unfinished = point.index
            else:
                writer.failed(point, raw_id, error, started=started, duration_s=duration_s)
            failed = True
        now_s = begin + duration_s
        surroundings.restore(now_s)
        marked = output.printed or failed or now_s > output.due_s
        if marked:
            output.mark(number, failed=failed)
        if writer.full or now_s > end_s or memory[STOP_AT] or (code is not None and code.changed()):
            break
    if not marked:  # a short point's output past our streams would belong to no point
        output.mark(number, failed=failed)
    writer.idle()
    return unfinished


def _ahead(points: Iterator[Point]) -> Iterator[Point]:
    """The same points, made some at a time: what runs once between two points finds its code in no cache."""
    count = 1
    while some := list(itertools.islice(points, count)):
        yield from some
        count = min(2 * count, MOST_AHEAD)


def _become_a_copy(writer: Writer, *protocol_fds: int) -> None:
    writer.forked = True
    copies.give_up(*protocol_fds)


if __name__ == "__main__":
    # The protocol's end of a pipe may vanish at any time when the owner is killed.
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)
