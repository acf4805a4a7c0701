"""The engines that a sweep may have: one with a scheduler in this process, or one on a cluster's scheduler."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dask.config
from distributed import Client, LocalCluster
from distributed.threadpoolexecutor import ThreadPoolExecutor

from sweepfleet.run.asking import GONE, closing
from sweepfleet.run.engine import Engine
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.machine_port import OWN_MACHINE, MachinePort
from sweepfleet.run.slots import end_runners, plugin_name
from sweepfleet.slot.context import Context
from sweepfleet.slot.pool import dismiss, prepare

CONFIG = {
    # A lost machine is never its task's fault, however often: the driver counts losses, not dask.
    "distributed.scheduler.allowed-failures": 1_000_000,
    # In this process there is nothing to profile and no memory to guard: points run in children of their own.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
SELDOM = "1h"  # and never, of what `_calm` stops
CONFIG_HERE = CONFIG | {
    "distributed.client.heartbeat": SELDOM,
    "distributed.client.scheduler-info-interval": SELDOM,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
}
# dask always opens an HTTP port; without this, on every interface.
LOOPBACK = "127.0.0.1:0"


@contextlib.contextmanager
def local_engine(context: Context, *, slots: int) -> Iterator[Engine]:
    """An engine on this machine: one dask worker in this process, and a runner child for each slot.

    The children do all the work, so a dask process for each slot would only cost a second at the start, its
    memory, and a copy of every result; see docs/decisions/001-local-slots.md.
    """
    try:
        # Before dask's own start: the children import the target meanwhile.
        pool = prepare(context, slots=slots)
        # Two threads for each runner: one waits with the next bundle, so that no runner waits for dask.
        with client_here(threads=2 * slots) as client:
            try:
                engine = Engine(client, context, OWN_MACHINE, slots=slots, idle=lambda: pool.idle)
                with engine.in_this_process():
                    yield engine
            finally:
                dismiss(context)  # first, so that no thread of dask's waits for a point
    finally:
        dismiss(context)


@contextlib.contextmanager
def client_here(*, threads: int) -> Iterator[Client]:
    """A client of a scheduler in this process, whose one worker is in this process, too."""
    _quiet()
    with (
        dask.config.set(CONFIG_HERE),
        LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            executor=_started(threads),
            processes=False,
            protocol="inproc://",
            scheduler_kwargs={"dashboard": False, "dashboard_address": LOOPBACK},
            worker_dashboard_address=LOOPBACK,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.loop.add_callback(_calm, cluster, client)
        _warm_up(client)  # while the target is imported
        yield client


def _warm_up(client: Client) -> None:
    """Have dask do once what it does for every bundle: the first time is ten times slower."""
    done = threading.Event()
    future = client.submit(int, key="warm-up", pure=False)
    future.add_done_callback(lambda _: done.set())
    done.wait()


def _calm(cluster: LocalCluster, client: Client) -> None:
    """Stop dask's periodic callbacks and its delay before sending, in its loop's thread.

    In one process nobody has to be told that the other is alive, and what dask measures of itself nobody reads. It
    would wake every 10 ms, on the cores that points run on. And messages that share a packet's way through a network
    save nothing here: a slot would wait up to 17 ms for its next bundle.
    """
    scheduler, workers = cluster.scheduler, cluster.workers.values()
    for server in (scheduler, *workers):
        for periodic in server.periodic_callbacks.values():
            periodic.stop()
    comms = (*scheduler.stream_comms.values(), *scheduler.client_comms.values(), client.scheduler_comm)
    for comm in (*comms, *(worker.batched_stream for worker in workers)):
        comm.interval = 0


def _started(threads: int) -> ThreadPoolExecutor:
    """Started threads for a worker's tasks. Raises RuntimeError when one cannot start, for which dask would wait."""
    executor = ThreadPoolExecutor(threads)
    begun = threading.Barrier(threads)
    try:
        for task in [executor.submit(begun.wait) for _ in range(threads)]:
            task.result()
    except BaseException:
        begun.abort()
        raise
    return executor


@contextlib.contextmanager
def remote_engine(
    context: Context,
    *,
    address: str,
    machine: MachinePort | None = None,
    patience_s: float = 0,
    most_workers: int | None = None,
) -> Iterator[Engine]:
    """An engine on a running scheduler; waits for the first worker.

    Args:
        context: of the sweep.
        address: of the scheduler.
        machine: what the workers are on; None: they have the project, as this one does.
        patience_s: how long to wait for the first worker.
        most_workers: of the scheduler's, that it uses; None: all.

    Raises:
        ClusterError: nothing answers at `address`, or no worker came.
    """
    with client_of(address) as client:
        try:
            port = machine or OWN_MACHINE
            engine = Engine(client, context, port, patience_s=patience_s, most_workers=most_workers)
            with contextlib.closing(engine):
                yield engine
        except ClusterError:
            raise  # the runners continue, and the next driver takes over what they have
        except BaseException:
            retire(client, plugin_name(context), end_runners, context)
            raise
        else:
            if not engine.goes_on:
                retire(client, plugin_name(context), end_runners, context)


@contextlib.contextmanager
def client_of(address: str) -> Iterator[Client]:
    """A client of a running scheduler, with an engine's settings. Raises ClusterError when nothing answers there."""
    _quiet()
    with dask.config.set(CONFIG):
        try:
            client = Client(address, timeout="10s")
        except OSError as error:
            raise ClusterError(f"No scheduler answers at {address}: {error}") from error
        with closing(client):
            yield client


def retire(client: Client, plugin: str, end: Callable[..., None], *arguments: Any) -> None:
    """Have `end` end an engine's slots on every worker that is there still, whichever others go away meanwhile."""
    # ValueError: a new scheduler, which does not know them. KeyError: a worker that has just joined does not.
    with contextlib.suppress(*GONE, ValueError, KeyError):
        client.unregister_worker_plugin(plugin)
    with contextlib.suppress(*GONE):
        client.run(end, *arguments, on_error="ignore")


def _quiet() -> None:
    """Silence dask's own messages: the engine reports what matters."""
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
