"""The head's keeper, with AWS and the clock played: as many workers as runs can use, its switch first, none idle."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweepfleet.machine import aws
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.head import keeper
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.head.spending import Spending
from sweepfleet.machine.job import Job, JobFolder

JOB = Job("one", "r", "e", "g", "grid.yaml", "inv sweep", 0.0, retry_failed=False, workers_needed=2)
MOST = 5


class EndError(Exception):
    """The keeper has looked often enough."""


class Group:
    """AWS as the keeper asks it; the keeper's clock goes on as it sleeps, for so many looks."""

    def __init__(self, data: Data, monkeypatch: pytest.MonkeyPatch, *, size: int = 0) -> None:
        self.size, self.asked, self.now_s, self.looks = size, list[str](), 0.0, 0
        self.there: int | None = None  # that there are; None: as many as were asked for
        self.ended = set[str]()
        self.refuses = False
        self.then: dict[int, Callable[[], object]] = {}  # what happens, by the look after which it does
        self.uptime = data.path / "uptime"
        self.boot = data.path / "boot"
        self.boot.write_text("this\n")
        self.idle: Callable[[], list[str]] = list  # the workers that have nothing to do
        monkeypatch.setattr(keeper, "Aws", lambda _: self)
        monkeypatch.setattr(keeper, "retire", lambda names, most: [one for one in names if one in self.idle()][:most])
        monkeypatch.setattr(keeper, "UPTIME", self.uptime)
        monkeypatch.setattr(keeper, "BOOT", self.boot)
        clock = SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: 9e9 + self.now_s, sleep=self.sleep)
        monkeypatch.setattr(keeper, "time", clock)
        data.jobs.mkdir()
        data.keeper.mkdir()
        self.facts = Facts("head", "dev", "b", "AROA", "", "", "eu-west-1", "", str(data.path), "one")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.uptime.write_text(f"{self.now_s} 0\n")
        self.looks += 1
        self.then.pop(self.looks, lambda: None)()
        if self.now_s >= self.end_s:
            raise EndError

    def keep(self, *, for_s: float) -> list[str]:
        """What a keeper that starts now asks for meanwhile."""
        self.asked.clear()
        self.looks, self.end_s = 0, self.now_s + for_s
        self.uptime.write_text(f"{self.now_s} 0\n")
        with pytest.raises(EndError):
            keeper.keep(self.facts)
        assert not self.then
        return self.asked

    def group(self) -> aws.Group:
        there = self.size if self.there is None else self.there
        alive = (name for number in itertools.count() if (name := f"i-{number}") not in self.ended)
        return aws.Group(self.size, MOST, tuple(itertools.islice(alive, there)))

    def machines(self, ids: tuple[str, ...]) -> tuple[aws.Machine, ...]:
        return tuple(aws.Machine(one, "c7i.xlarge", "a", True, "2026-11-27T00:00:00Z") for one in ids)

    def spot_prices(self, types: Any) -> dict[str, dict[str, float]]:
        self.asked.append(f"prices of {' '.join(types)}")
        return {name: {"a": 0.08} for name in types}

    def end_worker(self, name: str) -> None:
        self.asked.append(f"end {name}")
        self.ended.add(name)
        self.size -= 1

    def detach(self, name: str, *, decrement: bool, spare: bool = False) -> None:
        assert not spare, "there is one group"
        self.asked.append(f"detach {name}, {'one less' if decrement else 'another one'}")
        if self.refuses:
            raise AwsError("AccessDenied")
        self.ended.add(name)
        self.size -= decrement

    def set_switch(self) -> None:
        if self.refuses:
            raise AwsError("AccessDenied")
        self.asked.append("switch")

    def set_group_size(self, size: int) -> None:
        self.asked.append(f"size {size}")
        self.size = size

    def resized(self, size: int) -> None:
        """As `inv scale` does, or AWS's switch."""
        self.size = size


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.fixture
def group(data: Data, monkeypatch: pytest.MonkeyPatch) -> Group:
    return Group(data, monkeypatch)


def job(data: Data, *, name: str = "one", says: str = '{"workers_needed": 2}') -> JobFolder:
    """An active run that can use two workers, or as many as its driver says."""
    folder = JobFolder(data.jobs / name)
    folder.path.mkdir(exist_ok=True)
    folder.job.write_text(JOB.to_json())
    folder.active.touch()
    os.utime(folder.active, (9e9, 9e9))
    if says:
        folder.progress.write_text(says)
    return folder


def test_the_switch_is_set_before_each_raise_and_moved_while_a_run_is_active(group: Group, data: Data) -> None:
    one = job(data)
    group.refuses = True
    assert group.keep(for_s=10) == []
    group.refuses = False
    assert group.keep(for_s=10) == ["switch", "size 2"]
    assert group.keep(for_s=3 * keeper.SWITCH_EVERY_S) == ["switch"] * 3
    group.then[3] = lambda: job(data, name="another")
    assert group.keep(for_s=60) == ["switch", "switch", "size 4"], "also when it was set a moment ago"
    one.active.unlink()
    (data.jobs / "another" / "active").unlink()
    assert group.keep(for_s=60) == ["size 0"]


def test_workers_wait_a_moment_for_the_next_run(group: Group, data: Data) -> None:
    one = job(data)
    group.size = 2
    group.then = {2: one.active.unlink, 2 + int(keeper.IDLE_S / keeper.POLL_S) - 1: one.active.touch}
    assert group.keep(for_s=60) == ["switch"]


def test_what_somebody_else_has_made_of_the_group_is_seen(group: Group, data: Data) -> None:
    """After a while; and at once when AWS refused something."""
    job(data)
    group.size = 2
    group.then[1] = lambda: group.resized(0)
    assert group.keep(for_s=2 * keeper.LOOK_EVERY_S) == ["switch", "switch", "size 2"]

    def refuse() -> None:
        group.refuses = True
        job(data, name="another")

    def resize() -> None:
        group.refuses = False
        group.resized(4)

    group.then = {1: refuse, 2: resize}
    assert "size 4" not in group.keep(for_s=keeper.LOOK_EVERY_S)


def test_what_was_started_is_kept_for_its_time_and_nothing_is_started_for_it(group: Group, data: Data) -> None:
    """Also where AWS's switch has emptied the group while the head was away; and the switch is left where it is."""
    group.size = 2
    data.hold.write_text('{"workers": 3, "for_s": 1800, "boot": "this", "since_s": 0.0, "until_s": 0}')
    assert group.keep(for_s=1700) == []
    assert group.keep(for_s=200) == ["size 0"]
    group.boot.write_text("another\n")
    group.now_s = 0.0
    assert group.keep(for_s=100) == []
    assert group.size == 0


def says(folder: JobFolder, workers: int, *, at: float, state: str = "running", settled: bool = True) -> None:
    said = {"workers_needed": workers, "state": state, "settled": settled, "at": at}
    folder.progress.write_text(json.dumps(said))


def test_idle_workers_go_while_others_compute_and_none_that_computes(group: Group, data: Data) -> None:
    """After a moment; and as each comes to have nothing."""
    one = job(data)
    group.size = 3
    group.idle = lambda: [] if group.now_s < 60 else ["i-1"] if group.now_s < 100 else ["i-0"]
    for look in range(1, 100):
        group.then[look] = lambda: says(one, 3 if group.now_s < 20 else 1, at=9e9 + group.now_s)
    ends: dict[str, float] = {}
    end = group.end_worker

    def noted(name: str) -> None:
        ends[name] = group.now_s
        end(name)

    group.end_worker = noted  # type: ignore[method-assign]
    says(one, 3, at=9e9)
    assert group.keep(for_s=199) == ["switch", "end i-1", "end i-0"]
    assert 60 <= ends["i-1"] < 60 + 15
    assert 100 <= ends["i-0"] < 100 + 15
    assert group.size == 1


@pytest.mark.parametrize(
    "changes", [{"settled": False}, {"state": "waiting", "settled": False}, {"late_s": 60.0}], ids=str
)
def test_while_a_run_has_no_driver_that_knows_its_workers_none_goes(
    group: Group, data: Data, changes: dict[str, Any]
) -> None:
    """They may compute for it, or have results that it fetches when it is back."""
    one = job(data)
    late_s = changes.pop("late_s", 0.0)
    group.size, group.idle = 3, lambda: ["i-0", "i-1", "i-2"]
    for look in range(1, 50):
        group.then[look] = lambda: says(one, 1, at=9e9 + group.now_s - late_s, **changes)
    says(one, 1, at=9e9 - late_s, **changes)
    assert group.keep(for_s=99) == ["switch"]


def test_a_sweep_larger_than_what_was_started_leaves_as_many_as_were_started(group: Group, data: Data) -> None:
    """`inv start --workers 3`, and a sweep for which there were five."""
    group.size, group.idle = 5, lambda: [f"i-{number}" for number in range(5)]
    data.hold.write_text('{"workers": 3, "for_s": 1800, "boot": "this", "since_s": 0.0, "until_s": 0}')
    assert group.keep(for_s=200) == ["end i-0", "end i-1"]
    assert group.size == 3


def test_a_worker_that_aws_did_not_end_is_ended_later_and_first(group: Group, data: Data) -> None:
    """It gets no bundles any more. One that is gone by itself is no error."""
    one, refused = job(data), ["Throttling", "ValidationError: not found"]
    group.size, group.idle = 4, lambda: ["i-3", "i-2"]
    end = group.end_worker

    def refuse(name: str) -> None:
        group.asked.append(f"try {name}")
        if refused:
            raise AwsError(refused.pop(0))
        end(name)

    group.end_worker = refuse  # type: ignore[method-assign]
    for look in range(1, 25):
        group.then[look] = lambda: says(one, 2, at=9e9 + group.now_s)
    says(one, 2, at=9e9)
    asked = group.keep(for_s=60)
    assert asked[:5] == ["switch", "try i-2", "try i-2", "try i-3", "end i-3"]


def test_a_run_whose_budget_is_spent_has_no_workers_whatever_its_driver_does(group: Group, data: Data) -> None:
    """It has a moment to end by itself."""
    one = job(data)
    group.size = 2
    one.spent.touch()
    group.now_s = one.spent.stat().st_mtime - 9e9  # by the keeper's clock, it is spent now
    assert set(group.keep(for_s=keeper.SPENT_S - 10)) == {"switch"}
    assert group.keep(for_s=2 * keeper.IDLE_S)[-1] == "size 0"


@pytest.mark.parametrize(("has_run", "asked"), [(False, ["switch", "size 1"]), (True, [])])
def test_before_a_driver_has_counted_what_is_left_a_new_run_has_one_worker_and_a_known_one_none(
    group: Group, data: Data, asked: list[str], *, has_run: bool
) -> None:
    """A finished sweep that is given again starts nothing."""
    job(data, says="")
    if has_run:
        (data.runs / "one").mkdir(parents=True)
    assert group.keep(for_s=10) == asked


@pytest.mark.parametrize(
    ("says", "workers"), [('{"workers_needed": 3}', 3), ("{half a fi", 2), ("[1]", 2), ('{"state": "running"}', 1)]
)
def test_a_driver_that_does_not_say_what_it_can_use_has_what_was_asked_for(
    group: Group, data: Data, says: str, workers: int
) -> None:
    """And one at least, where it is of another release."""
    job(data, says=says)
    assert group.keep(for_s=10) == ["switch", f"size {workers}"]


def test_workers_are_counted_by_day_whether_a_run_uses_them_or_not(group: Group, data: Data) -> None:
    """At the price of those that are there; what nobody used is told apart."""
    rates = Rates(on_demand={"c7i.xlarge": 0.18}).to_dict()
    one = job(data)
    one.job.write_text(dataclasses.replace(JOB, rates=rates).to_json())
    group.size = 2
    data.hold.write_text('{"workers": 2, "for_s": 1800, "boot": "this", "since_s": 0.0, "until_s": 0}')
    group.keep(for_s=100)
    one.active.unlink()
    group.keep(for_s=100)
    [day] = Spending.parse(data.spending.read_text()).days.values()
    slack = 2 * 3 * keeper.METER_EVERY_S
    assert day.worker_s == pytest.approx(2 * 200, abs=slack)
    assert day.usd == pytest.approx(2 * 200 / 3600 * 0.08, abs=slack / 3600 * 0.08)
    assert day.unused_usd == pytest.approx(day.usd / 2, abs=slack / 3600 * 0.08)
    assert day.unpriced_s == 0
    assert Reading.of(one).paid_usd == pytest.approx(day.usd / 2, abs=slack / 3600 * 0.08)


def test_machines_that_are_there_are_counted_for_the_runs_that_are_active(group: Group, data: Data) -> None:
    """Whatever number was asked for: AWS bills those that are there."""
    one = job(data)
    group.size, group.there = 2, 3
    group.keep(for_s=100)
    counted = Reading.of(one)
    assert counted.workers == 3
    assert counted.worker_s == pytest.approx(3 * 100, abs=3 * 2 * keeper.METER_EVERY_S)
    assert json.loads(one.meter.read_text())["at"] == pytest.approx(9e9 + 100, abs=2 * keeper.METER_EVERY_S)


def test_machines_that_come_are_counted_from_then_on(group: Group, data: Data) -> None:
    """Not from the next of the rare looks at a group that stays as it is."""
    one = job(data)
    group.there = 0
    group.then = {3: lambda: setattr(group, "there", 2)}  # after 6 s
    group.keep(for_s=keeper.LOOK_EVERY_S)
    assert Reading.of(one).worker_s > 2 * (
        keeper.LOOK_EVERY_S - 6 - 2 * keeper.CHANGES_EVERY_S - keeper.METER_EVERY_S
    )


def test_a_budget_ends_when_it_is_spent_and_not_when_it_is_next_looked_at(group: Group, data: Data) -> None:
    """Two workers at 0.08 USD an hour and a budget of 20 s of them."""
    one = job(data)
    rates = Rates(on_demand={"c7i.xlarge": 0.18}).to_dict()
    one.job.write_text(dataclasses.replace(JOB, rates=rates, budget_usd=20.0 / 3600 * 2 * 0.08).to_json())
    group.size = 2
    spent_s: list[float] = []
    touch = Path.touch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", lambda file, **how: (spent_s.append(group.now_s), touch(file, **how)))
        group.keep(for_s=40)
    assert spent_s == [pytest.approx(20, abs=2 * keeper.SHORTEST_S)]
