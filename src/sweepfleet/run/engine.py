"""dask.distributed, as the driver sees it: bundles go in, packets come out, in whatever order they end."""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, cast

from distributed import Client, Status
from distributed.exceptions import WorkerStartTimeoutError

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.run.asking import asking
from sweepfleet.run.bundles import Bundle, Ended, Found, Lost, Storing
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.found_bundles import FoundBundles
from sweepfleet.run.machine_port import MachinePort, Waits
from sweepfleet.run.outcomes import Outcomes
from sweepfleet.run.share import PREFIX, engine_of, share
from sweepfleet.run.sharing import Sharing
from sweepfleet.run.shortage import stalled
from sweepfleet.run.slots import STARTED_TOPIC, Here, Slots, Started, here, ready, run_bundle
from sweepfleet.slot.context import Context
from sweepfleet.slot.source import Start

IDLE_S = 20.0  # for a bundle to come to an idle runner, which takes dask a millisecond
SLOTS_KNOWN_S = 2.0  # how long a count of the cluster's slots is believed
LOOK_S = 0.2  # between two looks whether workers have come back
MOST_OUT = 32  # uncommitted bundles that workers are told about; see `Held.committed`


class Engine:
    """A scheduler whose workers have the sweep's runners."""

    def __init__(
        self,
        client: Client,
        context: Context,
        machine: MachinePort,
        *,
        slots: int | None = None,
        patience_s: float = 0,
        most_workers: int | None = None,
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """Give every worker its runners and wait for them.

        Args:
            client: connected to the scheduler.
            context: of the sweep.
            machine: what its workers are on.
            slots: how many runners there are; None: as many as the workers have threads, counted now and then.
            patience_s: how long to wait for the first worker.
            most_workers: of the scheduler's, that it uses; None: all.
            idle: whether no runner works, where that can be seen from here.

        Raises:
            UsageError: a worker refuses the target.
            ClusterError: there is no worker, or scheduler or worker went away meanwhile.
        """
        self._client = client
        self._digest, self._cpus = context.digest, context.cpus
        # In its bundles' names: those of a driver that was killed may run still, and dask takes a task of the same
        # name for the same task.
        self.name = uuid.uuid4().hex
        self._flying: dict[int, Bundle] = {}
        self._outcomes = Outcomes(client, lambda number: self._events.put(("ended", number)))
        self._starts: Counter[int] = Counter()
        self._since: dict[int, float] = {}  # by bundle that has a runner: time.monotonic() when it got it
        self.lost_s = 0.0  # slot time of bundles that were lost with their worker
        self._storing: dict[int, tuple[float, Waits]] = {}  # by bundle whose files are not stored: unix time since
        self._failure: BaseException | None = None  # met beside results that had to be delivered first
        self._events: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._slots = (-math.inf, 0) if slots is None else (math.inf, slots)
        # Of an engine that is not in this process: other runs may be there.
        self.sharing = Sharing(client, context.digest, cpus=context.cpus) if slots is None else None
        self._held = FoundBundles(client, context.digest)
        self._most_workers = most_workers
        self._share: tuple[str, ...] = ()  # the workers that it uses; empty: all
        self._pinned: dict[int, str] = {}  # by bundle that a worker has already: that worker's address
        self._idle = idle
        self._idle_s = 0.0  # for how long bundles have been out and no runner has worked
        with asking():
            if patience_s:
                with contextlib.suppress(WorkerStartTimeoutError):
                    client.wait_for_workers(1, timeout=patience_s)
            client.register_plugin(Slots(context, machine))
            answers = client.run(ready, self._digest)
        if not answers:
            raise ClusterError("The scheduler has no workers. Start some, then run the same command again.")
        for answer in answers.values():
            if answer.refusal is not None:
                raise UsageError(answer.refusal)
        self.goes_on = False  # whether a driver comes in this one's place: then the runners stay
        self.start = _together([answer.start for answer in answers.values()])
        client.subscribe_topic(STARTED_TOPIC, lambda event: self._started(event[1]))
        self._held.listen()

    @property
    def slots(self) -> int:
        """How many points can run at once now. Raises ClusterError when the scheduler is gone."""
        known_s, slots = self._slots
        if time.monotonic() - known_s > SLOTS_KNOWN_S:
            with asking():
                threads: dict[str, int] = self._client.nthreads()
                self._share = self._shared(threads)
            mine = [threads[one] for one in self._share] if self._share else threads.values()
            slots = sum(max(1, each // self._cpus) for each in mine)
            self._slots = (time.monotonic(), slots)
            for number, address in list(self._pinned.items()):
                if address not in threads:
                    self._events.put(("gone", number))
        return slots

    def _shared(self, threads: Collection[str]) -> tuple[str, ...]:
        """The workers that it uses, where there are more than it may use; else none are named.

        One that takes no more bundles is not one of them where others are there: its replacement may have come.
        """
        if self._most_workers is None or len(threads) <= self._most_workers:
            return ()
        told = self._client.scheduler_info(n_workers=-1)["workers"]
        takes = [one for one in threads if one in told and told[one]["status"] == Status.running.name]
        processing = self._client.processing()
        engines = {worker: {engine_of(key) for key in processing.get(worker, ())} for worker in takes or threads}
        return share(engines, me=self.name, before=self._share, most=self._most_workers)

    def take_over(self, engines: Collection[str], *, slots: int, patience_s: float) -> None:
        """Find the bundles that workers keep for drivers that died; see `found`.

        Args:
            engines: the names of their engines.
            slots: how many there were. Until as many are there again, workers are on their way back.
            patience_s: how long to wait for them. One that comes later tells by itself what it holds.

        Raises:
            ClusterError: the scheduler is gone.
        """
        self._held.of(engines)
        end_s = time.monotonic() + patience_s
        while self.slots < slots and time.monotonic() < end_s:
            time.sleep(LOOK_S)
            self._slots = (-math.inf, 0)
        self._held.ask()

    def found(self) -> list[Found]:
        """The bundles of dead drivers that were found on workers since the last call."""
        return self._held.new()

    @property
    def flying(self) -> int:
        """The number of bundles in flight."""
        return len(self._flying)

    @property
    def running(self) -> tuple[int, float]:
        """How many bundles have a slot, and the seconds that the longest of them has had it."""
        since = list(self._since.values())
        return len(since), time.monotonic() - min(since) if since else 0.0

    @property
    def storing(self) -> Storing:
        """The bundles whose points have ended and whose files are not stored yet."""
        found = list(self._storing.values())
        return Storing(
            points=sum(waits.points for _, waits in found),
            apart=sum(waits.apart for _, waits in found),
            since=min((since for since, _ in found), default=0.0),
            why=next((waits.why for _, waits in found if waits.why), ""),
        )

    @property
    def begun(self) -> list[Bundle]:
        """The bundles that have a slot."""
        flying = [self._flying.get(number) for number in list(self._since)]
        return [each for each in flying if each is not None]

    @contextlib.contextmanager
    def in_this_process(self) -> Iterator[None]:
        """Context in which workers of this process report bundles and return results directly to the engine."""
        here[self.name] = Here(self._started, self._handed)
        try:
            yield
        finally:
            del here[self.name]

    def submit(self, bundle: Bundle) -> None:
        """Send a bundle, or take over one that was found on a worker.

        All that `wait` has returned before is committed. Raises ClusterError when the scheduler is gone.
        """
        found = bundle.found
        self._starts[bundle.number] = 1 if found else 0
        if found:
            self._pinned[bundle.number] = found.address
        where: dict[str, Any] = {"workers": [found.address]} if found else {}
        if self._share and not found:  # others only where all of these are gone
            where = {"workers": list(self._share), "allow_other_workers": True}
        self._send(bundle, f"{PREFIX}{self.name}-{bundle.number}", **where)

    def _send(self, bundle: Bundle, key: str, **where: Any) -> None:
        number = bundle.number
        with asking():
            future = self._client.submit(
                run_bundle,
                self._digest,
                bundle.spans,
                bundle.shuffle,
                bundle.limit_s,
                (self.name, number),
                before=bundle.found.name if bundle.found else None,
                out=first_out(self._flying, number),
                key=key,
                pure=False,
                **where,
            )
        self._flying[number] = bundle
        self._outcomes.follow(number, future)

    def wait(self, timeout_s: float) -> list[Ended | Lost]:
        """The next events: at least one, unless `timeout_s` passes without any.

        Raises:
            ClusterError: the scheduler is gone, and the bundles in flight with it.
            BrokenSweepError: a worker cannot go on.
            ShortageError: bundles are out, and no runner has worked for a while.
        """
        if self._failure is not None:
            raise self._failure
        news: list[tuple[str, int]] = []
        with contextlib.suppress(queue.Empty):
            news.append(self._events.get(timeout=timeout_s))
            while True:
                news.append(self._events.get_nowait())
        # The time that was to be waited, not the clock's: a process that was stopped meanwhile has waited once.
        self._idle_s = self._idle_s + timeout_s if not news and self._flying and self._idle() else 0.0
        if self._idle_s > IDLE_S:
            raise stalled(len(self._flying))
        events = []
        for what, number in news:
            try:
                event = self._event(what, number)
            except SweepfleetError as error:
                self._failure = error
            else:
                events += [] if event is None else [event]
        if self._failure is not None and not events:
            raise self._failure
        return events

    def _event(self, what: str, number: int) -> Ended | Lost | None:
        if number not in self._flying:
            return None
        bundle = self._flying[number]
        if what == "lost":
            return Lost(bundle, self._starts[number] - 1)
        if what == "gone":
            if self._pinned.pop(number, None) is not None and number not in self._outcomes:
                self._send(bundle, f"{PREFIX}{self.name}-{number}-again")
            return None
        if number not in self._outcomes:
            return None
        del self._flying[number]
        self._forget(number)
        return Ended(bundle, self._outcomes.take(number))

    def _forget(self, number: int) -> None:
        self._starts.pop(number, None)
        self._since.pop(number, None)
        self._storing.pop(number, None)
        self._pinned.pop(number, None)

    def _handed(self, number: int, packet: bytes) -> None:
        # Not `_flying`: a quick bundle may end before `submit` has got its future.
        if number in self._starts:
            self._outcomes.hand(number, packet)

    def _started(self, message: Started) -> None:
        number = message["number"]
        if message["engine"] == self.name and isinstance(number, int) and number in self._starts:
            if message.get("runs"):
                self._since[number] = time.monotonic()
                return
            since_s = self._since.pop(number, None)
            if waits := message.get("waits"):
                since, _ = self._storing.get(number, (time.time(), None))
                self._storing[number] = since, Waits(**cast(dict[str, Any], waits))
                return
            self._storing.pop(number, None)
            self._starts[number] += 1
            if self._starts[number] > 1:
                self.lost_s += time.monotonic() - since_s if since_s is not None else 0.0
                self._events.put(("lost", number))

    def close(self) -> None:
        """Ask the workers no more."""
        if self.sharing is not None:
            self.sharing.close()

    def cancel(self, bundle: Bundle) -> None:
        """Cancel a bundle; its result is dropped."""
        self._forget(bundle.number)
        self._flying.pop(bundle.number, None)
        self._outcomes.drop(bundle.number)


def first_out(flying: Iterable[int], number: int) -> list[int]:
    """The first bundles that are not committed, for `Held.committed`, as `number` is sent after those in flight.

    No later one than the first ones: what lies between them and a later one is in flight, too.
    """
    return [*itertools.islice(flying, MOST_OUT), number][:MOST_OUT]


def _together(starts: Sequence[Start]) -> Start:
    """How all workers' slots were started."""
    ways = {start.how for start in starts}
    against = dict.fromkeys(reason for start in starts for reason in start.against)
    return Start(ways.pop() if len(ways) == 1 else "fork and spawn", tuple(against))
