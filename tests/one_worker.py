"""A scheduler and one worker with two threads, as a cluster has them: over TCP, on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dask.config
from distributed import LocalCluster

from sweepfleet.run.engines import CONFIG, LOOPBACK


@contextlib.contextmanager
def one_worker() -> Iterator[LocalCluster]:
    """Within it, they are there, with dask configured as an engine on a cluster has it."""
    with (
        dask.config.set(CONFIG),
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            scheduler_kwargs={"dashboard": False, "dashboard_address": LOOPBACK},
            worker_dashboard_address=LOOPBACK,
            memory_limit=0,
        ) as cluster,
    ):
        yield cluster
