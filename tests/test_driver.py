"""The driver's decisions, with an engine that computes in this process and fails as it is told."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grid.space import Space
from grid.sweep import Execution, Metric
from sweep import driver as driver_module
from sweep.bundles import Bundle, Ended, Lost, Pending
from sweep.driver import Driver, Progress, Stop
from sweep.ledger import Ledger
from tests.support import grid, written
from worker.records import Packet


class FakeEngine:
    """Computes each bundle with `compute(index, attempt)`; loses bundles as `losses` says, by number."""

    def __init__(self, space: Space, compute: Callable[[int, int], Any], losses: Counter[int] | None = None) -> None:
        self.slots = 2
        self.attempts: Counter[int] = Counter()
        self.most_flying = 0
        self.bundles: list[Bundle] = []
        self._space = space
        self._compute = compute
        self._losses = losses or Counter()
        self._lost: Counter[int] = Counter()
        self._queue: deque[Bundle] = deque()
        self.index_at: Callable[[int], int] = lambda position: position

    @property
    def flying(self) -> int:
        return len(self._queue)

    def submit(self, bundle: Bundle) -> None:
        assert bundle.points > 0
        self._queue.append(bundle)
        self.bundles.append(bundle)
        self.most_flying = max(self.most_flying, self.flying)

    def cancel(self, bundle: Bundle) -> None:
        self._queue.remove(bundle)

    def wait(self, timeout_s: float) -> list[Ended | Lost]:
        if not self._queue:
            time.sleep(min(timeout_s, 0.001))
            return []
        bundle = self._queue[-1] if len(self._queue) % 2 else self._queue[0]  # out of order
        if self._losses[bundle.number] > self._lost[bundle.number]:
            self._lost[bundle.number] += 1
            return [Lost(bundle, self._lost[bundle.number])]
        self._queue.remove(bundle)
        outcomes = []
        for index in self._indexes(bundle):
            self.attempts[index] += 1
            outcomes.append((self._space.point(index), self._compute(index, self.attempts[index])))
        return [Ended(bundle, Packet("host/0", 0.01 * bundle.points, [written(outcomes)]).to_bytes())]

    def _indexes(self, bundle: Bundle) -> Iterator[int]:
        for start, stop in bundle.spans:
            for place in range(start, stop):
                yield place if bundle.shuffle is None else self.index_at(place)


class Table:
    """A driver with all that it needs."""

    def __init__(self, path: Path, points: int, compute: Callable[[int, int], Any], **rest: Any) -> None:
        self.space = Space(grid({"a": range(points)}))
        self.ledger = Ledger(path)
        self.ledger.adopt(self.space)
        self.engine = FakeEngine(self.space, compute, rest.pop("losses", None))
        self.stopped = False
        self.shown: list[tuple[int, int]] = []
        self.execution = Execution(**rest)

    def run(self, *, failed_too: bool = True) -> tuple[Stop | None, Progress]:
        done, failed = self.ledger.counts()
        shuffle = 7 if self.execution.order == "shuffled" else None
        pending = Pending(self.space, self.ledger, shuffle=shuffle, failed_too=failed_too)
        self.engine.index_at = pending.index_at
        progress = Progress(self.space.size, exact=True, resumed=done, done=done, failed=failed if failed_too else 0)
        self.driver = Driver(
            space=self.space,
            ledger=self.ledger,
            pending=pending,
            engine=self.engine,
            execution=self.execution,
            metric=Metric("x"),
            progress=progress,
            git_commit=None,
            env_hash=None,
            show=self.show,
            stopped=lambda: self.stopped,
        )
        return self.driver.run(), progress

    def show(self, progress: Progress) -> None:
        self.shown.append((progress.done + progress.failed, sum(self.ledger.counts())))

    def rows(self) -> dict[int, tuple[int, int, int]]:
        """By index: status, attempts and losses."""
        return {row[0]: (row[3], row[4], row[5]) for chunk in self.ledger.scan(chunk=1000) for row in chunk}

    def close(self) -> None:
        self.ledger.close()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Table]]:
    monkeypatch.setattr(driver_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(driver_module, "GRACE_S", 0.05)
    made: list[Table] = []

    def make(points: int, compute: Callable[[int, int], Any], **rest: Any) -> Table:
        made.append(Table(tmp_path / f"{len(made)}.sqlite", points, compute, **rest))
        return made[-1]

    yield make
    for each in made:
        each.close()


def fine(index: int, attempt: int) -> Any:
    return {"x": float(index)}


def test_every_point_is_recorded_once_and_the_ledger_has_it_before_it_shows(table: Callable[..., Table]) -> None:
    run = table(500, fine)
    assert run.run()[0] is None
    assert set(run.rows()) == set(range(500))
    assert all(count == 1 for count in run.engine.attempts.values())
    assert all(shown <= in_ledger for shown, in_ledger in run.shown)
    assert run.driver.progress.best == (0.0, 0)


def test_the_window_is_a_few_bundles_a_slot_and_never_all_of_them(table: Callable[..., Table]) -> None:
    run = table(500, fine, bundle=1)
    run.run()
    assert run.engine.most_flying == 2 * driver_module.WINDOW


def test_max_parallel_bounds_what_is_in_flight(table: Callable[..., Table]) -> None:
    run = table(50, fine, bundle=1, max_parallel=1)
    run.run()
    assert run.engine.most_flying == 1


def test_a_failure_is_tried_again_so_often_and_then_recorded(table: Callable[..., Table]) -> None:
    def flaky(index: int, attempt: int) -> Any:
        return {"x": 1.0} if index != 3 and attempt > index else ValueError(f"attempt {attempt}")

    run = table(5, flaky, retries=2)
    _, progress = run.run()
    assert run.rows() == {0: (0, 1, 0), 1: (0, 2, 0), 2: (0, 3, 0), 3: (1, 3, 0), 4: (1, 3, 0)}
    assert (progress.done, progress.failed, progress.retried) == (3, 2, 7)
    assert not run.driver._attempts


def test_retries_wait_longer_each_time(table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    add = driver_module.Retries.add

    def spy(self: Any, index: int, *, due_s: float) -> None:
        waits.append(due_s - time.monotonic())
        add(self, index, due_s=due_s - 100)

    monkeypatch.setattr(driver_module, "BACKOFF_S", 10.0)
    monkeypatch.setattr(driver_module.Retries, "add", spy)
    run = table(1, lambda *_: ValueError(), retries=5)
    run.run()
    highest = [10, 20, 40, 60, 60]
    assert len(waits) == 5
    assert all(0.4 * high < wait <= high for wait, high in zip(waits, highest, strict=True))


@pytest.mark.parametrize(("limits", "least"), [({"fail_fast": True}, 1), ({"max_fails": 4}, 4)])
def test_a_limit_stops_the_sweep(table: Callable[..., Table], limits: dict[str, Any], least: int) -> None:
    run = table(500, lambda *_: ValueError(), bundle=1, **limits)
    stop, progress = run.run()
    assert stop == "failed"
    assert least <= progress.failed <= least + 2 * driver_module.WINDOW


def test_failures_of_earlier_commands_do_not_count_against_the_limit(table: Callable[..., Table]) -> None:
    run = table(20, lambda index, _: ValueError() if index < 3 else {"x": 1.0}, bundle=1, max_fails=3)
    assert run.run()[0] == "failed"
    assert run.run()[0] is None
    assert run.ledger.counts() == (17, 3)


def test_a_stopped_sweep_lands_what_is_in_flight_and_goes_on_later(table: Callable[..., Table]) -> None:
    run = table(100, fine, bundle=5)
    show = run.show
    run.show = lambda progress: (show(progress), setattr(run, "stopped", progress.done >= 20))  # type: ignore[method-assign, assignment, return-value, func-returns-value]
    stop, progress = run.run()
    assert stop == "interrupted"
    assert 20 <= progress.done <= 20 + 5 * 2 * driver_module.WINDOW + 5
    assert run.engine.flying == 0
    run.show = lambda _: None  # type: ignore[method-assign]
    run.stopped = False
    assert run.run()[0] is None
    assert set(run.engine.attempts.values()) == {1}
    assert len(run.rows()) == 100


def test_a_lost_bundle_goes_on_by_itself(table: Callable[..., Table]) -> None:
    run = table(20, fine, bundle=10, losses=Counter({1: 2}))
    _, progress = run.run()
    assert progress.losses == 2
    assert len(run.engine.bundles) == 2
    assert run.ledger.counts() == (20, 0)


def test_a_bundle_that_is_lost_again_and_again_goes_on_point_by_point(table: Callable[..., Table]) -> None:
    run = table(20, fine, bundle=10, losses=Counter({1: 3}))
    run.run()
    assert [bundle.points for bundle in run.engine.bundles].count(1) == 10
    assert run.ledger.counts() == (20, 0)
    assert {losses for _, _, losses in run.rows().values()} == {0, 3}


def test_a_point_whose_machine_always_goes_away_fails_in_the_end(table: Callable[..., Table]) -> None:
    always = Counter(dict.fromkeys(range(1, 100), 99))
    run = table(3, fine, bundle=3, losses=always, infra_retries=5)
    run.run()
    assert run.ledger.counts() == (0, 3)
    rows = [row for chunk in run.ledger.scan(chunk=10) for row in chunk]
    assert {row[11] for row in rows} == {"MachineLost"}
    assert all("went away" in row[12] for row in rows)
    assert not run.driver._losses


def test_infra_losses_do_not_use_up_retries(table: Callable[..., Table]) -> None:
    run = table(
        4,
        lambda index, attempt: ValueError() if attempt == 1 else {"x": float(index)},
        retries=1,
        losses=Counter({1: 2}),
    )
    run.run()
    assert run.ledger.counts() == (4, 0)


def test_failed_points_are_run_again_when_asked(table: Callable[..., Table]) -> None:
    run = table(10, lambda index, attempt: ValueError() if index < 4 and attempt == 1 else {"x": 1.0})
    run.run()
    assert run.ledger.counts() == (6, 4)
    assert run.run()[1].computed == 0
    _, progress = run.run(failed_too=False)
    assert (progress.computed, progress.done) == (4, 10)
    assert {attempts for _, attempts, _ in run.rows().values()} == {1, 2}


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    points=st.integers(1, 80),
    bundle=st.one_of(st.none(), st.integers(1, 30)),
    retries=st.integers(0, 2),
    order=st.sampled_from(["given", "shuffled"]),
    bad=st.sets(st.integers(0, 79)),
    losses=st.dictionaries(st.integers(1, 20), st.integers(0, 6)),
)
def test_whatever_happens_each_point_ends_once(
    table: Callable[..., Table],
    points: int,
    bundle: int | None,
    retries: int,
    order: str,
    bad: set[int],
    losses: dict[int, int],
) -> None:
    run = table(
        points,
        lambda index, attempt: ValueError() if index in bad and attempt <= 2 else {"x": float(index)},
        bundle=bundle,
        retries=retries,
        order=order,
        losses=Counter(losses),
    )
    _, progress = run.run()
    rows = run.rows()
    assert set(rows) == set(range(points))
    failed = {index for index, (status, _, _) in rows.items() if status}
    assert failed == ({index for index in bad if index < points} if retries < 2 else set())
    assert (progress.done, progress.failed) == (points - len(failed), len(failed))
    assert progress.computed == points
    assert not run.driver._attempts
    assert not run.driver._losses
