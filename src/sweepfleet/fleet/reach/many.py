"""Something done on every worker: all are tried, each says its own, and what failed is one failure at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.remote import Answer, Bytes, Host
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


def answers(
    fleet: Fleet, *words: str, worker: str = "", workers: bool = False, sudo: bool = False, deadline_s: int = 600
) -> dict[str, Answer]:
    """What a command says on the head, on a worker, or on all workers, by machine: `head`, or an instance id.

    Args:
        fleet: the cluster.
        words: of the command.
        worker: the beginning of a worker's instance id.
        workers: on all workers, some at a time.
        sudo: as root.
        deadline_s: for each machine.

    Raises:
        UsageError: there are no workers, or none with this id.
        ClusterError: a machine cannot be reached, or the command does not end in time; of several, each is said.
    """
    if worker and workers:
        raise UsageError("--worker means one worker, --workers all of them. Remove one.")
    if not workers:
        with fleet.worker(fleet.find_worker(worker)) if worker else fleet.head() as host:
            return {host.name: host.run(*words, sudo=sudo, deadline_s=deadline_s)}
    found = _all(fleet)

    def one(machine: Worker) -> Answer | ClusterError:
        try:
            with fleet.worker(machine) as host:
                return host.run(*words, sudo=sudo, deadline_s=deadline_s)
        except ClusterError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = dict(zip([each.instance_id for each in found], pool.map(one, found), strict=True))
    failed = {name: each for name, each in said.items() if isinstance(each, ClusterError)}
    if failed:
        lines = "".join(f"\n[{name}] {error}" for name, error in failed.items())
        raise ClusterError(f"{len(failed)} of {counted(len(said), 'worker')} did not answer:{lines}")
    return {name: each for name, each in said.items() if isinstance(each, Answer)}


def _all(fleet: Fleet) -> tuple[Worker, ...]:
    """All workers. Raises UsageError: there are none."""
    workers = group(fleet.cloud, fleet.outputs).workers
    if not workers:
        raise UsageError("There are no workers now. Start some: inv start")
    return workers


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
    workers = _all(fleet)
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
