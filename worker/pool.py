"""The runners of one worker process: as many as it has slots, shared by the threads that serve them."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Sequence

from worker.context import Context
from worker.cores import Cores
from worker.runner import Runner, Span


class Pool:
    """A fixed number of runners; thread-safe."""

    def __init__(self, context: Context, *, slots: int, name: str) -> None:
        """Start a child for each slot and return at once, while they import the target."""
        self.context = context
        self._cores = Cores(slots=slots, cpus=context.cpus)
        self._runners: list[Runner] = []
        try:
            for slot, cores in enumerate(self._cores.of):
                self._runners.append(Runner(context, name=f"{name}/{slot}", cores=cores))
        except BaseException:  # too little memory for another: those that are there go
            self.close()
            raise
        self._free: queue.LifoQueue[Runner] = queue.LifoQueue()
        for runner in reversed(self._runners):
            self._free.put(runner)

    def ready(self) -> None:
        """Wait until every child has imported the target. Raises UsageError when one cannot."""
        for runner in self._runners:
            runner.ready()

    def run(
        self, spans: Sequence[Span], *, shuffle: int | None = None, begun: Callable[[], None] = lambda: None
    ) -> bytes:
        """Compute a bundle on a free runner, and call `begun` once there is one; see `Runner.run`."""
        runner = self._free.get()
        try:
            begun()
            return runner.run(spans, shuffle=shuffle)
        finally:
            self._free.put(runner)

    @property
    def idle(self) -> bool:
        """Whether every runner waits for a bundle."""
        return self._free.qsize() == len(self._runners)

    def close(self) -> None:
        """End every child and everything that they started, now."""
        for runner in self._runners:
            runner.close()
        self._cores.close()


_pools: dict[str, Pool] = {}


def prepare(context: Context, *, slots: int) -> Pool:
    """The pool for this sweep in this process, started now if there is none yet."""
    pool = _pools.get(context.digest)
    if pool is None:
        pool = _pools[context.digest] = Pool(context, slots=slots, name=socket.gethostname())
    return pool


def pool_of(digest: str) -> Pool:
    """The pool that was prepared for this context. Raises KeyError when none was."""
    return _pools[digest]


def dismiss(context: Context) -> None:
    """End the pool for this sweep in this process, and every process that it started."""
    pool = _pools.pop(context.digest, None)
    if pool is not None:
        pool.close()
