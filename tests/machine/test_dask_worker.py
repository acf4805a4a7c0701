"""A cluster's worker joins the next scheduler while it has runners, unless that has other code; dask's is played."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Scheduler, Status, Worker, get_worker

from sweepfleet.machine.worker import dask_worker
from sweepfleet.machine.worker.dask_worker import LOST, ClusterWorker, serve

LOSS = min(LOST)
REFUSED, STAYS = OSError("nobody answers"), "stays"


class Played:
    """A worker that cannot start, or ends for a reason, or stays."""

    def __init__(self, how: str | Exception, *, scheduler: str = "", tidied: list[str] | None = None) -> None:
        self._how = how
        self.why = ""
        self._scheduler, self._tidied = scheduler, tidied

    async def scheduler_id(self) -> str:
        return self._scheduler

    async def end_what_is_over(self) -> None:
        assert self._tidied is not None
        self._tidied.append(self._scheduler)

    def __await__(self) -> Generator[Any, None, None]:
        if isinstance(self._how, Exception):
            raise self._how
        yield from asyncio.sleep(0).__await__()

    async def finished(self) -> None:
        if self._how == STAYS:
            await asyncio.Event().wait()
        self.why = str(self._how)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_worker, "AGAIN_S", 0.0)
    monkeypatch.setattr(dask_worker, "LOOK_S", 0.0)


def served(
    monkeypatch: pytest.MonkeyPatch, *ways: str | Exception, runners: int = 1, same: Callable[[], bool] = lambda: True
) -> tuple[int, int]:
    """The process's exit code, and how many workers it was, one after the other."""
    monkeypatch.setattr(dask_worker, "pools", lambda: runners)
    left = list(ways)

    def make() -> Any:
        return Played(left.pop(0))

    async def bounded() -> int:
        return await asyncio.wait_for(serve(make, may_join=same), 60)

    code = asyncio.run(bounded())
    return code, len(ways) - len(left)


def test_a_worker_whose_scheduler_is_lost_joins_the_next_one_however_long_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert served(monkeypatch, LOSS, REFUSED, REFUSED, LOSS, "worker-close") == (0, 5)


@pytest.mark.parametrize(
    ("ways", "runners", "code"),
    [
        (("worker-close", STAYS), 1, 0),  # it was sent away
        ((LOSS, STAYS), 0, 0),  # nothing to stay for
        ((REFUSED, STAYS), 1, 1),  # it never was anybody's worker
    ],
)
def test_a_worker_with_nothing_to_stay_for_ends(
    monkeypatch: pytest.MonkeyPatch, ways: tuple[str | Exception, ...], runners: int, code: int
) -> None:
    """Whoever started it begins anew, with the newest release."""
    assert served(monkeypatch, *ways, runners=runners) == (code, 1)


def test_a_worker_does_not_join_a_fleet_of_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(monkeypatch, LOSS, STAYS, same=lambda: False) == (0, 1)


def test_a_fleet_that_was_renewed_just_while_a_worker_joined_again_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, True, False])
    assert served(monkeypatch, LOSS, STAYS, same=lambda: next(answers)) == (0, 2)


def test_why_a_worker_ended_is_the_first_reason_and_a_lost_scheduler_leaves_its_threads_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []

    async def close(_: Worker, *__: Any, reason: str, executor_wait: bool = True, **___: Any) -> None:
        closed.append(executor_wait)

    monkeypatch.setattr(Worker, "close", close)
    for first, waits in ((LOSS, False), ("worker-close", True)):
        worker = ClusterWorker.__new__(ClusterWorker)
        closed.clear()
        for reason in (first, "other"):
            asyncio.run(worker.close(reason=reason))
        assert (worker.why, closed) == (first, [waits, waits])


def test_runners_are_ended_where_the_scheduler_that_is_joined_again_knows_them_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another scheduler knows of no sweep yet: the drivers are on their way to it."""
    monkeypatch.setattr(dask_worker, "pools", lambda: 1)
    tidied: list[str] = []
    ways = iter([(LOSS, "one"), (LOSS, "one"), (LOSS, "two"), (LOSS, ""), (LOSS, ""), ("worker-close", "two")])

    def make() -> Any:
        how, scheduler = next(ways)
        return Played(how, scheduler=scheduler, tidied=tidied)

    async def bounded() -> int:
        return await asyncio.wait_for(serve(make, may_join=lambda: True), 60)

    assert asyncio.run(bounded()) == 0
    assert tidied == ["one"]


def opened(gate: str) -> bool:
    """A task that ends once there is this file."""
    while not Path(gate).exists():
        time.sleep(0.01)
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a state of dask's; the test has the deadline."""
    while not condition():  # noqa: ASYNC110 - dask has no event for it
        await asyncio.sleep(0.01)


def test_a_worker_that_takes_no_more_is_sent_nothing_and_finishes_what_it_has(tmp_path: Path) -> None:
    """With real workers and a real scheduler: each task says which worker has run it."""

    async def told() -> list[str]:
        options = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
        async with Scheduler(port=0, **options) as scheduler:
            address = scheduler.address
            async with (
                ClusterWorker(address, name="leaves", nthreads=2, **options) as leaves,
                ClusterWorker(address, name="stays", nthreads=2, **options) as stays,
                Client(address, asynchronous=True) as client,
            ):
                held = client.submit(opened, str(tmp_path / "gate"), workers=[leaves.address])
                await until(lambda: bool(leaves.state.executing))
                leaves.take_no_more()
                await until(lambda: scheduler.workers[leaves.address].status == Status.paused)
                tasks = [client.submit(lambda _: get_worker().name, number, pure=False) for number in range(20)]
                names = await client.gather(tasks)
                assert (leaves.busy, stays.busy) == (True, True)  # a point in hand; results that are held here
                (tmp_path / "gate").touch()
                assert await held
                del tasks, held
                await until(lambda: not (leaves.busy or stays.busy))
                return list(names)

    async def bounded() -> list[str]:
        return await asyncio.wait_for(told(), 120)

    assert asyncio.run(bounded()) == ["stays"] * 20
