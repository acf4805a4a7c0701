"""The runner child: a process that computes points one after the other for the slot that owns it.

    python -m worker.child JOBS REPLIES SHARED LIFE [CORE ...]

The first arguments are inherited file descriptors, the others the cores that it may use. Jobs come in as lines (the
token of marks and the context first, then one line a job), replies go out as JSON lines, and finished points are
written into the shared memory (`worker.records`). Standard output and error are a pipe of their own
(`worker.output`), so nothing that a point prints can be taken for a reply. LIFE is never written to: it ends when
the owner does, however that came about, and the process above this one, which watches it (`worker.supervisor`),
ends all.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all else is imported
    from worker.compiled import keep

    keep()

import contextlib
import faulthandler
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from grid.errors import UsageError
from grid.permutation import Permutation
from grid.space import Point, Space
from worker.code import Code, code_of
from worker.context import Context
from worker.cores import stay_on
from worker.modules import put_aside
from worker.output import Output
from worker.records import PID, PID_AT, SHARED_BYTES, Schema
from worker.supervisor import supervise
from worker.surroundings import Surroundings, start_folder
from worker.target import Compute, find
from worker.writer import Writer


def main(arguments: list[str]) -> None:
    """Serve jobs until the owner closes the pipe."""
    numbers = list(map(int, arguments))
    jobs_fd, replies_fd, shared_fd, life_fd = fds = numbers[:4]
    stay_on(numbers[4:])  # before a library is loaded that counts the cores
    for fd in fds:
        os.set_inheritable(fd, False)  # what a point starts must not hold the protocol's pipes open
    supervise(life_fd, jobs_fd, replies_fd, shared_fd)
    memory = mmap.mmap(shared_fd, SHARED_BYTES)
    PID.pack_into(memory, PID_AT, os.getpid())
    with os.fdopen(jobs_fd) as jobs, os.fdopen(replies_fd, "w") as replies:

        def reply(**message: Any) -> None:
            replies.write(json.dumps(message) + "\n")
            replies.flush()

        output = Output(bytes.fromhex(jobs.readline()))
        # A crash writes its traceback where points print; so does a timeout, which the owner announces with SIGUSR1.
        faulthandler.enable(output.fd)
        faulthandler.register(signal.SIGUSR1, output.fd)
        context = Context.from_json(jobs.readline())
        space = Space(context.plan)
        os.chdir(start_folder(context.folder, context.root))
        if context.target.run is not None:
            put_aside()
        code = code_of(context)
        try:
            compute = find(context, space)
        except UsageError as refusal:
            reply(refused=str(refusal))
            return

        def announce(number: int, schema: Schema) -> None:
            reply(schema=number, names=schema.names, kinds=schema.kinds)

        def tell_code() -> None:
            files = code.news()
            if files is not None:
                reply(code=files)

        writer = Writer(memory, metric=context.metric, announce=announce)
        os.register_at_fork(after_in_child=lambda: _become_a_copy(writer, jobs_fd, replies_fd))
        surroundings = Surroundings(fault_log=output.fd)
        tell_code()
        reply(ready=True)
        output.prepare()
        for line in jobs:
            writer.restart()
            job = json.loads(line)
            end_s = time.perf_counter() + job["limit_s"]
            if context.target.run is not None:
                _run(_points(space, job), compute, writer, output=output, surroundings=surroundings, end_s=end_s)
                tell_code()  # of what the points imported
            else:
                tell_code()  # of what was written since the last job
                points = _points(space, job)
                _run(points, compute, writer, output=output, surroundings=surroundings, end_s=end_s, code=code)
            reply(ended=True)


def _points(space: Space, job: dict[str, Any]) -> Iterator[Point]:
    if job["shuffle"] is None:
        for start, stop in job["spans"]:
            yield from space.points(start, stop)
    else:
        index_at = Permutation(space.size, job["shuffle"])
        for start, stop in job["spans"]:
            for position in range(start, stop):
                yield space.point(index_at(position))


def _run(
    points: Iterator[Point],
    compute: Compute,
    writer: Writer,
    *,
    output: Output,
    surroundings: Surroundings,
    end_s: float,
    code: Code | None = None,
) -> None:
    """Compute points until they are through, `end_s` has passed, there is no room for more, or `code` changes.

    Without `code` it is what this process has imported, and stays that.
    """
    number, failed, marked = 0, False, True
    for number, point in enumerate(points):
        failed = False
        raw_id = bytes.fromhex(point.id)
        writer.begin(point, raw_id)
        started = time.time()
        begin = time.perf_counter()
        try:
            value = compute(point)
            duration_s = time.perf_counter() - begin
            if writer.forked:
                _end_copy(None)
            writer.done(point, raw_id, value, started=started, duration_s=duration_s)
        except BaseException as error:  # noqa: BLE001 - a failing point is a recorded result, sys.exit() too
            duration_s = time.perf_counter() - begin
            if writer.forked:
                _end_copy(error)
            writer.failed(point, raw_id, error, started=started, duration_s=duration_s)
            failed = True
        now_s = begin + duration_s
        surroundings.restore(now_s)
        marked = output.printed or failed or now_s > output.due_s
        if marked:
            output.mark(number, failed=failed)
        if writer.full or now_s > end_s or (code is not None and code.changed()):
            break
    if not marked:  # what a short point has printed past our streams would be nobody's
        output.mark(number, failed=failed)
    writer.idle()


def _become_a_copy(writer: Writer, *protocol_fds: int) -> None:
    """In a process that a point forked: let go of the protocol, so that the owner sees when this child ends."""
    writer.forked = True
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in protocol_fds:
        with contextlib.suppress(OSError):
            os.dup2(null_fd, fd, inheritable=False)
    os.close(null_fd)


def _end_copy(error: BaseException | None) -> None:
    """End a copy of this process that came back from the point: the rest is not its work."""
    code = error.code if isinstance(error, SystemExit) else None if error is None else 1
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    # The protocol's end of a pipe may vanish at any time when the owner is killed.
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)
