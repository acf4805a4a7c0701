"""The runners of a worker process, one for each slot, shared by its threads."""

from __future__ import annotations

import atexit
import contextlib
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from sweepfleet.slot.context import Context
from sweepfleet.slot.cores import Cores
from sweepfleet.slot.held import Held
from sweepfleet.slot.process import Child
from sweepfleet.slot.records import Stop
from sweepfleet.slot.runner import Job, Runner, Span
from sweepfleet.slot.source import Source, Start

# A driver that died is back within seconds, a head that lost its power within minutes. After
# that, an unused pool only takes memory and cores from the next sweep.
KEEP_S = 900.0


class _Waiting:
    """A bundle that waits for a runner."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.runner: queue.SimpleQueue[Runner] = queue.SimpleQueue()


class Pool:
    """A fixed number of runners; thread-safe."""

    def __init__(self, context: Context, *, slots: int, name: str, blank: Child | None = None) -> None:
        """Have the target imported and a child started for each slot, and return at once.

        Args:
            context: of the sweep.
            slots: how many points run at once.
            name: of this worker.
            blank: a process that was started before the sweep was known, if any.
        """
        self.context = context
        self.ended = threading.Event()  # set by `close`
        self.held = Held()
        self._cores = Cores(slots=slots, cpus=context.cpus)
        try:
            self._source = Source(context, cores=self._cores.of[0], blank=blank)
        except BaseException:  # too little memory for it
            self._cores.close()
            raise
        self._runners = [
            Runner(context, name=f"{name}/{slot}", cores=cores, source=self._source)
            for slot, cores in enumerate(self._cores.of)
        ]
        self._lock = threading.Lock()
        self._free: list[Runner] = []
        self._line: deque[_Waiting] = deque()
        self._begun = threading.Event()  # a first runner can compute, or none ever will
        self._failure: BaseException | None = None
        self._starting = threading.Thread(target=self._start, name="start", daemon=True)
        self._starting.start()

    def _start(self) -> None:
        try:
            for runner in self._runners:
                _ = runner.child  # all of them first: they get ready side by side
            for runner in self._runners:
                runner.ready()
                self._give(runner)
                self._begun.set()
        except OSError as error:  # which, of a cluster, would mean that it is gone
            self._failure = RuntimeError(f"no more processes can be started: {error}")
            self._failure.__cause__ = error
        except BaseException as error:  # noqa: BLE001 - told by `ready` and `run`
            self._failure = error
        if self._failure is not None:
            for runner in self._runners:  # so that waiting callers see the error
                self._give(runner)
        self._begun.set()

    def ready(self) -> None:
        """Wait until a child has imported the target; the others follow. Raises UsageError when one cannot."""
        self._begun.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def takes_checkpoint(self) -> bool:
        """Whether the target is given a checkpoint's folder, once a runner is ready."""
        return any(runner.takes_checkpoint for runner in self._runners)

    @property
    def running(self) -> set[str]:
        """The ids of the points that run now."""
        return {id_ for runner in self._runners if (id_ := runner.running) is not None}

    @property
    def start(self) -> Start:
        """How children are started, once they are ready."""
        return self._source.start

    def run(
        self,
        spans: Sequence[Span],
        *,
        shuffle: int | None = None,
        limit_s: float | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Compute a bundle on a free runner, and call `begun` once there is one; see `Runner.compute`."""
        waiting = _Waiting(Job(spans, shuffle, limit_s))
        with self._lock:
            if self._free:
                waiting.runner.put(self._free.pop())
            else:
                self._line.append(waiting)
        runner = waiting.runner.get()
        then: list[_Waiting] = []  # whose job the runner has begun already

        def next_job() -> Job | None:
            with self._lock:
                if self._line:
                    then.append(self._line.popleft())
            return then[0].job if then else None

        try:
            if self._failure is not None:
                raise self._failure
            begun()
            return runner.compute(waiting.job, next_job)
        finally:
            if then:
                then[0].runner.put(runner)
            else:
                self._give(runner)

    def _give(self, runner: Runner) -> None:
        """Give a free runner to the bundle that has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().runner.put(runner)
            else:
                self._free.append(runner)

    def cut(self) -> None:
        """Have every runner return what it has finished after its point in hand, and begin no other."""
        for runner in self._runners:
            runner.stop(Stop.CUT)

    def interrupt(self) -> None:
        """Tell the points in hand to stop; after `cut`."""
        for runner in self._runners:
            runner.interrupt()

    def drop_points(self) -> None:
        """End the points in hand; after `cut`."""
        for runner in self._runners:
            runner.drop_point()

    @property
    def failed(self) -> bool:
        """Whether its children could not be started."""
        return self._failure is not None

    @property
    def idle(self) -> bool:
        """Whether every runner waits for a bundle."""
        return len(self._free) == len(self._runners)

    def close(self) -> None:
        """End every child and everything that they started, now."""
        self.ended.set()
        with contextlib.ExitStack() as last:  # one that cannot be ended leaves no other behind
            last.callback(self._cores.close)
            last.callback(self._starting.join)
            for runner in self._runners:
                last.callback(runner.close)
            last.callback(self._source.close)


_pools: dict[str, Pool] = {}
_timers: dict[str, threading.Timer] = {}  # of pools without a driver, by digest
_changing = threading.Lock()
_early: list[Child] = []


def start_early() -> None:
    """Start a process for the next pool, before it is known what that is to run: it takes Python a while."""
    with contextlib.suppress(OSError):  # the pool will tell
        _early.append(Child())
        atexit.register(_end_early)


def _end_early() -> None:
    """End a process that no pool has asked for."""
    while _early:
        _early.pop().close()


def prepare(context: Context, *, slots: int) -> Pool:
    """The pool for this sweep in this process: started now if there is none yet, kept if there is."""
    with _changing:
        _stop_timer(context.digest)
        pool = _pools.get(context.digest)
    if pool is not None and pool.failed:
        dismiss(context)
        pool = None
    if pool is None:
        blank = _early.pop() if _early else None
        pool = _pools[context.digest] = Pool(context, slots=slots, name=socket.gethostname(), blank=blank)
    return pool


def pool_of(digest: str) -> Pool:
    """The pool that was prepared for this context. Raises KeyError when none was."""
    return _pools[digest]


def pools() -> int:
    """How many pools there are."""
    return len(_pools)


def all_pools() -> list[Pool]:
    """The pools that there are."""
    return list(_pools.values())


def contexts() -> list[Context]:
    """The sweeps for which there are pools."""
    return [pool.context for pool in all_pools()]


def leave(context: Context) -> None:
    """Release this pool: it continues to compute, and is dismissed unless `prepare` is called in time."""
    with _changing:
        _stop_timer(context.digest)
        if context.digest in _pools:
            timer = _timers[context.digest] = threading.Timer(KEEP_S, dismiss, [context])
            timer.daemon = True
            timer.start()


def _stop_timer(digest: str) -> None:
    timer = _timers.pop(digest, None)
    if timer is not None:
        timer.cancel()


def dismiss(context: Context) -> None:
    """End the pool for this sweep in this process, and every process that it started."""
    with _changing:
        _stop_timer(context.digest)
        pool = _pools.pop(context.digest, None)
    if pool is not None:
        pool.close()
