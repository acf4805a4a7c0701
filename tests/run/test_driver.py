"""The driver against an engine that does what a test tells it to."""

from __future__ import annotations

import contextlib
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.permutation import Permutation
from sweepfleet.grid.space import Point, Space
from sweepfleet.grid.sweep import Execution, Metric
from sweepfleet.run import attempts
from sweepfleet.run import driver as drivers
from sweepfleet.run.bundles import Bundle, Ended, Found, Lost, Pending, Storing
from sweepfleet.run.driver import Driver
from sweepfleet.run.ledger import Ledger, StorageError
from sweepfleet.run.run_progress import Progress, Stop
from sweepfleet.run.unfinished import Unfinished
from sweepfleet.slot.records import Packet, Status, drop
from tests.support import batches, space, written


@dataclass
class FakeEngine:
    """Computes packets in this process when it is waited for; loses and kills as it is told."""

    space: Space
    compute: Callable[[Point, int], Any]  # a point and how often it was run before: its result, or what it raises
    slots: int = 2
    sharing: None = None
    lost_s: float = 0.0
    events: Callable[[list[Bundle]], list[tuple[str, Bundle]]] | None = None  # what happens to those that fly
    losses_of: Callable[[Point], int] = lambda _: 0
    through: Callable[[int], int] = lambda points: points  # how many of a bundle's points it has time for
    leaves: Callable[[Point], bool] = lambda _: (
        False
    )  # whether the machine had to leave in the middle of the next one
    ran: Counter[int] = field(default_factory=Counter)
    ran_at: list[tuple[int, float]] = field(default_factory=list)
    sent: list[Bundle] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    most: int = 0
    held: list[Found] = field(default_factory=list)  # what workers hold for a driver before
    _flying: dict[int, Bundle] = field(default_factory=dict)
    _times: Counter[int] = field(default_factory=Counter)

    @property
    def flying(self) -> int:
        return len(self._flying)

    @property
    def running(self) -> tuple[int, float]:
        return min(self.flying, self.slots), 99.0

    @property
    def storing(self) -> Storing:
        return Storing()

    def submit(self, bundle: Bundle) -> None:
        assert bundle.number not in {each.number for each in self.sent}, "a number is used once"
        self._flying[bundle.number] = bundle
        self.sent.append(bundle)
        self.most = max(self.most, self.flying)

    def wait(self, timeout_s: float) -> list[Ended | Lost]:
        if not self._flying:
            time.sleep(min(timeout_s, 0.005))
            return []
        flying = list(self._flying.values())
        wanted = self.events(flying) if self.events else [("ended", flying[0])]
        found: list[Ended | Lost] = []
        for what, bundle in wanted:
            if what == "lost":
                self._times[bundle.number] += 1
                found.append(Lost(bundle, self._times[bundle.number]))
            elif bundle.number in self._flying:
                del self._flying[bundle.number]
                found.append(Ended(bundle, self._packet(bundle)))
        return found

    def found(self) -> list[Found]:
        found, self.held = self.held, []
        return found

    def cancel(self, bundle: Bundle) -> None:
        del self._flying[bundle.number]
        self.cancelled.append(bundle.number)

    def _packet(self, bundle: Bundle) -> bytes:
        index_at = (lambda place: place) if bundle.shuffle is None else Permutation(self.space.size, bundle.shuffle)
        points = [self.space.point(index_at(place)) for start, stop in bundle.spans for place in range(start, stop)]
        through = self.through(len(points))
        points, rest = points[:through], points[through:]
        outcomes = []
        for point in points:
            self.ran_at.append((point.index, time.monotonic()))
            outcomes.append((point, self.compute(point, self.ran[point.index])))
            self.ran[point.index] += 1
        losses = {point.index: times for point in points if (times := self.losses_of(point))}
        unfinished = [point.index for point in rest[:1] if self.leaves(point)]
        half = len(outcomes) // 2  # as two children would have done it
        segments = [written(part, duration_s=0.001) for part in (outcomes[:half], outcomes[half:]) if part]
        packet = Packet("fake/0", 0.001 * len(points), segments, losses, unfinished)
        return packet.to_bytes()


@contextlib.contextmanager
def ledger_of(space: Space) -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "ledger.sqlite"))
        ledger.adopt(space)
        try:
            yield ledger
        finally:
            ledger.close()


def drive(
    engine: FakeEngine,
    ledger: Ledger,
    execution: Execution | None = None,
    *,
    shuffle: int | None = None,
    metric: Metric | None = None,
    show: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], Stop | None] = lambda: None,
    retry_failed: bool = False,
    longest_s: float | None = None,
    left: Sequence[tuple[int, int]] = (),
    committed: Callable[[Sequence[Any]], None] = lambda _: None,
) -> tuple[Stop | None, Progress, Driver]:
    if retry_failed:
        ledger.redo([index for index, row in rows(ledger).items() if row[2] == Status.FAILED])
    done, failed = ledger.counts()
    progress = Progress(
        total=engine.space.size, exact=True, resumed=done, done=done, failed=0 if retry_failed else failed
    )
    driver = Driver(
        space=engine.space,
        ledger=ledger,
        pending=Pending(engine.space, ledger, shuffle=shuffle),
        engine=engine,
        execution=execution or Execution(),
        metric=metric,
        progress=progress,
        git_commit="c0ffee",
        env_hash="env",
        show=show,
        stopped=stopped,
        longest_s=longest_s,
        left=Unfinished(list(left)),
        committed=committed,
    )
    return driver.run(), progress, driver


def rows(ledger: Ledger) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row[1:] for chunk in ledger.scan(chunk=1000) for row in chunk}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.001)
    monkeypatch.setattr(drivers, "TICK_S", 0.01)
    monkeypatch.setattr(drivers, "GRACE_S", 0.05)


def half(point: Point, _: int) -> Any:
    return {"x": point.index + 0.5}


def test_what_is_told_to_be_committed_is_in_the_ledger() -> None:
    """So a point's checkpoint goes after its row has come, and every row is told of."""
    here = space({"a": range(9)})
    told: list[int] = []
    with ledger_of(here) as ledger:

        def committed(batches: Sequence[Any]) -> None:
            found = [index for one, *_ in batches for index in one.table["index"].tolist()]
            assert set(found) <= set(rows(ledger))
            told.extend(found)

        drive(FakeEngine(here, half), ledger, Execution(bundle=2), committed=committed)
    assert sorted(told) == list(range(9))


# ---- Whatever happens, each point once.


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_whatever_fails_and_whatever_is_lost_each_point_ends_once(data: st.DataObject) -> None:
    """Random failures, losses, orders, limits and resumed rows: the ledger has each point once, with the right
    end, attempts and losses, and progress says the same."""
    size = data.draw(st.integers(1, 40))
    here = space({"a": range(size)}, where=data.draw(st.sampled_from([(), ("a % 3 != 1",)])))
    indexes = [index for index in range(size) if here.exists(index)]
    some = st.sampled_from(indexes)
    fails = data.draw(st.dictionaries(some, st.integers(1, 4), max_size=6))
    killed = data.draw(st.dictionaries(some, st.integers(1, 2), max_size=4))
    before = data.draw(st.sets(some, max_size=6))
    retries = data.draw(st.integers(0, 3))
    shuffle = data.draw(st.sampled_from([None, 7]))
    chance = random.Random(data.draw(st.integers(0, 1000)))
    unlucky = data.draw(st.floats(0, 0.4))

    def compute(point: Point, times: int) -> Any:
        return ValueError("no") if times < fails.get(point.index, 0) else {"x": point.index + 0.5}

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        """Several at once, in any order, the end of a bundle right after its loss too."""
        found = []
        for bundle in chance.sample(flying, chance.randint(1, len(flying))):
            found += [("lost", bundle)] * sum(chance.random() < unlucky for _ in range(3))
            if chance.random() < 0.7:
                found.append(("ended", bundle))
        return found

    left: Counter[int] = Counter()

    def leave(point: Point) -> bool:
        left[point.index] += (leaves := chance.random() < 0.5)
        return leaves

    engine = FakeEngine(
        here,
        compute,
        events=events,
        losses_of=lambda point: killed.get(point.index, 0),
        through=lambda points: chance.randint(chance.random() < 0.8, points),
        leaves=leave,
    )
    execution = Execution(retries=retries, infra_retries=10**6, bundle=data.draw(st.sampled_from([None, 1, 5, 100])))
    shown = []
    with ledger_of(here) as ledger:
        if before:
            ledger.record(batches([(here.point(i), {"x": -1.0}) for i in sorted(before)]), git_commit="", env_hash="")

        def show(progress: Progress) -> None:
            shown.append(replace(progress))
            assert ledger.counts() == (progress.done, progress.failed), "what is shown is what is committed"

        stop, progress, driver = drive(engine, ledger, execution, shuffle=shuffle, show=show)
        found = rows(ledger)
    assert stop is None
    assert sorted(found) == indexes
    for index, row in found.items():
        if index in before:
            assert engine.ran[index] == 0, "a finished point is not run again"
            continue
        tries = min(fails.get(index, 0), retries) + 1
        failed = fails.get(index, 0) > retries
        assert (row[0], row[2], row[3]) == (here.point(index).id, Status.FAILED if failed else Status.DONE, tries)
        assert row[4] >= tries * killed.get(index, 0) + left[index]
        assert engine.ran[index] == tries
    ended = [index for index in indexes if index not in before]
    bad = [index for index in ended if fails.get(index, 0) > retries]
    assert (progress.computed, progress.failed_now, progress.failed) == (len(ended), len(bad), len(bad))
    assert progress.done == len(indexes) - len(bad)
    assert progress.retried == sum(min(fails.get(index, 0), retries) for index in ended)
    assert progress.resumed == len(before)
    assert progress.busy_s == pytest.approx(0.001 * sum(engine.ran.values()))
    assert (driver._attempts.failed, driver._attempts.lost, driver._attempts.spared) == ({}, {}, {})
    assert (len(driver._attempts.due), len(driver._singles)) == (0, 0)
    assert all(a.done + a.failed <= b.done + b.failed for a, b in itertools.pairwise(shown))


def test_a_machine_that_leaves_in_order_is_no_reason_to_give_a_point_up() -> None:
    """A point longer than AWS lets machines live: its losses are told, and do not count against `infra_retries`."""
    here = space({"a": range(3)})
    left: list[int] = []

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        """In the end three machines are lost that announced nothing."""
        if len(left) == 30 and not engine.cancelled:
            return [("lost", flying[0])] * 3
        return [("ended", flying[0])]

    engine = FakeEngine(
        here,
        half,
        events=events,
        through=lambda points: 0 if len(left) < 30 else points,
        leaves=lambda point: not left.append(point.index),  # type: ignore[func-returns-value]
    )
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(infra_retries=3, bundle=1))
        found = rows(ledger)
    assert (stop, progress.failed, progress.losses) == (None, 0, 33)
    assert {row[2] for row in found.values()} == {Status.DONE}
    assert sum(row[4] for row in found.values()) == 33


# ---- Failures.


def test_a_point_is_tried_again_and_then_failed(tmp_path: Path) -> None:
    """`retries` further attempts, all counted; the last error is kept; a success ends it at once."""
    here = space({"a": range(4)})

    def compute(point: Point, times: int) -> Any:
        return ValueError(f"try {times}") if point.index == 1 or (point.index == 2 and times < 2) else 1.0

    engine = FakeEngine(here, compute)
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(retries=2))
        found = rows(ledger)
    assert stop is None
    assert dict(engine.ran) == {0: 1, 1: 3, 2: 3, 3: 1}
    assert (found[1][2], found[1][3], found[1][-1]) == (Status.FAILED, 3, "ValueError: try 2")
    assert (found[2][2], found[2][3], found[2][-1]) == (Status.DONE, 3, None)
    assert (progress.done, progress.failed, progress.retried) == (3, 1, 4)


def test_a_retry_waits_twice_as_long_each_time_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of at least half of BACKOFF_S, doubled with each attempt and bounded; the other points go on."""
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.04)
    monkeypatch.setattr(attempts, "BACKOFF_MAX_S", 0.1)
    here = space({"a": range(30)})
    engine = FakeEngine(here, lambda point, _: ValueError() if point.index == 0 else 1.0)
    with ledger_of(here) as ledger:
        drive(engine, ledger, Execution(retries=3, bundle=1))
    times = [at for index, at in engine.ran_at if index == 0]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(pauses) == 3
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.05), strict=True))
    others = [at for index, at in engine.ran_at if index > 0]
    assert sum(at < times[1] for at in others) > 0, "other points ran during the first pause"


def test_a_lost_process_is_not_a_points_failure_to_retry() -> None:
    """ProcessLost comes after `infra_retries` already: `retries` does not start it all over."""
    here = space({"a": range(2)})
    lost = type("ProcessLost", (Exception,), {})
    engine = FakeEngine(here, lambda point, _: lost("killed") if point.index else 1.0)
    with ledger_of(here) as ledger:
        drive(engine, ledger, Execution(retries=5))
        assert rows(ledger)[1][2] == Status.FAILED
    assert engine.ran[1] == 1


def test_failed_points_are_run_again_when_asked() -> None:
    """--retry-failed runs these and no others; what they cost before is added."""
    here = space({"a": range(6)})
    with ledger_of(here) as ledger:
        drive(FakeEngine(here, lambda point, _: ValueError() if point.index % 2 else 1.0), ledger)
        engine = FakeEngine(here, half)
        stop, progress, _ = drive(engine, ledger, retry_failed=True)
        assert sorted(engine.ran) == [1, 3, 5]
        assert (stop, progress.done, progress.failed, progress.computed) == (None, 6, 0, 3)
        assert [row[3] for row in rows(ledger).values()] == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("execution", "most"), [(Execution(fail_fast=True, bundle=1), 1), (Execution(max_fails=5, bundle=1), 5)]
)
def test_a_limit_on_failures_stops_the_sweep(execution: Execution, most: int) -> None:
    """At the limit nothing new is sent; what was in flight lands and is kept."""
    here = space({"a": range(200)})
    engine = FakeEngine(here, lambda point, _: ValueError() if point.index >= 50 else 1.0)
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, execution)
        assert stop == "failed"
        assert progress.stopping
        assert most <= progress.failed_now <= most + drivers.WINDOW * engine.slots
        assert ledger.counts() == (50, progress.failed_now)
        assert sorted(rows(ledger)) == sorted(engine.ran), "all that ran is kept"
    assert len(engine.sent) < 200


def test_earlier_failures_do_not_count_against_the_limit() -> None:
    """max_fails is about this command: a resumed run is not stopped by what it found."""
    here = space({"a": range(20)})
    with ledger_of(here) as ledger:
        ledger.record(batches([(here.point(i), ValueError()) for i in range(10)]), git_commit="", env_hash="")
        stop, progress, _ = drive(FakeEngine(here, half), ledger, Execution(max_fails=3))
    assert (stop, progress.done, progress.failed) == (None, 10, 10)


@pytest.mark.parametrize("why", ["interrupted", "budget"])
def test_when_it_is_told_to_stop_what_is_in_flight_may_land(why: Stop) -> None:
    """Nothing new is sent after the wish to stop; bundles that end soon are kept, others are left."""
    here = space({"a": range(100)})
    calls = Counter[str]()

    def stopped() -> Stop | None:
        calls["asked"] += 1
        return why if calls["asked"] > 5 else None

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        return [("ended", bundle) for bundle in flying if bundle.number != 2][:1]  # the second one hangs

    engine = FakeEngine(here, half, events=events)
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1), stopped=stopped)
        assert stop == why
        assert sorted(rows(ledger)) == sorted(engine.ran)
        assert ledger.counts().done == progress.done == len(engine.sent) - 1
    assert engine.flying == 1
    assert len(engine.sent) < 100


# ---- Losses.


def test_a_bundle_that_is_lost_now_and_then_goes_on_by_itself() -> None:
    """dask has started it again: nothing is sent twice, and the losses are counted."""
    here = space({"a": range(10)})
    told: list[int] = []

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        bundle = flying[0]
        if told.count(bundle.number) < drivers.SPLIT_AFTER - 1:
            told.append(bundle.number)
            return [("lost", bundle)]
        return [("ended", bundle)]

    engine = FakeEngine(here, half, events=events)
    with ledger_of(here) as ledger:
        _, progress, _ = drive(engine, ledger, Execution(bundle=5))
        assert ledger.counts() == (10, 0)
    assert engine.cancelled == []
    assert set(engine.ran.values()) == {1}
    assert len(told) == 2 * (drivers.SPLIT_AFTER - 1)
    assert progress.losses == 5 * len(told), "of points"


def test_what_a_bundle_had_no_time_for_is_sent_again_first() -> None:
    """A bundle that comes back in parts keeps the order, and its losses stay with its points."""
    here = space({"a": range(20)})
    engine = FakeEngine(here, half, through=lambda points: min(points, 2))
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=10, max_parallel=1))
        assert ledger.counts() == (20, 0)
    assert (stop, progress.done) == (None, 20)
    assert [index for index, _ in engine.ran_at] == list(range(20))
    assert set(engine.ran.values()) == {1}


def test_a_sweep_that_ends_at_its_limit_has_ended() -> None:
    """When the last point's failure is the one too many, nothing was cut short."""
    here = space({"a": range(3)})
    engine = FakeEngine(here, lambda *_: ValueError("no"))
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1, max_fails=3, max_parallel=1))
    assert (stop, progress.failed) == (None, 3)


def test_a_bundle_that_takes_machines_down_is_split_until_the_culprit_is_alone() -> None:
    """The point whose machine always goes away fails as MachineLost; its bundle-mates are done."""
    here = space({"a": range(10)})

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        bundle = flying[0]
        bad = any(start <= 7 < stop for start, stop in bundle.spans)
        return [("lost" if bad else "ended", bundle)]

    engine = FakeEngine(here, half, events=events)
    with ledger_of(here) as ledger:
        stop, progress, driver = drive(engine, ledger, Execution(bundle=5, infra_retries=6, retries=3))
        found = rows(ledger)
    assert stop is None
    assert (progress.done, progress.failed) == (9, 1)
    assert (found[7][2], found[7][-2]) == (Status.FAILED, "MachineLost")
    assert "was lost 9 times" in found[7][-1]
    assert found[7][0] == here.point(7).id
    assert found[7][4] == 9
    assert progress.losses == 5 * 3 + 6
    assert [found[index][4] for index in (5, 6, 8, 9)] == [3] * 4, "its mates remember theirs"
    assert (driver._attempts.lost, driver._attempts.failed) == ({}, {})


def test_losses_split_a_shuffled_bundle_by_its_indexes() -> None:
    """Positions become indexes when points go on one by one."""
    here = space({"a": range(10)})

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        return [("lost" if flying[0].points > 1 else "ended", flying[0])]

    engine = FakeEngine(here, half, events=events)
    with ledger_of(here) as ledger:
        drive(engine, ledger, Execution(bundle=5), shuffle=3)
        assert ledger.counts() == (10, 0)
    assert set(engine.ran.values()) == {1}


def test_a_bundle_that_ends_as_its_last_loss_is_told_counts_once() -> None:
    """Both news may come at once: the result is taken, and the points are not sent again."""
    here = space({"a": range(6)})

    def events(flying: list[Bundle]) -> list[tuple[str, Bundle]]:
        return [*[("lost", flying[0])] * (drivers.SPLIT_AFTER + 1), ("ended", flying[0])]

    engine = FakeEngine(here, half, events=events)
    with ledger_of(here) as ledger:
        _, progress, _ = drive(engine, ledger, Execution(bundle=3))
        assert ledger.counts() == (6, 0)
    assert engine.cancelled == []
    assert set(engine.ran.values()) == {1}
    assert progress.losses == 6 * (drivers.SPLIT_AFTER + 1)


def test_without_infra_retries_the_first_loss_is_the_end() -> None:
    here = space({"a": range(2)})
    engine = FakeEngine(here, half, events=lambda flying: [("lost", flying[0])])
    with ledger_of(here) as ledger:
        drive(engine, ledger, Execution(infra_retries=0))
        assert {row[-2] for row in rows(ledger).values()} == {"MachineLost"}
    assert engine.ran == {}


# ---- What is sent, and what is told.


def test_no_more_is_out_than_the_window_allows() -> None:
    """A few bundles a slot are in flight, never all of them; with max_parallel no more than that."""
    here = space({"a": range(300)})
    for execution, most in ((Execution(bundle=1), 2 * drivers.WINDOW), (Execution(bundle=1, max_parallel=1), 1)):
        engine = FakeEngine(here, half)
        with ledger_of(here) as ledger:
            _, progress, _ = drive(engine, ledger, execution)
        assert engine.most == most
        assert progress.slots == min(2, most)


def test_points_that_wait_for_another_try_hold_new_ones_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """When everything fails, what is remembered stays bounded."""
    monkeypatch.setattr(drivers, "MAX_RETRYING", 5)
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.05)
    here = space({"a": range(60)})
    engine = FakeEngine(here, lambda _, times: ValueError() if times < 1 else 1.0)
    seen: list[int] = []
    with ledger_of(here) as ledger:
        waiting = attempts.Retries.__len__
        monkeypatch.setattr(attempts.Retries, "__len__", lambda self: seen.append(waiting(self)) or seen[-1])
        _, progress, _ = drive(engine, ledger, Execution(retries=1, bundle=1))
    assert (progress.done, progress.retried) == (60, 60)
    assert max(seen) <= 5 + 2 * drivers.WINDOW


def test_what_cannot_be_stored_is_not_told() -> None:
    """When the disk is full the error comes out, and nothing is shown that the ledger does not have."""
    here = space({"a": range(20)})
    shown: list[int] = []
    with ledger_of(here) as ledger:
        record, calls = ledger.record, Counter[str]()

        def full(*args: Any, **kwargs: Any) -> None:
            calls["record"] += 1
            if calls["record"] > 3:
                raise StorageError("full")
            record(*args, **kwargs)

        ledger.record = full  # type: ignore[method-assign]
        with pytest.raises(StorageError):
            drive(FakeEngine(here, half), ledger, Execution(bundle=2), show=lambda p: shown.append(p.done))
        assert shown[-1] == ledger.counts().done == 6


def test_the_best_point_is_the_best_of_this_command() -> None:
    """Lowest or highest as the goal says, finite, the first among equals."""
    here = space({"a": range(8)})
    found = [3.0, float("nan"), -1.0, float("-inf"), -1.0, 7.0, float("inf"), 7.0]
    for goal, best in (("minimize", (-1.0, 2, 1)), ("maximize", (-7.0, 5, 1))):
        with ledger_of(here) as ledger:
            engine = FakeEngine(here, lambda point, _: {"x": found[point.index]})
            _, progress, _ = drive(engine, ledger, Execution(bundle=1), metric=Metric("x", goal))  # type: ignore[arg-type]
            assert progress.best == best


@pytest.mark.parametrize(("quiet_s", "running"), [(0.0, 2), (3600.0, 0)])
def test_what_runs_is_told_while_no_result_comes(
    monkeypatch: pytest.MonkeyPatch, quiet_s: float, running: int
) -> None:
    """How many slots are busy and for how long, as the engine knows; nothing of it while results come."""
    monkeypatch.setattr(drivers, "QUIET_S", quiet_s)
    here, shown = space({"a": range(8)}), []
    with ledger_of(here) as ledger:
        waits = itertools.count()
        engine = FakeEngine(here, half, events=lambda flying: [("ended", flying[0])] if next(waits) % 3 == 2 else [])
        drive(engine, ledger, Execution(bundle=1), show=lambda p: shown.append((p.running, p.longest_s)))
    assert max(shown) == (running, 99.0 if running else 0.0)


def test_an_empty_sweep_ends_at_once() -> None:
    here = space({"a": range(5)}, where=("a > 9",))
    with ledger_of(here) as ledger:
        stop, progress, _ = drive(FakeEngine(here, half), ledger)
    assert (stop, progress.done, progress.wall_s, progress.efficiency) == (None, 0, 0.0, None)


def test_a_cluster_without_slots_for_a_moment_goes_on() -> None:
    """All machines may be away for a while: work is kept for them."""
    here = space({"a": range(5)})
    with ledger_of(here) as ledger:
        _, progress, _ = drive(FakeEngine(here, half, slots=0), ledger)
    assert (progress.done, progress.slots) == (5, 1)


# ---- A sweep that takes too long.


@pytest.mark.parametrize(("longest_s", "stops"), [(None, False), (1.0, False), (0.3, True)])
def test_a_sweep_that_takes_too_long_by_its_first_points_stops_once_they_have_ended(
    longest_s: float | None, *, stops: bool
) -> None:
    """A thousand points of a millisecond take half a second on two slots."""
    engine = FakeEngine(space({"a": range(1000)}), half)
    with ledger_of(engine.space) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1), longest_s=longest_s)
        done = ledger.counts().done
    assert stop == ("too long" if stops else None)
    assert done == progress.done
    if stops:
        assert drivers.JUDGED_POINTS * 2 <= done < 100
        assert progress.left_s == pytest.approx((1000 - done) * 0.001 / 2)
    else:
        assert done == 1000


def test_long_points_are_judged_when_a_minute_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "JUDGED_S", 0.0)
    engine = FakeEngine(space({"a": range(1000)}), half)
    with ledger_of(engine.space) as ledger:
        stop, progress, _ = drive(engine, ledger, Execution(bundle=1), longest_s=0.3)
    assert stop == "too long"
    assert progress.done < drivers.JUDGED_POINTS


# ---- What a driver before had in hand.


@pytest.mark.parametrize("shuffle", [None, 3])
def test_bundles_that_workers_hold_are_taken_over_and_what_they_lost_is_counted(shuffle: int | None) -> None:
    """Each is sent once and as it was; points that had begun and that nobody holds are lost, the others are not."""
    here = space({"a": range(20)})
    engine = FakeEngine(here, half)
    alone = 7 if shuffle is None else Permutation(20, shuffle)(7)  # a point that was tried again, by its index
    engine.held = [
        Found(("old", 4), ((2, 5), (9, 11)), shuffle, "tcp://worker"),
        Found(("old", 5), ((alone, alone + 1),), None, "tcp://worker"),
        Found(("old", 6), ((10, 13),), shuffle, "tcp://worker"),  # some of it is another one's
        Found(("old", 7), ((18, 21),), shuffle, "tcp://worker"),  # there are no such points
        Found(("old", 8), ((15, 16),), 99, "tcp://worker"),  # in another order
    ]
    with ledger_of(here) as ledger:
        _, progress, driver = drive(engine, ledger, shuffle=shuffle, left=[(2, 5), (9, 11), (7, 8), (13, 17)])
        found = rows(ledger)
    assert sorted(found) == list(range(20))
    assert [each.found.name[1] for each in engine.sent if each.found] == [4, 5]
    assert set(engine.ran.values()) == {1}
    at = (lambda place: place) if shuffle is None else Permutation(20, shuffle)
    assert {index for index, row in found.items() if row[4]} == {at(place) for place in range(13, 17)}
    assert progress.losses == 4
    assert (driver.left.spans, driver._attempts.lost) == ([], {})


def test_a_bundle_is_not_taken_over_if_a_point_of_it_has_ended() -> None:
    here = space({"a": range(6)})
    engine = FakeEngine(here, half)
    engine.held = [Found(("old", 1), ((1, 4),), None, "tcp://worker")]
    with ledger_of(here) as ledger:
        ledger.record(batches([(here.point(2), {"x": 1.0})]), git_commit="", env_hash="")
        drive(engine, ledger)
    assert not any(bundle.found for bundle in engine.sent)
    assert set(engine.ran) == {0, 1, 3, 4, 5}


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, 10**6))
def test_claimed_or_taken_each_point_once(seed: int) -> None:
    """Whatever is claimed between whatever is taken, and given back."""
    chance = random.Random(seed)
    size, shuffle = chance.randint(1, 40), chance.choice([None, 7])
    here = space({"a": range(size)}, where=chance.choice([(), ("a % 3 != 1",)]))
    seen: Counter[int] = Counter()
    with ledger_of(here) as ledger:
        pending = Pending(here, ledger, shuffle=shuffle)
        at = (lambda place: place) if shuffle is None else pending.index_at
        while True:
            if chance.random() < 0.5:
                start = chance.randrange(size)
                spans = [(start, start + chance.randint(1, 3))]
                if not pending.claim(spans, shuffle):
                    continue
            else:
                spans = list(pending.take(chance.randint(1, 9)))
                if not spans:
                    break
                rest = drop(spans, chance.randint(0, sum(stop - start for start, stop in spans)))
                pending.give_back(rest)
                seen.subtract(at(place) for start, stop in rest for place in range(start, stop))
            seen.update(at(place) for start, stop in spans for place in range(start, stop))
    assert seen == {index: 1 for index in range(size) if here.exists(index)}
