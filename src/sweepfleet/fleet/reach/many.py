"""Something done on every worker: all are tried, each says its own, and what failed is one failure at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.remote import Bytes, Host
from sweepfleet.fleet.workers.group import Worker, group
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.wording import counted

AT_ONCE = 8  # each has a connection through the head, whose sshd drops what comes in greater crowds


class Prefixed:
    """A stream of whole lines, each with its host's name before it; several may share a `target` and a `lock`."""

    def __init__(self, target: Bytes, name: str, lock: threading.Lock) -> None:
        self._target, self._lock = target, lock
        self._prefix = f"[{name}] ".encode()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Take some bytes; what is no whole line yet waits."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            with self._lock:
                self._target.write(b"".join(self._prefix + line + b"\n" for line in lines))
                self._target.flush()

    def flush(self) -> None:
        """Nothing: lines go when they are whole."""

    def close(self) -> None:
        """Let a last line through that has no end."""
        if self._rest:
            self.write(b"\n")


class ManyFailedError(SweepfleetError):
    """It failed on some machines; what each said is printed already."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def on_workers(fleet: Fleet, do: Callable[[Host, Bytes, Bytes], int], *, endless: bool = False) -> None:
    """Do something on every worker, some at a time; its output appears with the worker's id before each line.

    Args:
        fleet: the cluster.
        do: on an open connection, with streams for output and errors; returns an exit code.
        endless: it goes on until Ctrl-C, and so must be done on all at once.

    Raises:
        UsageError: there are no workers, or more than can be had at once.
        ManyFailedError: it failed on some, with the highest of their exit codes, or 3 when one cannot be reached.
    """
    workers = group(fleet.cloud, fleet.outputs).workers
    if not workers:
        raise UsageError("There are no workers now. Start some: inv start")
    if endless and len(workers) > AT_ONCE:
        raise UsageError(
            f"{len(workers)} workers are too many to follow at once; the limit is {AT_ONCE}. Follow one: --worker ID"
        )
    lock = threading.Lock()
    places = threading.Semaphore(AT_ONCE)
    codes: dict[str, Future[int | None]] = {one.instance_id: Future() for one in workers}

    def on_one(worker: Worker) -> int | None:
        out, err = (Prefixed(stream.buffer, worker.instance_id, lock) for stream in (sys.stdout, sys.stderr))
        try:
            with fleet.worker(worker) as host:
                return do(host, out, err)
        except ClusterError as error:
            err.write(f"{error}\n".encode())
            return None
        finally:
            out.close()
            err.close()

    def settle(worker: Worker) -> None:
        with places:
            try:
                codes[worker.instance_id].set_result(on_one(worker))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is asked for
                codes[worker.instance_id].set_exception(error)

    sys.stdout.flush()
    for worker in workers:  # not in a pool, which is waited for at the end: what they do may never end by itself
        threading.Thread(target=settle, args=(worker,), daemon=True).start()
    try:
        failed = {name: code for name, each in codes.items() if (code := each.result()) != 0}
    except KeyboardInterrupt:
        lock.acquire()  # for good: nobody writes any more when this process ends, and the connections with it
        raise
    if failed:
        each = ", ".join(f"{name} ({'no answer' if code is None else code})" for name, code in failed.items())
        code = max(3 if code is None else code for code in failed.values())
        raise ManyFailedError(f"Failed on {len(failed)} of {counted(len(codes), 'worker')}: {each}", code)
