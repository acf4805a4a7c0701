"""What runs inside dask's workers: a pool of runners for each sweep, and the one task, `run_bundle`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from distributed import Worker, WorkerPlugin, get_worker, secede

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.machine_port import MachinePort, Slot, Waits
from sweepfleet.run.sharing import holds_a_slot, let_go
from sweepfleet.slot.context import Context
from sweepfleet.slot.held import Name
from sweepfleet.slot.points import points_of, space_of
from sweepfleet.slot.pool import contexts, dismiss, leave, pool_of, prepare
from sweepfleet.slot.runner import Span
from sweepfleet.slot.source import Start

STARTED_TOPIC = "sweepfleet-bundle-started"
HELD_TOPIC = "sweepfleet-bundles-held"
Started = dict[str, object]
HeldBundle = tuple[Name, tuple[Span, ...], int | None]  # its name, spans and shuffle


class Here(NamedTuple):
    """An engine in this process, which gets reports and results directly, not through dask."""

    tell: Callable[[Started], None]
    hand: Callable[[int, bytes], None]  # a bundle's number, and what came of it


here: dict[str, Here] = {}  # by engine


_machines: dict[str, MachinePort] = {}  # this one, as each sweep that it has runners for knows it; by digest


class NoSlotsError(Exception):
    """This worker has no runners for the sweep: they were prepared through another scheduler."""


def plugin_name(context: Context) -> str:
    """The name under which a scheduler knows a sweep's `Slots`."""
    return f"sweepfleet-{context.digest}"


class Slots(WorkerPlugin):  # type: ignore[misc]
    """Gives every worker, also one that joins later, the runners of one sweep."""

    def __init__(self, context: Context, machine: MachinePort) -> None:
        self._context, self._machine = context, machine
        self.name = plugin_name(context)

    async def setup(self, worker: Worker) -> None:
        """Start the runners, which import the target meanwhile; or reuse those of an earlier driver.

        The worker answers its scheduler while its release is on its way. One that joins just then is not a worker
        before it has it, and gives up after its `death_timeout`.
        """
        await self._machine.bring(Path(self._context.root))
        if self.name not in worker.plugins:  # the sweep ended meanwhile, or the worker does
            return
        _machines[self._context.digest] = self._machine
        pool = prepare(self._context, slots=slots_of(self._context, threads=worker.state.nthreads))
        if pool.held.engines:  # its scheduler was lost: the driver there has to hear what was not
            listed = pool.held.of(pool.held.engines)
            worker.log_event(
                HELD_TOPIC, {"digest": self._context.digest, "address": worker.address, "bundles": listed}
            )

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - dask's signature
        """Leave the runners to the next driver: the scheduler is lost, or the driver is another one now."""
        leave(self._context)


def end_runners(context: Context) -> None:
    """End the runners of a finished sweep on this worker."""
    dismiss(context)
    _machines.pop(context.digest, None)


def end_others(plugins: Container[str]) -> None:
    """End the runners of all sweeps of which none of these is the plugin."""
    for context in contexts():
        if plugin_name(context) not in plugins:
            dismiss(context)


def held(digest: str, engines: list[str]) -> list[HeldBundle]:
    """The bundles that this worker keeps for these engines."""
    return pool_of(digest).held.of(engines)


def slots_of(context: Context, *, threads: int) -> int:
    """How many points a worker with these threads runs at once, by cores, memory and the grid's `resources`."""
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
    digest: str,
    spans: list[Any],
    shuffle: int | None,
    limit_s: float | None,
    name: Name,
    *,
    before: Name | None = None,
    out: Sequence[int] = (),
) -> bytes:
    """Compute a bundle on a free runner of this worker, or wait for one that is there already; see `Runner.run`.

    Args:
        digest: of the context.
        spans: the points.
        shuffle: as in `slot.runner.Job`.
        limit_s: likewise.
        name: of the bundle.
        before: the name that it had with a driver that died, if this worker holds it.
        out: bundles that the driver has not committed; see `slot.held.Held.committed`.

    Returns:
        a packet; nothing, where it is handed to an engine in this process.

    Raises:
        NoSlotsError: the worker has none for this sweep.
        Exception: what its points wrote cannot be kept; see `MachinePort.keep`.
    """
    try:
        pool, machine = pool_of(digest), _machines[digest]
    except KeyError:
        raise NoSlotsError from None
    engine, number = name
    near = here.get(engine)
    tell = near.tell if near else functools.partial(get_worker().log_event, STARTED_TOPIC)

    def begun() -> None:  # it may have waited behind another bundle
        tell({"engine": engine, "number": number, "runs": True})

    def leave_slot() -> None:
        let_go()
        secede()

    def wait(waits: Waits) -> None:
        tell({"engine": engine, "number": number, "waits": waits._asdict()})

    given = tuple((start, stop) for start, stop in spans)

    def compute() -> bytes:
        # Counted by the driver: a bundle that starts twice was lost once.
        tell({"engine": engine, "number": number, "runs": False})
        pool.ready()
        if pool.takes_checkpoint:
            machine.restore(pool, lambda: (point.id for point in points_of(space_of(pool.context), given, shuffle)))
        packet = pool.run(given, shuffle=shuffle, limit_s=limit_s, begun=begun)
        machine.keep(pool.context, packet, Slot(leave_slot, wait, pool.ended))
        return packet

    if near:  # which dies with this process: there is no driver to keep bundles for
        near.hand(number, compute())
        return b""
    pool.held.committed(engine, out)
    bundle, known = pool.held.join(name, given, shuffle, before=before)
    if known:
        begun()
        return bundle.packet.result()
    try:
        packet = compute()
    except BaseException as error:
        pool.held.fail(bundle, error)
        raise
    pool.held.finish(bundle, packet)
    return packet
