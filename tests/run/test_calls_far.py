"""An Executor's calls on a cluster's workers: scheduler, workers and drivers on loopback die and come back."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.slot.calls.batch import Outcome, Pickled
from sweepfleet.slot.calls.pickling import loads, loads_error
from tests.calls_site import RUN, SLOTS, Calls, Site, site
from tests.support import eventually


def twice(number: int, begun: str = "", gate: str = "") -> int:
    """Note that it begins; wait for a file, if there is one to wait for."""
    if begun:
        fd = os.open(begun, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{number}\n".encode())
        os.close(fd)
    while gate and not Path(gate).exists():
        time.sleep(0.01)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return 2 * number


def value(outcome: Outcome) -> Any:
    assert isinstance(outcome.value, Pickled), outcome.value
    return loads_error(outcome.value) if outcome.raised else loads(outcome.value)


def values(calls: Calls) -> list[Any]:
    return [value(calls.outcomes[index]) for index in sorted(calls.outcomes)]


def test_calls_are_executed_on_workers_and_what_they_raise_comes_back(tmp_path: Path) -> None:
    with site(tmp_path, durable=False, workers=2) as there:
        calls = Calls(there)
        calls.function("f", twice)
        calls.bundle("f", [(number, str(tmp_path / "begun")) for number in (*range(50), -1)])
        calls.handle(until=calls.all_ended)
        assert values(calls)[:50] == [2 * number for number in range(50)]
        error = value(calls.outcomes[50])
        assert isinstance(error, ValueError)
        assert "in twice" in str(error.__cause__)
        calls.handle(until=lambda: calls.slots == 2 * SLOTS)
        calls.ends()
        assert there.begun() == dict.fromkeys((*range(50), -1), 1)
        assert there.driver is not None
        eventually(lambda: there.driver is not None and there.driver.poll() == 0, "the driver ends")
    assert not [one for one in there.processes if one.poll() is None]


def test_a_call_that_takes_long_holds_back_no_other_of_its_bundle(tmp_path: Path) -> None:
    """The first one waits for the last one, which is in the same bundle; what has ended is told at once."""
    with site(tmp_path, durable=False) as there:
        calls = Calls(there)
        calls.function("f", twice)
        begun, gate = str(tmp_path / "begun"), str(tmp_path / "gate")
        calls.bundle("f", [(0, begun), (1, begun, gate), (2, begun), (3, begun)])
        calls.handle(until=lambda: {0, 2, 3} <= calls.outcomes.keys())
        assert 1 not in calls.outcomes
        Path(gate).touch()
        calls.handle(until=calls.all_ended)
        assert values(calls) == [0, 2, 4, 6]
        assert there.begun() == dict.fromkeys(range(4), 1)
        calls.ends()


def test_a_connection_that_breaks_costs_nothing(tmp_path: Path) -> None:
    with site(tmp_path, durable=False) as there:
        calls = Calls(there)
        calls.function("f", twice)
        begun, gate = str(tmp_path / "begun"), str(tmp_path / "gate")
        calls.submit("f", [(number, begun, gate) for number in range(20)], keys=False)
        eventually(lambda: len(there.begun()) >= SLOTS, "the first calls have begun")
        calls.cluster.away = True
        calls.cluster.cut()
        Path(gate).touch()
        calls.submit("f", [(number, begun) for number in range(20, 30)], first=20, keys=False)
        calls.handle(until=lambda: any("no connection" in text for text in calls.said))
        calls.cluster.away = False
        calls.handle(until=calls.all_ended)
        assert values(calls) == [2 * number for number in range(30)]
        assert there.begun() == dict.fromkeys(range(30), 1)
        assert any("connection is back" in text for text in calls.said)
        calls.ends()


def test_a_long_interruption_without_a_failed_try_is_told_as_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the head sleeps: whoever connects wakes it, and waits for that."""
    monkeypatch.setattr("sweepfleet.fleet.calls.link.TOLD_S", 0.0)
    with site(tmp_path, durable=False) as there:
        calls = Calls(there)
        calls.function("f", twice)
        begun, gate = str(tmp_path / "begun"), str(tmp_path / "gate")
        calls.submit("f", [(1, begun, gate)], keys=False)
        eventually(there.begun, "the call has begun")
        assert not any("connection" in text for text in calls.said)
        calls.cluster.cut()
        calls.handle(until=lambda: any("connection is back" in text for text in calls.said))
        assert not any("no connection" in text for text in calls.said)
        Path(gate).touch()
        calls.handle(until=calls.all_ended)
        calls.ends()


def accident(there: Site, calls: Calls, what: str) -> None:
    if what == "driver":
        there.kill_driver()
    elif what == "scheduler":
        there.scheduler.kill()
        there.scheduler.wait()
        there.scheduler = there.start_scheduler()
    elif what == "head":
        for process in (there.driver, there.scheduler):
            assert process is not None
            process.kill()
            process.wait()
        there.scheduler = there.start_scheduler()
        there.start_driver("--again")
    else:
        there.workers[0].kill()
        there.workers[0].wait()
        there.workers[0] = there.start_worker("worker-again")


def lives_through(tmp_path: Path, what: str, count: int = 100) -> Site:
    """Calls that are out while something dies; each has its outcome, and none that was kept is executed again."""
    with site(tmp_path, durable=True, workers=2) as there:
        calls = Calls(there)
        calls.function("f", twice)
        begun, gate = str(tmp_path / "begun"), str(tmp_path / "gate")
        calls.submit(
            "f", [(number, begun, gate if number >= count // 2 else "") for number in range(count)], keys=True
        )
        calls.handle(until=lambda: len(calls.outcomes) >= count // 2)
        eventually(lambda: len(there.begun()) >= count // 2 + 2 * SLOTS, "calls that wait have begun")
        eventually(there.said, "the driver has said how many slots there are")
        kept = there.kept()
        assert len(kept) == count // 2
        accident(there, calls, what)
        Path(gate).touch()
        calls.handle(until=calls.all_ended)
        assert values(calls) == [2 * number for number in range(count)]
        assert kept.items() <= there.kept().items(), "a call that was kept was executed again"
        assert len(there.kept()) == count
        calls.ends()
        return there


def test_calls_live_through_the_death_of_their_driver_and_none_begins_twice(tmp_path: Path) -> None:
    there = lives_through(tmp_path, "driver")
    assert set(there.begun().values()) == {1}


def test_calls_live_through_the_death_of_the_scheduler_and_none_begins_twice(tmp_path: Path) -> None:
    there = lives_through(tmp_path, "scheduler")
    assert set(there.begun().values()) == {1}


def test_calls_live_through_the_death_of_driver_and_scheduler_at_once_and_none_begins_twice(tmp_path: Path) -> None:
    there = lives_through(tmp_path, "head")
    assert set(there.begun().values()) == {1}


def test_calls_live_through_the_death_of_a_worker(tmp_path: Path) -> None:
    """Those that it had in hand begin again elsewhere, and no other."""
    there = lives_through(tmp_path, "worker")
    again = [number for number, times in there.begun().items() if times > 1]
    assert 0 < len(again) <= SLOTS
    assert all(number >= 50 for number in again)


def test_calls_that_were_sent_are_executed_without_their_client_also_by_the_next_driver(tmp_path: Path) -> None:
    with site(tmp_path, durable=True) as there:
        calls = Calls(there)
        calls.function("f", twice)
        begun, gate = str(tmp_path / "begun"), str(tmp_path / "gate")
        calls.submit("f", [(number, begun, gate) for number in range(20)], keys=True)
        eventually(lambda: there.said().get("open") == 20, "the driver has them")
        calls.cluster.away = True
        calls.cluster.cut()
        there.kill_driver()
        Path(gate).touch()
        eventually(lambda: len(there.kept()) == 20, "they are kept")
        calls.cluster.away = False
        calls.handle(until=calls.all_ended)
        assert values(calls) == [2 * number for number in range(20)]
        assert set(there.begun().values()) == {1}
        calls.ends()
    assert not (tmp_path / "spool").exists()
    assert (tmp_path / "runs" / RUN / "calls.sqlite").exists()


def test_with_max_workers_no_more_calls_run_at_once(tmp_path: Path) -> None:
    with site(tmp_path, durable=True, workers=2) as there:
        calls = Calls(there, max_workers=1)
        calls.function("f", twice)
        begun = str(tmp_path / "begun")
        gates = [str(tmp_path / f"gate-{number}") for number in range(3)]
        calls.submit("f", [(number, begun, gate) for number, gate in enumerate(gates)], keys=True)
        for number, gate in enumerate(gates):
            eventually(lambda number=number: len(there.begun()) > number, "the next call begins")
            assert len(there.begun()) == number + 1
            Path(gate).touch()
        calls.handle(until=calls.all_ended)
        calls.ends()
