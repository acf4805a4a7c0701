"""The peers: the same points under plain dask and under joblib, each sample in a process of its own.

    python -m bench.peers (dask_noop | joblib_noop | joblib_busy | joblib_cold) CORES POINTS [MS]

prints one number. Starting the peer's own processes is not measured, but for `joblib_cold`: they have run something
before the clock starts, as it is with a sweep's, whose clock starts at the first bundle.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from bench.here import ROOT
from bench.points import busy, noop


def sample(peer: str, *numbers: float) -> float:
    """Run one of the functions below in a fresh process. Raises RuntimeError when that fails."""
    command = [sys.executable, "-m", "bench.peers", peer, *map(str, numbers)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {child.returncode}:\n{child.stderr}")
    return float(child.stdout.split()[-1])


def dask_noop(cores: int, points: int) -> float:
    """Points a second through `client.map` and `gather`, one single-threaded worker process a core."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=cores, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # Impure spares dask the hashing of every argument: it is the faster way for it.
        client.gather(client.map(noop, range(10 * cores), pure=False))
        begin_s = time.perf_counter()
        results = client.gather(client.map(noop, range(points), pure=False))
        wall_s = time.perf_counter() - begin_s
    _all_there(results, points)
    return points / wall_s


def joblib_noop(cores: int, points: int) -> float:
    """Points a second through `Parallel`, with loky's processes and joblib's own batching."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=cores, backend="loky") as parallel:
        parallel(delayed(noop)(i) for i in range(10 * cores))
        begin_s = time.perf_counter()
        results = parallel(delayed(noop)(i) for i in range(points))
        wall_s = time.perf_counter() - begin_s
    _all_there(results, points)
    return points / wall_s


def joblib_busy(cores: int, points: int, ms: float, *, warm: bool = True) -> float:
    """The share of the cores' time that points had: Σ point time / (cores x wall)."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=cores, backend="loky") as parallel:
        if warm:
            parallel(delayed(noop)(i) for i in range(10 * cores))
        begin_s = time.perf_counter()
        results = parallel(delayed(busy)(i, ms) for i in range(points))
        wall_s = time.perf_counter() - begin_s
    _all_there(results, points)
    return float(sum(results)) / (cores * wall_s)


def joblib_cold(cores: int, points: int, ms: float) -> float:
    """The same with the start of joblib's own processes."""
    return joblib_busy(cores, points, ms, warm=False)


def _all_there(results: Sequence[float], points: int) -> None:
    if len(results) != points:
        raise RuntimeError(f"{len(results)} results of {points} points")


def main() -> None:
    """Measure what the command line says."""
    peer, cores, points, *ms = sys.argv[1:]
    known = {each.__name__: each for each in (dask_noop, joblib_noop, joblib_busy, joblib_cold)}
    print(known[peer](int(cores), int(points), *map(float, ms)))


if __name__ == "__main__":  # the worker processes import this file, too
    main()
