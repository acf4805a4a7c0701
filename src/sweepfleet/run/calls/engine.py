"""dask.distributed as the engine of calls on this machine: one task a bundle, on the one worker in this process."""

from __future__ import annotations

import contextlib
import functools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from distributed import Client, Future

from sweepfleet.run.asking import asking
from sweepfleet.run.calls.port import Broke, Event, Finished, GivenBack, Resized
from sweepfleet.run.engines import client_here
from sweepfleet.slot.calls.batch import Call, Outcome
from sweepfleet.slot.calls.pool import Pool
from sweepfleet.slot.calls.runner import InitializerError, SlotClosedError
from sweepfleet.slot.calls.spec import Spec

LOOK_S = 0.2  # between two looks whether it has been closed
AHEAD = 2  # bundles a slot that are out: one waits, so that no slot does


class _Bundle(NamedTuple):
    """What a task needs, which dask does not have to carry within one process."""

    engine: HereEngine
    number: int
    calls: Sequence[Call]


_bundles: dict[tuple[str, int], _Bundle] = {}


class HereEngine:
    """A `CallsEngine` of this process."""

    def __init__(self, client: Client, pool: Pool, tell: Callable[[Event], None], *, durable: bool) -> None:
        self._client, self._pool, self._tell, self._durable = client, pool, tell, durable
        self._name = uuid.uuid4().hex
        self._futures: dict[int, Future] = {}
        self._closed = threading.Event()

    def add_function(self, digest: str, pickled: bytes) -> None:
        """See `CallsEngine`."""
        self._pool.add_function(digest, pickled)

    def forget_function(self, digest: str) -> None:
        """See `CallsEngine`."""
        self._pool.forget_function(digest)

    def submit(self, number: int, calls: Sequence[Call]) -> None:
        """See `CallsEngine`."""
        _bundles[self._name, number] = _Bundle(self, number, calls)
        with asking():
            future = self._client.submit(
                execute_here, self._name, number, key=f"calls-{self._name}-{number}", pure=False
            )
        self._futures[number] = future
        future.add_done_callback(functools.partial(self._done, number))

    def _done(self, number: int, future: Future) -> None:
        self._futures.pop(number, None)
        if future.status == "error" and not self._closed.is_set():
            error = future.exception()
            kind = "initializer" if isinstance(error, InitializerError) else "driver"
            self._tell(Broke(kind, str(error) or repr(error)))

    def execute(self, bundle: _Bundle) -> None:
        """Execute a bundle, in a thread of dask's worker."""

        def finish(outcomes: Sequence[Outcome]) -> None:
            kept = threading.Event()
            self._tell(Finished(bundle.number, outcomes, kept.set))
            while self._durable and not kept.wait(LOOK_S):
                if self._closed.is_set():  # the outcomes stay in the mailbox
                    raise SlotClosedError

        def give_back(left: Sequence[Call]) -> None:
            if left:
                self._tell(GivenBack([call.index for call in left]))

        self._pool.execute(bundle.calls, finish, give_back)

    def close(self) -> None:
        """End all calls, now."""
        self._closed.set()
        self._pool.close()
        for key in [key for key in _bundles if key[0] == self._name]:
            del _bundles[key]


def execute_here(engine: str, number: int) -> None:
    """The one task: execute a bundle of this process's engine."""
    if (bundle := _bundles.pop((engine, number), None)) is not None:
        with contextlib.suppress(SlotClosedError):
            bundle.engine.execute(bundle)


@contextlib.contextmanager
def engine_here(spec: Spec, tell: Callable[[Event], None], *, slots: int) -> Iterator[HereEngine]:
    """An engine on this machine's cores; in the end every process that it started has ended."""
    pool = Pool(spec, slots=slots)  # before dask's own start: its first process starts meanwhile
    try:
        with client_here(threads=AHEAD * slots) as client:
            engine = HereEngine(client, pool, tell, durable=spec.mailboxes is not None)
            tell(Resized(slots, AHEAD))
            try:
                yield engine
            finally:
                engine.close()  # first, so that no thread of dask's waits for a call
    finally:
        pool.close()
