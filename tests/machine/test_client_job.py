"""A user's dask client on the head: what it needs, its part beside others, and its end; on real schedulers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.client import FutureCancelledError

from sweepfleet.machine.head import run_client as running
from sweepfleet.machine.head.client_use import Use, cancel_all, use_of
from sweepfleet.machine.head.fair import Fair
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.head.run_client import workers_for
from sweepfleet.machine.job import CLIENT, Job, JobFolder

JOB = Job("client-a", "a" * 64, "b", "e", "", "client", 0.0, False, 3, slots_each=2, kind=CLIENT)
DEADLINE_S = 60
NO_PAGES = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
QUIET: dict[str, Any] = {"scheduler_kwargs": NO_PAGES, "worker_dashboard_address": "127.0.0.1:0"}
GATE = threading.Event()
ORDER: list[str] = []


# Tasks. The worker is in this process, and has this module.


def wait(number: int = 0) -> int:
    """Return the number once the gate is open."""
    assert GATE.wait(DEADLINE_S)
    return number


def note(party: str, _: int) -> None:
    """Run as one of a party's tasks."""
    ORDER.append(party)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """A scheduler with one worker of one slot, in this process: what tasks do is seen here. The gate is closed."""
    GATE.clear()
    ORDER.clear()
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        worker_dashboard_address="127.0.0.1:0",
    ) as made:
        yield made


def client(cluster: LocalCluster, name: str) -> Client:
    return Client(cluster, name=name, set_as_default=False)


def seen(keeper: Client, name: str = "client-a", **expected: Any) -> Use:
    """What the keeper finds of a client, as soon as it is this."""
    for _ in range(DEADLINE_S * 20):
        use: Use = keeper.run_on_scheduler(use_of, name, enough=1000)
        if all(getattr(use, key) == value for key, value in expected.items()):
            return use
        threading.Event().wait(0.05)
    raise AssertionError(f"{use} is not {expected}")


@pytest.mark.parametrize(
    ("use", "workers"),
    [
        (Use(True), 0),
        (Use(True, runnable=1), 1),
        (Use(True, runnable=5), 3),
        (Use(True, runnable=4, workers=1, threads=4), 1),
        (Use(True, runnable=1000), 3),
        (Use(True, holders=2), 2),
        (Use(False), 0),
    ],
)
def test_workers_are_as_many_as_its_tasks_can_use_and_those_that_hold_its_results(use: Use, workers: int) -> None:
    assert workers_for(use, slots_each=2, most=3) == workers


def test_what_a_client_has_is_seen_and_what_others_have_is_not(cluster: LocalCluster) -> None:
    with client(cluster, "keeper") as keeper:
        assert not seen(keeper, connected=False).connected
        with client(cluster, "client-a") as mine, client(cluster, "client-b") as other:
            keeper.register_plugin(Fair())
            others = other.map(wait, range(3), pure=False)
            first = mine.map(wait, range(4), pure=False)
            total = mine.submit(sum, first)
            del first
            assert seen(keeper, unfinished=1).runnable == 4, "what it waits for counts"
            GATE.set()
            assert total.result() == 6
            del others
            done = seen(keeper, unfinished=0, ended=5)
            assert (done.holders, done.runnable, done.workers, done.threads) == (1, 0, 1, 1)
            assert done.used_s > 0
            del total
            seen(keeper, holders=0)
        seen(keeper, connected=False)


class Tasks:
    """A scheduler's tasks, as the plugin sees them; each takes this long."""

    generation = 6

    def __init__(self) -> None:
        self.tasks: dict[str, Any] = {}

    def add(self, fair: Fair, client: str, *keys: str, usual_s: float, user: int = 0) -> None:
        for place, key in enumerate(keys):
            prefix = SimpleNamespace(duration_average=usual_s)
            self.tasks[key] = SimpleNamespace(key=key, priority=(user, 7, place), prefix=prefix)
        fair.update_graph(self, client=client, tasks=list(keys)[::-1])  # type: ignore[arg-type]

    def end(self, fair: Fair, *keys: str, took_s: float) -> None:
        for key in keys:
            came = {"action": "transfer", "start": 0.0, "stop": 9.0}
            took = {"action": "compute", "start": 5.0, "stop": 5.0 + took_s}
            fair.transition(key, "processing", "memory", startstops=[came, took])
            del self.tasks[key]

    def order(self) -> list[str]:
        return sorted(self.tasks, key=lambda key: self.tasks[key].priority)


def test_the_next_task_is_that_of_the_client_that_has_had_the_least() -> None:
    """By the time that tasks take; and who comes late has no claim on what was before."""
    fair, tasks = Fair(), Tasks()
    asyncio.run(fair.start(tasks))  # type: ignore[arg-type]
    tasks.add(fair, "a", "a1", "a2", "a3", "a4", "a5", usual_s=2.0)
    assert tasks.tasks["a1"].priority == (0, 7.0, 7, 0), "after all that was there before"
    tasks.end(fair, "a1", "a2", took_s=3.0)
    tasks.add(fair, "b", "b1", "b2", "b3", usual_s=1.0)
    assert tasks.order() == ["b1", "b2", "a3", "b3", "a4", "a5"]
    tasks.add(fair, "b", "first", usual_s=1.0, user=-9)
    assert tasks.order()[0] == "first"
    assert (fair.used_s, fair.ended) == ({"a": 6.0}, {"a": 2})
    fair.transition("a1", "released", "forgotten")
    fair.transition("nobody", "processing", "memory")
    fair.remove_client(tasks, "a")  # type: ignore[arg-type]
    assert fair.used_s == {}


def test_parties_take_turns_whoever_came_first(cluster: LocalCluster) -> None:
    """A client with many tasks, one with a few, and a sweep's bundles, on one slot that was busy as all came."""
    with client(cluster, "keeper") as keeper, client(cluster, "a") as a, client(cluster, "b") as b:
        keeper.register_plugin(Fair())
        busy = a.submit(wait, pure=False)
        many = a.map(note, ["a"] * 40, range(40), pure=False, fifo_timeout=0)
        few = b.map(note, ["b"] * 5, range(5), pure=False, fifo_timeout=0)
        bundles = [
            keeper.submit(note, "sweep", n, key=f"bundle-e1-{n}", pure=False, fifo_timeout=0) for n in range(5)
        ]
        seen(keeper, "b", unfinished=5)
        for _ in range(DEADLINE_S * 20):
            if len(keeper.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))) == 51:
                break
            threading.Event().wait(0.05)
        GATE.set()
        for futures in (few, bundles, many, [busy]):
            for future in futures:
                future.result(timeout=DEADLINE_S)
    for party in ("b", "sweep"):
        last = max(place for place, one in enumerate(ORDER) if one == party)
        assert last < 25, ORDER


def test_without_it_the_first_has_all(cluster: LocalCluster) -> None:
    """As dask itself does it: the test above would notice."""
    with client(cluster, "keeper") as keeper, client(cluster, "a") as a, client(cluster, "b") as b:
        busy = a.submit(wait, pure=False)
        many = a.map(note, ["a"] * 40, range(40), pure=False, fifo_timeout=0)
        seen(keeper, "a", unfinished=41)
        few = b.map(note, ["b"] * 5, range(5), pure=False, fifo_timeout=0)
        seen(keeper, "b", unfinished=5)
        GATE.set()
        for future in (*few, *many, busy):
            future.result(timeout=DEADLINE_S)
    assert ORDER[:30] == ["a"] * 30


def test_a_client_is_told_why_its_tasks_are_cancelled(cluster: LocalCluster) -> None:
    with client(cluster, "keeper") as keeper, client(cluster, "client-a") as mine:
        waits = mine.submit(wait, pure=False)
        seen(keeper, unfinished=1)
        assert keeper.run_on_scheduler(cancel_all, "client-a", why="It has cost its budget") == 1
        with pytest.raises(FutureCancelledError, match="It has cost its budget"):
            waits.result(timeout=DEADLINE_S)
        GATE.set()


class Keeper:
    """A scheduler as the job sees it: what it finds at each look, and what it was told."""

    def __init__(self, *looks: Use) -> None:
        self.looks = list(looks)
        self.told: list[str] = []

    def run_on_scheduler(self, function: Any, _: str, **how: Any) -> Any:
        if function is cancel_all:
            self.told.append(how["why"])
            return 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed: the job's pauses move it on."""
    now = [0.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(running.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / JOB.name).mkdir()
    return JobFolder(tmp_path / JOB.name)


def looked_after(folder: JobFolder, keeper: Keeper) -> str:
    return running._look_after(keeper, folder, JOB, Reporter(folder, workers_needed=3))


def test_the_job_ends_when_the_client_has_gone_or_never_came(folder: JobFolder, clock: list[float]) -> None:
    assert looked_after(folder, Keeper(Use(False))) == ""
    assert running.CONNECT_S < clock[0] < running.CONNECT_S + 10
    clock[0] = 0.0
    assert looked_after(folder, Keeper(Use(True, runnable=9), Use(False))) == ""
    assert clock[0] < 2 * running.GONE_S


def test_its_progress_asks_for_workers_and_counts_its_tasks(folder: JobFolder, clock: list[float]) -> None:
    looked_after(folder, Keeper(Use(True, runnable=4, unfinished=4, ended=2, used_s=3.5), Use(False)))
    assert clock[0] > 0
    seen: list[Any] = []
    keeper = Keeper(Use(True, runnable=4, unfinished=4, ended=2, used_s=3.5))
    folder.cancelled.touch()
    assert looked_after(folder, keeper) == "It was cancelled."
    assert keeper.told == ["It was cancelled: inv cancel"]
    folder.cancelled.unlink()

    def look(*_: Any, **__: Any) -> Any:
        seen.append(folder.read_progress())
        if len(seen) > 1:
            folder.cancelled.touch()
        return keeper.looks[0]

    keeper.run_on_scheduler = look  # type: ignore[method-assign]
    looked_after(folder, keeper)
    said = seen[1]
    assert said["workers_needed"] == 2
    assert (said["progress"]["total"], said["progress"]["done"], said["progress"]["used_s"]) == (6, 2, 3.5)


def test_a_budget_that_is_spent_ends_it(folder: JobFolder, clock: list[float]) -> None:
    folder.spent.touch()
    keeper = Keeper(Use(True, runnable=4, unfinished=4))
    assert looked_after(folder, keeper) == "It has cost its budget."
    assert "budgetUsd" in keeper.told[0]
    assert clock[0] == 0


def test_results_that_nobody_fetches_do_not_keep_workers_for_ever(folder: JobFolder, clock: list[float]) -> None:
    looks = [Use(True, holders=1)] * int(running.IDLE_S / running.LOOK_S + 3)
    keeper = Keeper(*looks, Use(False))
    looked_after(folder, keeper)
    assert keeper.told == ["Results stay on workers for 30 minutes after the last task"]
    busy = Keeper(*[Use(True, holders=1, unfinished=1)] * len(looks), Use(False))
    clock[0] = 0.0
    looked_after(folder, busy)
    assert busy.told == []
