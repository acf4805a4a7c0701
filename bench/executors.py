"""Five ways to have functions called in other processes, each sample in a process of its own.

    python -m bench.executors WAY (map | latency | first) CORES CALLS

prints one number. `map`: calls a second, of that many calls of a function that does nothing, until the last result.
`latency`: the median time in seconds from `submit` to `result` of one such call. `first`: the time in seconds from
before the import to the first result. For `map` and `latency`, the processes have executed calls before.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import NamedTuple

from bench.here import ROOT, timed
from bench.points import noop


class Way(NamedTuple):
    """What is measured of one of them."""

    many: Callable[[int], object]  # calls, and waits for their results
    one: Callable[[], object]


def sample(way: str, what: str, cores: int, calls: int) -> float:
    """Run one of them in a fresh process. Raises RuntimeError when that fails."""
    command = [sys.executable, "-m", "bench.executors", way, what, str(cores), str(calls)]
    return float(timed(command, cwd=ROOT).out.split()[-1])


@contextmanager
def ours(cores: int) -> Iterator[Way]:
    """`sweepfleet.Executor`."""
    import sweepfleet as sf

    with sf.Executor(cores) as executor:
        yield _of(executor)


@contextmanager
def dask_client(cores: int) -> Iterator[Way]:
    """`client.map` and `gather`, one single-threaded worker process a core."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=cores, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield Way(  # impure spares dask the hashing of every argument, and has it call each time
            lambda calls: client.gather(client.map(noop, range(calls), pure=False)),
            lambda: client.submit(noop, pure=False).result(),
        )


@contextmanager
def dask_executor(cores: int) -> Iterator[Way]:
    """`client.get_executor()`."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=cores, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        client.get_executor(pure=False) as executor,
    ):
        yield _of(executor)


@contextmanager
def joblib(cores: int) -> Iterator[Way]:
    """`joblib.Parallel` with loky's processes and joblib's own batching; it has no `submit`."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=cores, backend="loky") as parallel:
        yield Way(lambda calls: parallel(delayed(noop)(i) for i in range(calls)), lambda: parallel([delayed(noop)()]))


@contextmanager
def pool(cores: int) -> Iterator[Way]:
    """The standard library's `ProcessPoolExecutor`, a call at a time."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(cores) as executor:
        yield _of(executor)


@contextmanager
def pool_in_chunks(cores: int) -> Iterator[Way]:
    """The same with `chunksize=1000`, which its user has to choose."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(cores) as executor:
        yield _of(executor, chunksize=1000)


def _of(executor: Executor, **options: int) -> Way:
    return Way(
        lambda calls: list(executor.map(noop, range(calls), **options)), lambda: executor.submit(noop).result()
    )


WAYS = {each.__name__: each for each in (ours, dask_client, dask_executor, joblib, pool, pool_in_chunks)}


def main() -> None:
    """Measure what the command line says."""
    begin_s = time.perf_counter()
    way, what, cores, calls = sys.argv[1:]
    with WAYS[way](int(cores)) as opened:
        if what == "first":
            opened.one()
            print(time.perf_counter() - begin_s)
            return
        opened.many(10 * int(cores))
        opened.one()
        if what == "map":
            begin_s = time.perf_counter()
            found = opened.many(int(calls))
            wall_s = time.perf_counter() - begin_s
            if len(found) != int(calls):  # type: ignore[arg-type]
                raise RuntimeError(f"{found!r:.80} of {calls} calls")
            print(int(calls) / wall_s)
        else:
            print(statistics.median(_once(opened.one) for _ in range(int(calls))))


def _once(call: Callable[[], object]) -> float:
    begin_s = time.perf_counter()
    call()
    return time.perf_counter() - begin_s


if __name__ == "__main__":  # the worker processes import this file, too
    main()
