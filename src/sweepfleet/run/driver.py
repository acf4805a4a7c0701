"""The driver: keeps all slots busy, handles failures, and commits to the ledger before it shows progress."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Execution, Metric
from sweepfleet.grid.wording import counted
from sweepfleet.run.attempts import Attempts
from sweepfleet.run.bundles import Bundle, Ended, Found, Lost, Pending, Sizer, Span
from sweepfleet.run.early_stop import OneCause
from sweepfleet.run.engine_port import EnginePort
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.live_metric import LiveMetric
from sweepfleet.run.rows import Rows, rows_of
from sweepfleet.run.run_progress import Progress, Stop
from sweepfleet.run.slot_use import SlotUse
from sweepfleet.run.unfinished import Unfinished
from sweepfleet.run.writing import Batch, Unwritten, Writing
from sweepfleet.slot.records import RECORD, TEXT_SCHEMA, Packet, Segment, Status, drop, error_payload

WINDOW = 2  # bundles in flight for each slot: one runs, the other waits where it will end
TICK_S = 0.2
MAX_RETRYING = 1000  # points waiting for another try, before new ones wait for them
SPLIT_AFTER = 3  # losses after which a bundle's points run one by one
GRACE_S = 3.0  # for what is in flight when the user stops the sweep

JUDGED_S = 60.0  # after which the first points' time is known, when they are long
JUDGED_POINTS = 10  # a slot, when they are short: the first ones load and compile things
QUIET_S = 5.0  # without a result, after which it is shown what runs


@dataclass
class Driver:
    """Runs what is pending; one use."""

    space: Space
    ledger: Ledger
    pending: Pending
    engine: EnginePort
    execution: Execution
    metric: Metric | None
    progress: Progress
    git_commit: str | None
    env_hash: str | None
    show: Callable[[Progress], None]
    stopped: Callable[[], Stop | None]  # why a limit outside the driver stops it
    longest_s: float | None = None  # that what is left may take at the first points' time; None: any time
    left: Unfinished = field(default_factory=Unfinished)  # by a driver that died
    printed: Callable[[list[Packet]], None] = lambda _: None  # keeps what points printed; called before they count
    committed: Callable[[Sequence[Batch]], None] = lambda _: None  # called when these have been committed
    _judged: bool = False
    _singles: deque[int] = field(default_factory=deque)  # of bundles that were lost too often
    _restarts: dict[int, int] = field(default_factory=dict)  # by bundle: times that its machine went away
    _numbers: int = 0
    _flying: int = 0  # points in flight
    _exhausted: bool = False

    def run(self) -> Stop | None:
        """Run until nothing is left or the user or a limit stops it; returns why it stopped early."""
        self._attempts = Attempts(self.execution.retries)
        self._live = LiveMetric(self.space, self.metric, self.ledger, self.progress) if self.metric else None
        self._slot_use = SlotUse(self.engine)
        self._one_cause = OneCause(enabled=self.execution.max_fails is None and not self.progress.done)
        self._writing = Writing(self.ledger, self.printed, self.git_commit, self.env_hash)
        slots = self._allowed_slots()
        self._sizer = Sizer(slots=slots, window=WINDOW, fixed=self.execution.bundle)
        self.progress.slots = slots
        stop: Stop | None = None
        looked = False
        while stop is None:
            self._fill()
            if not looked:  # while the first points run
                if self._live is not None:
                    self._live.look_back()
                looked = True
            if self._ended():
                break
            self._take(self.engine.wait(self._patience_s()))
            self._write()
            self._note_silence()
            self._note_waits()
            self._slot_use.note(self.progress)
            self.show(self.progress)
            stop = self._stop()
        else:
            self._land()
            if self._ended(look=True):
                stop = None  # the last points ended meanwhile: nothing was cut short
        self._slot_use.add_up(self.progress, last=True)
        if stop is None and self._live is not None and self._live.is_missing(ended=True):
            return "metric"
        return stop

    def _note_silence(self) -> None:
        """After a while without a result, note what is running."""
        progress = self.progress
        heard_s = progress.last_result_s or progress.first_submit_s
        quiet = heard_s is not None and time.time() - heard_s >= QUIET_S
        progress.running, progress.longest_s = self.engine.running if quiet else (0, 0.0)

    def _note_waits(self) -> None:
        """Note what finished points wait for: the bucket, or room on the disk."""
        storing = self.engine.storing
        found = [(str(storing), storing.since)] if storing.points else []
        found += [self._writing.waits] if self._writing.waits else []
        self.progress.waits = " · ".join(said for said, _ in found)
        self.progress.paused = bool(self._writing) and not self.engine.flying
        self.progress.waits_since = min((since for _, since in found), default=None)

    def _ended(self, *, look: bool = False) -> bool:
        """Whether nothing is left; `look` reads further points."""
        if look and not self._exhausted:
            more = self.pending.take(1)
            self.pending.give_back(more)
            self._exhausted = not more
        return self._exhausted and not (self.engine.flying or self._attempts.due or self._singles or self._writing)

    def _allowed_slots(self) -> int:
        slots = max(1, self.engine.slots)
        return min(slots, self.execution.max_parallel or slots)

    def _window(self) -> int:
        """How many bundles may be in flight; with `max_parallel`, none may wait in the queue."""
        slots = self._allowed_slots()
        window = slots if slots < self.engine.slots else slots * WINDOW
        return window + self.engine.storing.apart

    def _patience_s(self) -> float:
        due_s = self._attempts.due.next_due_s()
        if (
            due_s is None or self._writing or self.engine.flying >= self._window()
        ):  # a retry has to wait for room, too
            return TICK_S
        return max(0.001, min(TICK_S, due_s - time.monotonic()))

    def _stop(self) -> Stop | None:
        asked = self.stopped()
        if asked is not None:
            return asked
        failed, limit = self.progress.failed_now, self.execution.max_fails
        if failed and (self.execution.fail_fast or (limit is not None and failed >= limit)):
            return "failed"
        if (hopeless := self._one_cause.reason()) is not None:
            index, said = hopeless
            self.progress.why = (
                f"{said} (point {self.space.point(index).id}; alone, with its traceback: --test-point {index}). When "
                "it is fixed, run the same command with --retry-failed. To run the other points anyway, set your own "
                "limit: --set execution.max_fails=100"
            )
            return "cause"
        if self._live is not None and self._live.is_missing():
            return "metric"
        return "too long" if self._too_long() else None

    def _too_long(self) -> bool:
        """Whether the rest takes longer than `longest_s`; checked once, when the first points' time is known."""
        progress = self.progress
        few = progress.computed < progress.slots * (1 if progress.wall_s > JUDGED_S else JUDGED_POINTS)
        if self.longest_s is None or self._judged or few:
            return False
        self._judged = True
        return progress.left_s > self.longest_s

    def _land(self) -> None:
        """Give bundles in flight a moment to end; longer points are left for the next command."""
        self.progress.stopping = True
        end_s = time.monotonic() + GRACE_S
        while self.engine.flying and time.monotonic() < end_s:
            self._take(self.engine.wait(TICK_S))
            self.show(self.progress)
        self._write(at_once=True)
        self._note_waits()

    def _fill(self) -> None:
        self._sizer.slots = self.progress.slots = self._allowed_slots()
        if self.progress.first_submit_s is not None:
            self._slot_use.change(slots=self.progress.slots)
        window = 0 if self._writing else self._window()
        for found in [] if self._writing else self.engine.found():
            if self.pending.claim(found.spans, found.shuffle):
                self._send(self._bundle(found.spans, found.shuffle, found=found))
        while self.engine.flying < window:
            bundle = self._next()
            if bundle is None:
                break
            self._send(bundle)

    def _send(self, bundle: Bundle) -> None:
        if self.progress.first_submit_s is None:
            self._begin()
        if self.left:
            self._begin_again(bundle)
        self._flying += bundle.points
        self.engine.submit(bundle)

    def _begin_again(self, bundle: Bundle) -> None:
        """Count the points of a bundle that an earlier driver had begun: lost, unless a worker still has them."""
        begun = self.left.take(self.pending.places(bundle.spans, bundle.shuffle))
        for place in () if bundle.found else (place for start, stop in begun for place in range(start, stop)):
            self.progress.losses += 1
            self._attempts.lose(place if self.pending.shuffle is None else self.pending.index_at(place))

    def _begin(self) -> None:
        """Note when the first bundle was sent."""
        now_s = self.progress.first_submit_s = time.time()
        self._slot_use.begin(now_s, slots=self.progress.slots)

    def _next(self) -> Bundle | None:
        single = self._singles.popleft() if self._singles else self._attempts.due.take(time.monotonic())
        if single is not None:
            return self._bundle(((single, single + 1),), None)
        waiting = len(self._attempts.due)
        if self._exhausted or waiting >= MAX_RETRYING or (self._one_cause.holds and waiting):
            return None
        limit_s, spans = self._sizer.limit_s, self.pending.take(self._sizer.next(self._remaining()))
        if not spans:
            self._exhausted = True
            return None
        return self._bundle(spans, self.pending.shuffle, limit_s=limit_s)

    def _remaining(self) -> int | None:
        """The number of points not sent yet; None while their total is an estimate."""
        if not self.progress.exact:
            return None
        return max(1, self.progress.total - self.progress.done - self.progress.failed - self._flying)

    def _bundle(
        self,
        spans: tuple[Span, ...],
        shuffle: int | None,
        *,
        limit_s: float | None = None,
        found: Found | None = None,
    ) -> Bundle:
        self._numbers += 1
        return Bundle(self._numbers, spans, shuffle, limit_s, found)

    def _take(self, events: list[Ended | Lost]) -> None:
        packets = []
        ended = {event.bundle.number for event in events if isinstance(event, Ended)}
        lost: dict[int, Lost] = {}  # the last word on each bundle that is still out
        for event in events:
            if isinstance(event, Ended):
                packet = Packet.from_bytes(event.packet)
                self._landed(event.bundle, packet)
                packets.append(packet)
            else:
                self.progress.losses += event.bundle.points
                if event.bundle.number not in ended:
                    lost[event.bundle.number] = event
        for event in lost.values():
            packets += self._lost(event)
        if packets:
            self._commit(packets)

    def _landed(self, bundle: Bundle, packet: Packet) -> None:
        """Take a bundle that came back; points that it had no time for are sent again."""
        self._flying -= bundle.points
        ended = packet.attempts
        self._sizer.saw(points=ended, wall_s=packet.wall_s)
        if ended < bundle.points:
            self.pending.give_back(self.pending.places(drop(bundle.spans, ended), bundle.shuffle))
            self._exhausted = False
        times = self._restarts.pop(bundle.number, 0)
        if times:
            for index in self._indexes(bundle):
                self._attempts.lose(index, times)

    def _lost(self, event: Lost) -> Iterator[Packet]:
        """A machine was lost: dask restarts its bundle, but not without limit."""
        bundle = event.bundle
        if event.times < min(SPLIT_AFTER, self.execution.infra_retries + 1):
            self._restarts[bundle.number] = event.times
            return
        self._restarts.pop(bundle.number, None)
        self.engine.cancel(bundle)
        self._flying -= bundle.points
        for index in self._indexes(bundle):
            losses = self._attempts.lose(index, event.times)
            if losses <= self.execution.infra_retries:
                self._singles.append(index)
            else:
                yield self._given_up(index, losses)

    def _indexes(self, bundle: Bundle) -> Iterator[int]:
        for start, stop in bundle.spans:
            for place in range(start, stop):
                yield place if bundle.shuffle is None else self.pending.index_at(place)

    def _given_up(self, index: int, losses: int) -> Packet:
        point = self.space.point(index)
        payload = error_payload("MachineLost", f"The machine that ran it was lost {counted(losses, 'time')}.")
        record = RECORD.pack(
            *(index, time.time(), 0.0, bytes.fromhex(point.id), point.seed),
            *(0, len(payload), Status.FAILED, TEXT_SCHEMA),
        )
        return Packet(worker="", segments=[Segment(record, payload, {})])

    def _commit(self, packets: list[Packet]) -> None:
        batches = []
        news = Progress(0, exact=True, resumed=0)
        for packet in packets:
            for index, times in packet.losses.items():
                self._attempts.lose(index, times)
                news.losses += times
            for index in packet.unfinished:
                self._attempts.leave(index)
                news.losses += 1
            for rows in rows_of(packet):
                again = self._judge(rows, news)
                batches.append((rows, self._attempts.failed, self._attempts.lost, again))
        self._writing.add(Unwritten(packets, batches, news))
        self._write()

    def _write(self, *, at_once: bool = False) -> None:
        """Commit what has ended, then show it."""
        for one in self._writing.write(at_once=at_once):
            self._count(one.news)
            if self._live is not None:
                self._live.follow(one.batches)
            self._attempts.recorded(one.batches)
            self.committed(one.batches)

    def _judge(self, rows: Rows, news: Progress) -> set[int]:
        """The rows to try again; counts the others."""
        failures, again = self._attempts.judge(rows)
        self._one_cause.saw(failures)
        if len(rows) > len(failures):
            self._one_cause.succeeded()
        news.computed += len(rows) - len(again)
        news.failed_now += len(failures) - len(again)
        news.retried += len(again)
        news.busy_s += rows.busy_s
        return again

    def _count(self, news: Progress) -> None:
        progress = self.progress
        now_s = time.time()
        if news.computed or news.retried:
            progress.first_result_s = progress.first_result_s or now_s
            progress.last_result_s = now_s
        self._slot_use.add_up(progress)
        progress.computed += news.computed
        progress.failed_now += news.failed_now
        progress.retried += news.retried
        progress.losses += news.losses
        progress.busy_s += news.busy_s
        progress.failed += news.failed_now
        progress.done += news.computed - news.failed_now
