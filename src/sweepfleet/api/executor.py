"""`sweepfleet.Executor`: the standard library's interface to asynchronous calls, on this machine or on a cluster."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from sweepfleet.api.calls.arguments import checked, pickled_initializer
from sweepfleet.api.calls.client import Client
from sweepfleet.api.calls.way import Here, Way
from sweepfleet.api.hints import python_hints
from sweepfleet.grid.errors import UsageError
from sweepfleet.run.calls.wire import Hello
from sweepfleet.slot import inside

if TYPE_CHECKING:
    from sweepfleet.api.calls.far import StartFar
    from sweepfleet.api.calls.on_head import StartOnHead
    from sweepfleet.api.cluster import Cluster

P = ParamSpec("P")
T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Executes calls in processes of this machine or of a cluster: a `concurrent.futures.Executor` in every letter.

    Each call is a call: two equal ones are executed twice, unless `run` keeps results. A call whose process ends, or
    that uses too much, fails alone.

    Examples:
        >>> import sweepfleet as sf
        >>> with sf.Executor(2) as executor:
        ...     future = executor.submit(pow, 2, 10)
        ...     list(executor.map(lambda x: x + 1, [1, 2, 3]))
        [2, 3, 4]
        >>> future.result()
        1024
    """

    @python_hints("")
    def __init__(
        self,
        max_workers: int | None = None,
        *,
        stack: str | Cluster | None = None,
        run: str | None = None,
        cpus: int = 1,
        memory: str | int | None = None,
        timeout: str | float | None = None,
        retries: int = 0,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        runs: str | Path | None = None,
    ) -> None:
        """Return at once; processes start with the first call, or now where a run keeps results or on a cluster.

        Args:
            max_workers: calls at once; by default as many as cores and memory have room for.
            stack: executes calls on this cluster: a stack's name, or what `connect` returned. Modules of the project
                are those of its release. Workers are started for what is to be executed, within the stack's
                `maxWorkers` and budget. With `run`, what was sent is executed also when this machine is gone.
            run: keeps results in `runs/<run>`: the same call (the function's name and code, arguments by content) is
                computed once, also by another process later. None: nothing is kept.
            cpus: cores of a call: numerical libraries use as many threads.
            memory: that a call may use, "2GB" or bytes; None: any.
            timeout: that a call may take, "10m" or seconds; None: any.
            retries: how often a call is executed again that raised, or whose process ended.
            initializer: called once in each process before its first call.
            initargs: its arguments.
            runs: the folder of all runs; by default `runs/` in the project.

        Raises:
            UsageError: arguments that cannot be used, with all problems; a run that is a sweep's or another driver's;
                a cluster whose release or Python is another one.
            BrokenExecutor: the cluster cannot be reached.
        """
        if inside.a_point:
            raise UsageError(
                "A point or a call cannot start an Executor. Start it in the script or notebook that starts this one."
            )
        memory_bytes, timeout_s = checked(
            max_workers=max_workers, stack=stack, run=run, cpus=cpus, memory=memory, timeout=timeout,
            retries=retries, initializer=initializer, initargs=initargs, runs=runs,
        )  # fmt: skip
        hello = Hello(
            run=run,
            runs=None if run is None else str(_runs(runs)),
            max_workers=max_workers,
            cpus=cpus,
            memory_bytes=memory_bytes,
            timeout_s=timeout_s,
            retries=retries,
            path=tuple(sys.path),
            initializer=pickled_initializer(initializer, initargs),
        )
        far = None if stack is None else _start_far(stack, hello)
        self._client = Client(hello, far or _start_here, slots=max_workers or os.cpu_count() or 1)
        if far is not None:
            far.pending = self._client.waiting
        self._finalizer = weakref.finalize(self, self._client.shutdown, wait=False, cancel=False)
        self._finalizer.atexit = False  # then the client has all calls executed
        self._pid = os.getpid()
        if run is not None or stack is not None:
            self._client.begin()
            try:
                self._client.accepted()
            except BaseException:
                self.shutdown()
                raise

    def __repr__(self) -> str:
        """Its slots and the calls that have not ended."""
        return f"<sweepfleet.Executor: {self._client}>"

    @property
    def _broken(self) -> Any:
        """What broke it, under the name that the standard library's executors have for it; else False."""
        return self._client.broken or False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Execute `fn(*args, **kwargs)` in another process. Every keyword is the function's.

        The arguments are pickled now: what happens to them later does not change the call.

        Args:
            fn: anything that can be called. What another process cannot import is sent by value.
            *args: its arguments by position.
            **kwargs: its arguments by name.

        Returns:
            a future. It raises what the call raised, with the other process's traceback as the cause; `CallError`
            where the call's process ended or used too much; and what pickling raised, where the function, an argument
            or the result cannot be sent.

        Raises:
            RuntimeError: after `shutdown`, and in a fork of this process.
            BrokenExecutor: no call can be executed any more.
        """
        return next(self._submitted(fn, [(args, kwargs)]))

    def _submitted(
        self, fn: Callable[..., T], calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]
    ) -> Iterator[Future[T]]:
        if os.getpid() != self._pid:
            raise RuntimeError("cannot schedule new futures in a fork of the process that made the Executor")
        self._client.check()
        futures: Iterator[Future[T]] = self._client.submit(fn, calls)
        return futures

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with the items of the iterables, and yield the results in their order.

        When the iterator is closed, or raises, calls that have not begun are cancelled.

        Args:
            fn: as of `submit`.
            *iterables: its arguments by position; the shortest one ends it.
            timeout: seconds from now within which a result has to come.
            chunksize: of no use here: quick calls travel together by themselves.
            buffersize: calls that are submitted ahead of the results that were taken; None: all of them, at once.

        Returns:
            an iterator. It raises what a call raised when its turn comes, and TimeoutError.

        Raises:
            ValueError: `chunksize` or `buffersize` is less than 1.
            TypeError: `buffersize` is no whole number.
            RuntimeError, BrokenExecutor: as of `submit`.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end_s = None if timeout is None else time.monotonic() + timeout
        submitted = self._submitted(fn, ((arguments, {}) for arguments in zip(*iterables, strict=False)))
        futures = deque(itertools.islice(submitted, buffersize))
        if buffersize is None:
            return _results(futures, end_s)
        # Of an Executor that is dropped meanwhile, only what was submitted is computed.
        executor = weakref.ref(self)
        return _results(futures, end_s, lambda: None if executor() is None else next(submitted, None))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> Literal[False]:
        """Shut down. After Ctrl-C: at once, with the calls that run; else when all have ended."""
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            self.shutdown(wait=False, cancel_futures=True)
            self._client.interrupt()
        self.shutdown(wait=True)
        return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as there
        """Take no more calls, and end when all have ended. As `with` does at its end.

        Args:
            wait: return when all calls have ended, and all processes.
            cancel_futures: cancel the calls that have not begun.
        """
        self._finalizer.detach()
        self._client.shutdown(wait=wait and os.getpid() == self._pid, cancel=cancel_futures)


def _results(
    futures: deque[Future[T]], end_s: float | None, another: Callable[[], Future[T] | None] = lambda: None
) -> Iterator[T]:
    try:
        while futures:
            if (new := another()) is not None:
                futures.append(new)
            del new
            yield _result(futures.popleft(), None if end_s is None else end_s - time.monotonic())
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[T], timeout: float | None) -> T:
    try:
        return future.result(timeout)
    finally:
        future.cancel()
        del future  # it has an exception's traceback, and that this frame


def _start_here() -> Way:
    return Here()


def _start_far(stack: str | Cluster, hello: Hello) -> StartFar | StartOnHead:
    from sweepfleet.machine.head.fleet_here import FleetHere

    if isinstance(stack, FleetHere):  # `fleet` of a console or a notebook
        from sweepfleet.api.calls.on_head import StartOnHead

        return StartOnHead(stack, run=hello.run, max_workers=hello.max_workers, cpus=hello.cpus)
    from sweepfleet.api.calls.far import StartFar

    return StartFar(stack, run=hello.run, max_workers=hello.max_workers, cpus=hello.cpus)


def _runs(runs: str | Path | None) -> Path:
    from sweepfleet.api.runs import runs_folder

    return runs_folder(runs)
