"""dask.distributed as the engine of calls on a cluster: one task a bundle, on whichever worker dask chooses."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future

from sweepfleet.grid.wording import counted
from sweepfleet.run.asking import GONE, asking
from sweepfleet.run.calls.far_slots import (
    TOPIC,
    CallSlots,
    NoCallSlotsError,
    Partly,
    Taken,
    end_calls,
    finished,
    kept_keys,
    partly,
    plain,
    plugin_name,
    run_calls,
    told_place,
)
from sweepfleet.run.calls.port import Broke, Event, Finished, GivenBack, Resized
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.engines import client_of, retire
from sweepfleet.run.machine_port import MachinePort
from sweepfleet.slot.calls.batch import Call, Failure, Outcome, pack_calls, unpack_outcomes
from sweepfleet.slot.calls.runner import InitializerError
from sweepfleet.slot.calls.spec import Spec

AHEAD = 2  # bundles a slot that are out: one waits where it will be executed
LOOK_S = 1.0  # between two looks at the number of slots
INLINE_BYTES = 1 << 14  # a larger function is a task of its own, which dask brings to each worker once
MOST_OUT = 32  # uncommitted bundles that workers are told about
SPLIT_AFTER = 3  # losses of its machine after which a bundle's calls are executed one by one
MOST_LOSSES = 20  # of machines that one call is tried on, as `infra_retries` of sweeps
WORKERS_BACK_S = 30.0  # for workers to come back to a new scheduler; as `run.handover.PATIENCE_S`


@dataclass(slots=True)
class _Out:
    """A bundle that is out."""

    calls: dict[int, Call]  # by index; those without an outcome
    future: Future | None = None
    begun: int = 0  # times that a worker has begun it
    losses: int = 0  # of machines, before it was split
    told: set[int] = field(default_factory=set)  # indexes of calls that have ended or were given back


@dataclass(slots=True)
class _Found:
    """The calls that a worker has for a driver that died."""

    keys: set[str]
    calls: dict[str, Call] = field(default_factory=dict)  # by key: those that were asked for again
    committed: list[str] = field(default_factory=list)


class FarEngine:
    """A `CallsEngine` on a scheduler's workers; thread-safe."""

    def __init__(
        self,
        client: Client,
        digest: str,
        spec: Spec,
        tell: Callable[[Event], None],
        *,
        max_workers: int | None = None,
        hoped: int = 1,
        ahead: int = AHEAD,
    ) -> None:
        """Its slots are registered already: see `far_engine`.

        Args:
            client: connected to the scheduler.
            digest: of the Executor.
            spec: of its slots.
            tell: gets events.
            max_workers: calls at once; None: as many as there are slots.
            hoped: the slots that are told while there are none yet, so that calls come and workers are asked for.
            ahead: bundles a slot that the client may have out.
        """
        self._client, self._digest, self._cpus, self._tell = client, digest, spec.cpus, tell
        self._max_workers, self._hoped, self._ahead = max_workers, hoped, ahead
        self._waiting: deque[Sequence[Call]] = deque()  # bundles beyond `max_workers`
        self.name = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._out: dict[int, _Out] = {}
        self._uncommitted: dict[int, None] = {}  # numbers of bundles, ascending
        self._functions: dict[str, bytes | Future] = {}
        self._found: dict[str, _Found] = {}  # by the worker's address
        self._stalls: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self.slots = self.workers = 0  # now
        self._told = False
        client.subscribe_topic(TOPIC, lambda event: self._heard(event[1]))
        self._threads = [
            threading.Thread(target=each, name="calls", daemon=True) for each in (self._follow_stalls, self._count_on)
        ]
        self._count()
        for thread in self._threads:
            thread.start()

    def add_function(self, digest: str, pickled: bytes) -> None:
        """See `CallsEngine`."""
        self._functions[digest] = pickled

    def forget_function(self, digest: str) -> None:
        """See `CallsEngine`."""
        self._functions.pop(digest, None)

    def take_over(self, *, slots: int, patience_s: float) -> None:
        """Find the calls that workers have for a driver that died.

        Args:
            slots: how many there were. Until as many are there again, workers are on their way back.
            patience_s: how long to wait for them.

        Raises:
            ClusterError: the scheduler is gone.
        """
        end_s = time.monotonic() + patience_s
        while self._count() < slots and time.monotonic() < end_s:
            time.sleep(0.2)
        with asking():
            found: dict[str, list[str]] = self._client.run(kept_keys, self._digest, on_error="ignore")
        self._found = {address: _Found(set(keys)) for address, keys in found.items() if keys}

    def submit(self, number: int, calls: Sequence[Call]) -> None:  # noqa: ARG002 - bundles are numbered here
        """See `CallsEngine`."""
        with self._lock:
            rest = [call for call in calls if not self._is_found(call)] if self._found else calls
            full = self._max_workers is not None and self._at_once >= self._max_workers
            if rest and full:
                self._waiting.append(rest)
        if rest and not full:
            self._send(rest)

    @property
    def settled(self) -> bool:
        """See `run.calls.far.FarCallsEngine`."""
        with self._lock:
            return not any(found.calls for found in self._found.values())

    @property
    def _at_once(self) -> int:
        return len(self._out) + sum(len(found.calls) for found in self._found.values())

    def _is_found(self, call: Call) -> bool:
        """Whether a worker has a call already; then what has come of it is taken from there."""
        for found in self._found.values():
            if call.key in found.keys:
                found.calls[call.key or ""] = call
                return True
        return False

    def _take_found(self, threads: Container[str]) -> None:
        """Take what has ended of the calls that workers have for a driver that died. Raises ClusterError."""
        for address, found in list(self._found.items()):
            taken: Taken | None = None
            if address in threads:
                with self._lock:
                    keys, drop = list(found.calls), found.committed[:]
                if not keys and not drop:
                    continue
                with asking():
                    answers = self._client.run(finished, self._digest, keys, drop, workers=[address])
                taken = answers.get(address)
            with self._lock:
                if taken is None:
                    del self._found[address]
                    lost, outcomes = list(found.calls.values()), []
                else:
                    outcomes = [each for each in unpack_outcomes(taken.outcomes) if each.key in found.calls]
                    outcomes = [replace(each, index=found.calls.pop(each.key or "").index) for each in outcomes]
                    lost = [found.calls.pop(key) for key in keys if key in found.calls and key not in taken.active]
                    found.keys.difference_update(
                        [each.key or "" for each in outcomes], [each.key or "" for each in lost]
                    )
                    found.committed = [key for key in found.committed if key not in drop]
            if outcomes:
                committed = [each.key or "" for each in outcomes]
                self._tell(Finished(-1, outcomes, functools.partial(found.committed.extend, committed)))
            for call in lost:
                self._send([call])

    def _send_next(self) -> None:
        """Send the next of the bundles that wait, when one has ended. Never raises: the other futures say why."""
        with self._lock:
            if not self._waiting or self._at_once >= (self._max_workers or 1):
                return
            calls = self._waiting.popleft()
        with contextlib.suppress(ClusterError):
            self._send(calls)

    def _send(self, calls: Sequence[Call], *, losses: int = 0) -> None:
        frame = plain(pack_calls(calls, {}))
        digests = list(dict.fromkeys(call.function for call in calls))
        with self._lock:
            number = next(self._numbers)
            out = self._out[number] = _Out({call.index: call for call in calls}, losses=losses)
            self._uncommitted[number] = None
            told = [*itertools.islice(self._uncommitted, MOST_OUT)]
        with asking():
            future = self._client.submit(
                run_calls,
                self._digest,
                (self.name, number),
                json.dumps(frame.header).encode(),  # as one object, which dask does not look through
                digests,
                told,
                *(self._function(each) for each in digests),
                *frame.buffers,
                key=f"calls-{self.name}-{number}",
                pure=False,
            )
        out.future = future
        future.add_done_callback(functools.partial(self._done, number))

    def _function(self, digest: str) -> bytes | Future:
        found = self._functions[digest]
        if isinstance(found, bytes) and len(found) > INLINE_BYTES:
            found = self._client.submit(bytes, found, key=f"function-{self.name}-{digest}", pure=False)
            self._functions[digest] = found
        return found

    def _done(self, number: int, future: Future) -> None:
        if number in self._out:
            self._client.loop.add_callback(self._fetch, number, future)

    async def _fetch(self, number: int, future: Future) -> None:
        """Bring a result here, in the client's loop: dask says only once that a task has ended."""
        try:
            found: Partly = await future
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told
            if number in self._out and not self._closed.is_set():
                self._tell(_broke(error, future))
            return
        with self._lock:
            out = self._out.pop(number, None)
        if out is not None:
            self._tell_of(number, found, told=out.told, kept=functools.partial(self._committed, number))
            self._stalls.put((-1, ""))

    def _tell_of(self, number: int, found: Partly, *, told: Container[int], kept: Callable[[], None]) -> None:
        """Tell what is news of a bundle."""
        outcomes = [outcome for outcome in unpack_outcomes(found.outcomes) if outcome.index not in told]
        self._tell(Finished(number, outcomes, kept))
        if left := [index for index in found.left if index not in told]:
            self._tell(GivenBack(left))

    def _committed(self, number: int) -> None:
        with self._lock:
            self._uncommitted.pop(number, None)

    def _heard(self, message: dict[str, Any]) -> None:
        """Handle what a worker says of a bundle, in the client's loop."""
        number = message["number"]
        if message["engine"] != self.name or (out := self._out.get(number)) is None:
            return
        if message["what"] == "stalls":
            self._stalls.put((number, message["address"]))
            return
        out.begun += 1
        losses = out.losses + out.begun - 1
        if (len(out.calls) > 1 and losses >= SPLIT_AFTER) or losses > MOST_LOSSES:
            self._stalls.put((number, ""))

    def _follow_stalls(self) -> None:
        """Get what has finished of bundles in which one call takes long, in a thread that may wait for workers."""
        while (found := self._stalls.get()) is not None:
            number, address = found
            with contextlib.suppress(ClusterError, *GONE):  # the bundle's own future says so
                if address:
                    self._split(number, address)
                elif number >= 0:
                    self._lose(number)
                self._send_next()

    def _split(self, number: int, address: str) -> None:
        """Tell what has ended of a bundle, and which of its calls have not begun, while one of them takes long."""
        with asking():
            answers = self._client.run(partly, self._digest, (self.name, number), workers=[address])
        found: Partly | None = answers.get(address)
        if found is None or not found.known:
            return
        outcomes = unpack_outcomes(found.outcomes)
        with self._lock:
            out = self._out.get(number)
            if out is None:
                return
            before = set(out.told)
            out.told |= {*(outcome.index for outcome in outcomes), *found.left}
            told = sorted(out.told)
        with asking():  # before anybody knows: should the worker be lost, dask begins the bundle again
            self._client.set_metadata(told_place((self.name, number)), told)
        self._tell_of(number, found, told=before, kept=lambda: None)

    def _lose(self, number: int) -> None:
        """Execute the calls of a bundle one by one, or give up the one that it has: machines die with it."""
        with self._lock:
            out = self._out.pop(number, None)
            self._uncommitted.pop(number, None)
        if out is None:
            return
        if out.future is not None:
            out.future.cancel()
        losses = out.losses + max(0, out.begun - 1)
        if losses <= MOST_LOSSES:
            for index, call in out.calls.items():
                if index not in out.told:
                    self._send([call], losses=losses)
            return
        why = Failure("MachineLost", f"The machine that ran it was lost {counted(losses, 'time')}.")
        lost = [Outcome(call.index, why, key=call.key) for call in out.calls.values() if call.index not in out.told]
        self._tell(Finished(number, lost))

    def _count_on(self) -> None:
        while not self._closed.wait(LOOK_S):
            with contextlib.suppress(ClusterError):  # the futures say so
                self._count()

    def _count(self) -> int:
        """Count the slots, and tell when they have changed. Raises ClusterError."""
        with asking():
            threads: dict[str, int] = self._client.nthreads()
        slots = sum(max(1, each // self._cpus) for each in threads.values())
        self._take_found(threads)
        if (slots, len(threads)) != (self.slots, self.workers) or not self._told:
            self.slots, self.workers, self._told = slots, len(threads), True
            usable = min(slots or self._hoped, self._max_workers or slots or self._hoped)
            self._tell(Resized(usable, self._ahead))
        return slots

    def close(self) -> None:
        """Follow nothing any more."""
        self._closed.set()
        self._stalls.put(None)
        with contextlib.suppress(*GONE):
            self._client.set_metadata([TOPIC, self.name], {})
        for thread in self._threads:
            thread.join()


def _broke(error: BaseException, future: Future) -> Broke:
    if isinstance(error, InitializerError):
        return Broke("initializer", str(error))
    if future.status != "error" or isinstance(error, NoCallSlotsError):
        return Broke("cluster", "The connection to the scheduler broke.")
    return Broke("driver", f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def far_engine(
    spec: Spec,
    tell: Callable[[Event], None],
    *,
    address: str,
    digest: str,
    root: Path,
    machine: MachinePort,
    max_workers: int | None = None,
    hoped: int = 1,
    ahead: int = AHEAD,
    slots_before: int = 0,
    stays: Callable[[], bool] = lambda: False,
) -> Iterator[FarEngine]:
    """An engine on a running scheduler, with or without workers.

    Args:
        spec: of the slots.
        tell: gets events, from whichever thread.
        address: the scheduler's.
        digest: of the Executor: a driver that comes in this one's place has the same.
        root: the release's folder, on the workers.
        machine: what the workers are on.
        max_workers: calls at once.
        hoped: see `FarEngine`.
        ahead: likewise.
        slots_before: that a driver had which died; what its workers have is found.
        stays: whether a driver comes in this one's place, which did not end normally; then the slots stay.

    Raises:
        ClusterError: nothing answers there, or a worker cannot get the code.
    """
    with client_of(address) as client:
        try:
            with asking():
                client.register_plugin(CallSlots(digest, spec, root=root, machine=machine))
            limits: dict[str, Any] = {"max_workers": max_workers, "hoped": hoped, "ahead": ahead}
            with contextlib.closing(FarEngine(client, digest, spec, tell, **limits)) as engine:
                if slots_before:
                    engine.take_over(slots=slots_before, patience_s=WORKERS_BACK_S)
                yield engine
        except BaseException:
            if not stays():
                retire(client, plugin_name(digest), end_calls, digest)
            raise
        else:
            retire(client, plugin_name(digest), end_calls, digest)
