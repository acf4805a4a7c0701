"""What runs inside a cluster's dask workers for an Executor: its slots, and the one task, `run_calls`.

A worker keeps what has come of a call until the driver has committed it. The driver may die meanwhile, or ask for a
part of a bundle: a call that is asked for again while it is here is never executed a second time.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync

from sweepfleet.run.machine_port import MachinePort
from sweepfleet.run.sharing import holds_a_slot
from sweepfleet.slot.calls.batch import Call, Outcome, Pickled, pack_outcomes, unpack_calls
from sweepfleet.slot.calls.frames import Buffer, Frame
from sweepfleet.slot.calls.pool import Pool
from sweepfleet.slot.calls.spec import Spec
from sweepfleet.slot.own_packages import SITE

TOPIC = "sweepfleet-calls"
KEEP_S = 900.0  # for which slots without a driver wait for the next one; as `slot.pool` has it
MOST_BYTES = 128 << 20  # of results that are not committed; beyond it, the oldest ones are dropped

Name = tuple[str, int]  # an engine, and the number of its bundle


class NoCallSlotsError(Exception):
    """This worker has no slots for the Executor: they were prepared through another scheduler."""


class Partly(NamedTuple):
    """What has come of a bundle that is still executed."""

    outcomes: Frame
    left: list[int]  # indexes of calls that have not begun and never will
    known: bool = True  # whether the worker has this bundle


class Taken(NamedTuple):
    """What a worker has of the calls of a driver that died."""

    outcomes: Frame  # of those that have ended, by key
    active: list[str]  # keys of those that are executed


@dataclass(eq=False, slots=True)
class _Kept:
    """A call that a worker has."""

    identity: str
    name: Name  # of the bundle that asked for it last
    outcome: Future[Outcome] = field(default_factory=Future)

    @property
    def size(self) -> int:
        """Bytes of its result."""
        if not self.outcome.done() or self.outcome.exception() is not None:
            return 0
        value = self.outcome.result().value
        return len(value.data) + sum(map(len, value.outside)) if isinstance(value, Pickled) else 0


class FarSlots:
    """The slots of one Executor on this worker, and the calls that they have or had; thread-safe."""

    def __init__(self, spec: Spec, *, slots: int, most_bytes: int = MOST_BYTES) -> None:
        """Have the first process start at once."""
        self.pool = Pool(spec, slots=slots)
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}  # by the call's identity, the oldest first
        self._active: dict[Name, tuple[list[Call], list[int]]] = {}  # bundles and what of them was given back

    def execute(self, name: Name, calls: Sequence[Call], *, out: Sequence[int], stalled: Any) -> Partly:
        """Execute the calls of a bundle that are not here yet, and wait for those that are.

        Args:
            name: of the bundle.
            calls: of it.
            out: the first numbers of the engine's bundles that are not committed, ascending; see `_forget`.
            stalled: called when one of them takes long and there is something to tell: see `partly`.
        """
        new: list[Call] = []
        with self._lock:
            self._forget(name[0], out)
            for call in calls:
                kept = self._kept.get(identity_of(call, name))
                if kept is None:
                    kept = self._kept[identity_of(call, name)] = _Kept(identity_of(call, name), name)
                    new.append(call)
                kept.name = name
            given_back: list[int] = []
            self._active[name] = (list(calls), given_back)
        try:
            self._compute(name, new, given_back, stalled)
            found = [self._outcome(call, name) for call in calls if call.index not in given_back]
        finally:
            with self._lock:
                self._active.pop(name, None)
        return Partly(plain(pack_outcomes(found, {})), given_back)

    def _compute(self, name: Name, calls: Sequence[Call], given_back: list[int], stalled: Any) -> None:
        if not calls:
            return
        identities = {call.index: identity_of(call, name) for call in calls}
        open_ = set(identities)

        def tell(outcomes: Sequence[Outcome]) -> None:
            with self._lock:
                for outcome in outcomes:
                    open_.discard(outcome.index)
                    if (kept := self._kept.get(identities[outcome.index])) is not None:
                        kept.outcome.set_result(outcome)
                        self._bytes += kept.size
                self._drop_oldest()

        def give_back(left: Sequence[Call]) -> None:
            with self._lock:
                for call in left:
                    open_.discard(call.index)
                    given_back.append(call.index)
                    self._kept.pop(identities[call.index], None)
                something = len(open_) < len(calls)
            if something:
                stalled()

        try:
            self.pool.execute(calls, tell, give_back)
        except BaseException as error:
            with self._lock:
                for index in open_:
                    if (kept := self._kept.pop(identities[index], None)) is not None:
                        kept.outcome.set_exception(error)
            raise

    def _outcome(self, call: Call, name: Name) -> Outcome:
        with self._lock:
            kept = self._kept.get(identity_of(call, name))
        if kept is None:
            raise NoCallSlotsError  # it was dropped for want of memory
        return replace(kept.outcome.result(), index=call.index)

    def partly(self, name: Name) -> Partly:
        """What has come of a bundle so far."""
        with self._lock:
            if name not in self._active:
                return Partly(Frame({}), [], known=False)
            calls, given_back = self._active[name]
            found = []
            for call in calls:
                kept = self._kept.get(identity_of(call, name))
                if kept is not None and kept.outcome.done() and kept.outcome.exception() is None:
                    found.append(replace(kept.outcome.result(), index=call.index))
            return Partly(plain(pack_outcomes(found, {})), list(given_back))

    def keys(self) -> list[str]:
        """The calls that are here, by key: finished or being executed."""
        with self._lock:
            return list(self._kept)

    def finished(self, keys: Sequence[str], *, drop: Sequence[str]) -> Taken:
        """What has come of calls of a driver that died; `drop`: those that are committed now."""
        with self._lock:
            for key in drop:
                self._delete(key)
            found = [self._kept[key] for key in keys if key in self._kept]
            ended = [kept for kept in found if kept.outcome.done()]
            outcomes = [kept.outcome.result() for kept in ended if kept.outcome.exception() is None]
            active = [kept.identity for kept in found if not kept.outcome.done()]
        return Taken(plain(pack_outcomes(outcomes, {})), active)

    def _forget(self, engine: str, out: Sequence[int]) -> None:
        """Drop what the driver has committed: it needs no bundle below the last of `out` that is not in it."""
        if not out:
            return
        needed = set(out)
        for identity, kept in list(self._kept.items()):
            there, number = kept.name
            if there == engine and number < out[-1] and number not in needed and kept.outcome.done():
                self._delete(identity)

    def _drop_oldest(self) -> None:
        if self._bytes <= self._most_bytes:
            return
        for identity, kept in list(self._kept.items()):
            if self._bytes <= self._most_bytes:
                return
            if kept.size and kept.name not in self._active:
                self._delete(identity)

    def _delete(self, identity: str) -> None:
        if (kept := self._kept.pop(identity, None)) is not None:
            self._bytes -= kept.size


def identity_of(call: Call, name: Name) -> str:
    """What a worker knows a call by: its key, or its engine and the driver's number of it."""
    return call.key or f"{name[0]}/{call.index}"


def plain(frame: Frame) -> Frame:
    """The same with buffers that dask can send."""
    return Frame(
        frame.header, [each if isinstance(each, bytes | bytearray) else bytes(each) for each in frame.buffers]
    )


_slots: dict[str, FarSlots] = {}  # by the Executor's digest
_timers: dict[str, threading.Timer] = {}
_changing = threading.Lock()


class CallSlots(WorkerPlugin):  # type: ignore[misc]
    """Gives every worker, also one that joins later, the slots of one Executor."""

    def __init__(self, digest: str, spec: Spec, *, root: Path, machine: MachinePort) -> None:
        self._digest, self._spec, self._root, self._machine = digest, spec, root, machine
        self.name = plugin_name(digest)

    async def setup(self, worker: Worker) -> None:
        """Bring the code and start slots; or keep those of an earlier driver. Raises NoReleaseError."""
        await self._machine.bring(self._root)
        if self.name in worker.plugins:  # else the Executor ended meanwhile, or the worker does
            _prepare(self._digest, self._spec, threads=worker.state.nthreads)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - dask's signature
        """Leave the slots to the next driver: the scheduler is lost, or the driver is another one now."""
        with _changing:
            if self._digest in _slots:
                timer = _timers[self._digest] = threading.Timer(KEEP_S, end_calls, [self._digest])
                timer.daemon = True
                timer.start()


def told_place(name: Name) -> list[str]:
    """Where the scheduler's metadata have the indexes of a bundle's calls that are not its any more."""
    return [TOPIC, name[0], str(name[1])]


def plugin_name(digest: str) -> str:
    """The name under which a scheduler knows an Executor's `CallSlots`."""
    return f"sweepfleet-calls-{digest}"


def _prepare(digest: str, spec: Spec, *, threads: int) -> None:
    with _changing:
        if (timer := _timers.pop(digest, None)) is not None:
            timer.cancel()
        if digest not in _slots:
            own = [entry for entry in sys.path if entry]
            first = [*(spec.path or ()), *([f"{spec.folder}/{SITE}"] if spec.folder else [])]
            whole = replace(spec, path=tuple(dict.fromkeys([*first, *own])))
            _slots[digest] = FarSlots(whole, slots=max(1, threads // spec.cpus))


def end_calls(digest: str) -> None:
    """End the slots of an Executor on this worker, and every process that they started."""
    with _changing:
        if (timer := _timers.pop(digest, None)) is not None:
            timer.cancel()
        found = _slots.pop(digest, None)
    if found is not None:
        found.pool.close()


def end_other_calls(plugins: Container[str]) -> None:
    """End the slots of all Executors of which none of these is the plugin."""
    for digest in list(_slots):
        if plugin_name(digest) not in plugins:
            end_calls(digest)


def executors() -> int:
    """How many Executors have slots here."""
    return len(_slots)


def kept_keys(digest: str) -> list[str]:
    """The calls that this worker has, by key."""
    return _slots[digest].keys() if digest in _slots else []


def finished(digest: str, keys: Sequence[str], drop: Sequence[str]) -> Taken:
    """See `FarSlots.finished`."""
    return _slots[digest].finished(keys, drop=drop) if digest in _slots else Taken(plain(pack_outcomes([], {})), [])


def partly(digest: str, name: Name) -> Partly:
    """What has come of a bundle of this worker so far."""
    return _slots[digest].partly(name) if digest in _slots else Partly(Frame({}), [], known=False)


@holds_a_slot
def run_calls(
    digest: str, name: Name, header: bytes, functions: Sequence[str], out: Sequence[int], *values: Buffer
) -> Partly:
    """Execute a bundle of calls on this worker's slots.

    Args:
        digest: of the Executor.
        name: of the bundle.
        header: of the calls' frame, as JSON; see `slot.calls.batch.pack_calls`.
        functions: digests of functions whose pickles come first in `values`.
        out: see `FarSlots.execute`.
        values: these pickles, then the frame's buffers.

    Raises:
        NoCallSlotsError: the worker has none for this Executor.
        Exception: no call can be executed here; see `slot.calls.runner.Runner.execute`.
    """
    if digest not in _slots:
        raise NoCallSlotsError
    slots, worker = _slots[digest], get_worker()
    for function, pickled in zip(functions, values, strict=False):
        slots.pool.add_function(function, bytes(pickled))
    engine, number = name

    def tell(what: str) -> None:
        worker.log_event(TOPIC, {"engine": engine, "number": number, "what": what, "address": worker.address})

    tell("begins")  # counted by the engine: a bundle that begins twice was lost once
    # Of a bundle that begins again after its worker was lost, what was told before is not executed again.
    told = sync(worker.loop, worker.scheduler.get_metadata, keys=told_place(name), default=())
    calls = [
        call for call in unpack_calls(Frame(json.loads(header), values[len(functions) :])) if call.index not in told
    ]
    return slots.execute(name, calls, out=out, stalled=lambda: tell("stalls"))
