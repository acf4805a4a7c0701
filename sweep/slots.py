"""What runs inside dask's workers: a pool of runners for each sweep, and the one task, `run_bundle`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from distributed import Worker, WorkerPlugin, get_worker, secede
from distributed.threadpoolexecutor import ThreadPoolExecutor

from grid.errors import UsageError
from sweep.sharing import holds_a_slot, let_go
from worker.context import Context
from worker.machine.artifacts import TRANSFERS, Slot, Waits, keep_artifacts
from worker.machine.bring import ask_for
from worker.pool import dismiss, pool_of, prepare
from worker.source import Start

STARTED_TOPIC = "sweepfleet-bundle-started"
Started = dict[str, object]


class Here(NamedTuple):
    """An engine in this process: what it is told and handed takes no way through dask then."""

    tell: Callable[[Started], None]
    hand: Callable[[int, bytes], None]  # a bundle's number, and what came of it


here: dict[str, Here] = {}  # by engine


@functools.cache
def transfers() -> ThreadPoolExecutor:
    """The threads that bring files to the bucket; dask's, which do not keep a process from its end."""
    return ThreadPoolExecutor(TRANSFERS, thread_name_prefix="artifacts")


class NoSlotsError(Exception):
    """This worker has no runners for the sweep: its scheduler is another one than the one that was told to."""


class Slots(WorkerPlugin):  # type: ignore[misc]
    """Gives every worker, also one that joins later, the runners of one sweep."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.name = f"sweepfleet-{context.digest}"

    def setup(self, worker: Worker) -> None:
        """Start the runners; they import the target while the worker goes on."""
        ask_for(Path(self._context.root))
        prepare(self._context, slots=slots_of(self._context, threads=worker.state.nthreads))

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - dask's signature
        """End the runners."""
        dismiss(self._context)


def slots_of(context: Context, *, threads: int) -> int:
    """How many points a worker with so many threads runs at once: cores and memory, shared out as the grid says."""
    slots = threads // context.cpus
    if context.memory_bytes:
        slots = min(slots, psutil.virtual_memory().total // context.memory_bytes)
    return max(1, slots)


class Ready(NamedTuple):
    """A worker's runners."""

    refusal: str | None  # why they refuse the target; None: they can compute
    start: Start = Start("spawn")  # how they were started


async def ready(digest: str) -> Ready:
    """Wait for a worker's runners."""
    pool = pool_of(digest)
    try:
        await asyncio.to_thread(pool.ready)
    except UsageError as refusal:
        return Ready(str(refusal))
    return Ready(None, pool.start)


@holds_a_slot
def run_bundle(
    digest: str, spans: list[Any], shuffle: int | None, limit_s: float | None, name: tuple[str, int]
) -> bytes:
    """Compute a bundle on a free runner of this worker; see `worker.runner.Runner.run`.

    Returns:
        a packet; nothing, where it is handed to an engine in this process.

    Raises:
        NoSlotsError: the worker has none for this sweep.
        ArtifactsError: what its points wrote cannot be stored.
    """
    try:
        pool = pool_of(digest)
    except KeyError:
        raise NoSlotsError from None
    # Counted by the driver: a bundle that starts twice was lost once.
    engine, number = name
    near = here.get(engine)
    tell = near.tell if near else functools.partial(get_worker().log_event, STARTED_TOPIC)
    tell({"engine": engine, "number": number, "runs": False})

    def begun() -> None:  # it may have waited behind another bundle
        tell({"engine": engine, "number": number, "runs": True})

    packet = pool.run([(start, stop) for start, stop in spans], shuffle=shuffle, limit_s=limit_s, begun=begun)

    def leave() -> None:
        let_go()
        secede()

    def wait(waits: Waits) -> None:
        tell({"engine": engine, "number": number, "waits": waits._asdict()})

    if pool.context.artifacts_url is not None:
        keep_artifacts(pool.context, packet, Slot(transfers(), leave, wait, pool.ended))
    if near:
        near.hand(number, packet)
        return b""
    return packet
