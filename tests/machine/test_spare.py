"""The keeper with two groups, AWS and the clock played: on-demand takes the place of spot that fails, and goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweepfleet.machine import aws, leaving
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.head import keeper, launch_notes
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.machine.launches import Activity

MOST = 5
POLL_S = 20.0  # in the place of two seconds: fewer turns
BEGAN = datetime(2026, 11, 27, 22, tzinfo=UTC)
RATES = Rates(on_demand={"c7i.xlarge": 0.2, "m7i.xlarge": 0.3}, beside=0.0).to_dict()
JOB = Job("one", "r", "e", "g", "grid.yaml", "inv sweep", 9e9, retry_failed=False, workers_needed=4, rates=RATES)
CAPACITY = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity."
TYPE = "Your requested instance type (c9.large) is not supported in your requested Availability Zone (us-east-1e)."
QUOTA = "VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 5 allows."


class EndError(Exception):
    """The keeper has looked often enough."""


class TwoGroups:
    """AWS and the scheduler as the keeper asks them; AWS tries again every twenty seconds."""

    def __init__(self, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes, self.there, self.now_s = [0, 0], [list[str](), list[str]()], 0.0
        self.why = ["", ""]  # for which launches of a group fail; empty: they succeed
        self.patience_s: float | None = 600.0
        self.asked = list[str]()
        self.done: list[list[Activity]] = [[], []]
        self.drained = list[str]()  # workers that get no bundles
        self.idle: set[str] = set()  # those that would have nothing, if they got no more
        self.free, self.computes = (
            set[str](),
            set[str](),
        )  # those that have nothing, or a long point, whatever they get
        self.then: dict[float, Callable[[], object]] = {}
        self.seen: list[tuple[int, int]] = []  # machines of each group, at each look of AWS
        self._count = self.looks = 0
        monkeypatch.setattr(keeper, "Aws", lambda _: self)
        monkeypatch.setattr(keeper, "retire", self.retire)
        monkeypatch.setattr(keeper, "drain", self.drain)
        monkeypatch.setattr(keeper, "POLL_S", POLL_S)
        uptime, boot = data.path / "uptime", data.path / "boot"
        uptime.write_text("0 0\n")
        boot.write_text("this\n")
        monkeypatch.setattr(keeper, "UPTIME", uptime)
        monkeypatch.setattr(keeper, "BOOT", boot)
        clock = SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: 9e9 + self.now_s, sleep=self.sleep)
        monkeypatch.setattr(keeper, "time", clock)
        data.jobs.mkdir()
        data.keeper.mkdir()
        self.facts = Facts("head", "dev", "b", "AROA", "", "", "eu-west-1", "", str(data.path), "one two")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for at in [at for at in self.then if at <= self.now_s]:
            self.then.pop(at)()
        if self.now_s % 20 < seconds:
            self.start()
        self.seen.append((len(self.there[0]), len(self.there[1])))
        self.tick()
        if self.now_s >= self.end_s:
            raise EndError

    def tick(self) -> None:
        """What drivers do meanwhile."""

    def keep(self, *, for_s: float) -> list[str]:
        """What the keeper asks for meanwhile."""
        self.asked.clear()
        self.end_s = self.now_s + for_s
        with pytest.raises(EndError):
            keeper.keep(self.facts)
        assert not self.then
        return self.asked

    def start(self) -> None:
        """AWS tries to start what is missing: all of it, or none."""
        for group in (0, 1):
            at = (BEGAN + timedelta(seconds=self.now_s)).strftime("%Y-%m-%dT%H:%M:%S")
            for _ in range(self.sizes[group] - len(self.there[group])):
                why = self.why[group]
                self.done[group].append(Activity("Failed" if why else "Successful", why, at))
                if not why:
                    self._count += 1
                    self.there[group].append(f"i-{'od' if group else 'spot'}-{self._count}")

    # As the keeper asks

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now_s)

    def group(self) -> aws.Group:
        self.looks += 1
        spot, spare = map(tuple, self.there)
        return aws.Group(sum(self.sizes), MOST, (*spot, *spare), self.sizes[1], spare, self.patience_s)

    def launches(self, *, spare: bool = False) -> list[Activity]:
        return self.done[int(spare)][-20:]

    def machines(self, ids: Sequence[str]) -> tuple[aws.Machine, ...]:
        return tuple(aws.Machine(one, "c7i.xlarge", "a", "spot" in one, "2026-11-27T00:00:00Z") for one in ids)

    def spot_prices(self, types: Sequence[str]) -> dict[str, dict[str, float]]:
        return {name: {"a": 0.08} for name in types}

    def set_switch(self) -> None:
        self.asked.append("switch")

    def set_group_size(self, size: int, *, spare: bool = False) -> None:
        self.asked.append(f"{'on-demand' if spare else 'spot'} {size}")
        self.sizes[int(spare)] = size
        assert sum(self.sizes) <= MOST, "maxWorkers is that of both groups"
        assert size >= len(self.there[int(spare)]) or not size, "AWS would choose one that computes"

    def end_worker(self, name: str) -> None:
        self.asked.append(f"end {name}")
        assert name in self.idle | self.free, "it computes"
        for group in (0, 1):
            if name in self.there[group]:
                self.there[group].remove(name)
                self.sizes[group] -= 1

    def detach(self, name: str, *, decrement: bool, spare: bool = False) -> None:
        self.asked.append(f"detach {name}")
        self.there[int(spare)].remove(name)
        self.sizes[int(spare)] -= decrement

    def retire(self, names: Sequence[str], most: int) -> list[str]:
        idle = self.free | (self.idle & set(self.drained) - self.computes)
        return [one for one in names if one in idle][:most]

    def drain(self, names: Sequence[str], most: int, keep: int) -> list[str]:
        self.drained = list(names)[: min(most, max(0, sum(map(len, self.there)) - keep))]
        return self.drained


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.fixture
def cloud(data: Data, monkeypatch: pytest.MonkeyPatch) -> TwoGroups:
    return TwoGroups(data, monkeypatch)


def run(cloud: TwoGroups, data: Data, *, needs: int = 4, job: Job = JOB) -> JobFolder:
    """An active run whose driver says all the time what it needs; what is drained comes to have nothing."""
    folder = JobFolder(data.jobs / job.name)
    folder.path.mkdir()
    folder.job.write_text(job.to_json())
    folder.active.touch()

    def tick() -> None:
        at = 9e9 + cloud.now_s
        folder.progress.write_text(
            json.dumps({"workers_needed": needs, "state": "running", "settled": True, "at": at})
        )
        cloud.idle = set(cloud.drained)

    cloud.tick = tick  # type: ignore[method-assign]
    tick()
    return folder


def notes(data: Data) -> list[str]:
    return [str(line) for line in launch_notes.read(data.launches)]


def test_on_demand_takes_the_place_of_spot_after_its_patience_and_hands_back(cloud: TwoGroups, data: Data) -> None:
    """None that computes is ended, the switch is set before each raise, and it is said and recorded."""
    folder, cloud.why[0] = run(cloud, data), CAPACITY
    assert "on-demand" not in " ".join(cloud.keep(for_s=560))
    [why, when] = notes(data)
    assert why.startswith(f"AWS starts too few workers: {CAPACITY} AWS has no spot capacity now. Add types to")
    assert when.startswith("On-demand workers take their place at ")
    asked = cloud.keep(for_s=700)  # another keeper: its patience begins anew
    place = asked.index("on-demand 4")
    assert "switch" in asked[:place]
    assert len(cloud.there[1]) == 4
    assert "4 on-demand workers in place of spot instances, until AWS has spot instances again." in notes(data)
    recorded = [one["text"] for one in launch_notes.read(folder.notes)]
    assert notes(data)[-1] in recorded
    cloud.why[0] = ""
    asked = cloud.keep(for_s=1500)
    assert (len(cloud.there[0]), len(cloud.there[1])) == (4, 0)
    assert [one for one in asked if one.startswith("end")] == [f"end i-od-{n}" for n in (1, 2, 3, 4)]
    assert notes(data) == []
    assert all(sum(seen) >= 4 for seen in cloud.seen[-70:]), "while it is handed back, no worker is missing"
    assert max(map(sum, cloud.seen)) <= MOST


def test_all_of_the_maximum_is_handed_back_too(cloud: TwoGroups, data: Data) -> None:
    """One place is left for spot, which it takes first."""
    run(cloud, data, needs=MOST)
    cloud.why[0] = CAPACITY
    cloud.keep(for_s=900)
    assert (cloud.there[0], len(cloud.there[1]), cloud.sizes[1]) == ([], MOST - 1, MOST - 1)
    cloud.why[0] = ""
    cloud.keep(for_s=3000)
    assert (len(cloud.there[0]), len(cloud.there[1])) == (MOST, 0)


def test_an_idle_spot_instance_does_not_go_for_the_on_demand_worker_that_it_replaces(
    cloud: TwoGroups, data: Data
) -> None:
    """It has just joined; the other one computes a long point. Others that are too many go meanwhile."""
    run(cloud, data, needs=1)
    cloud.sizes, cloud.there = [3, 1], [["i-spot-a", "i-spot-b", "i-spot-c"], ["i-od-a"]]
    cloud.free, cloud.computes = set(cloud.there[0]), {"i-od-a"}
    asked = cloud.keep(for_s=300)
    assert (len(cloud.there[0]), cloud.there[1]) == (1, ["i-od-a"])
    assert len([one for one in asked if one.startswith("end")]) == 2


def test_a_run_that_ends_empties_both_groups(cloud: TwoGroups, data: Data) -> None:
    folder, cloud.why[0] = run(cloud, data), CAPACITY
    cloud.keep(for_s=900)
    assert cloud.there[1]
    folder.active.unlink()
    cloud.tick = lambda: None  # type: ignore[method-assign]
    assert {"spot 0", "on-demand 0"} <= set(cloud.keep(for_s=60))
    assert cloud.sizes == [0, 0]


def test_an_on_demand_worker_that_leaves_is_taken_out_of_its_own_group(cloud: TwoGroups, data: Data) -> None:
    run(cloud, data)
    cloud.why[0] = CAPACITY
    cloud.keep(for_s=900)
    leaves = cloud.there[1][0]
    leaving.write(data.leaving, {leaves: 9e9 + cloud.now_s + 60})
    assert f"detach {leaves}" in cloud.keep(for_s=100)
    assert len(cloud.there[1]) == 4, "another one has taken its place"


@pytest.mark.parametrize(
    ("budget_usd", "workers"), [(None, 4), (100.0, 4), (0.16, 2), (0.05, 0)], ids=["none", "large", "small", "spent"]
)
def test_on_demand_is_started_as_far_as_the_budget_pays_for_it(
    cloud: TwoGroups, data: Data, budget_usd: float | None, workers: int
) -> None:
    """A quarter of an hour at the dearest type's price: else the run would be stopped at once."""
    run(cloud, data, job=replace(JOB, budget_usd=budget_usd))
    cloud.why[0] = CAPACITY
    cloud.keep(for_s=700)
    assert len(cloud.there[1]) == workers
    assert any("budgets does not pay for them" in line for line in notes(data)) == (not workers)


@pytest.mark.parametrize("why", [TYPE, QUOTA, "Something new."])
def test_on_demand_does_not_take_the_place_of_what_it_would_fail_for_too(
    cloud: TwoGroups, data: Data, why: str
) -> None:
    """The circuit opens instead: AWS is asked again after a while, and less and less often."""
    run(cloud, data)
    cloud.why[0] = why
    asked = cloud.keep(for_s=4000)
    assert not any("on-demand" in one for one in asked)
    tries = [one for one in asked if one == "spot 4"]
    assert 3 <= len(tries) <= 6, "not in a tight loop, and not given up"
    assert asked.count("spot 0") in (len(tries), len(tries) - 1)
    [said, *_] = notes(data)
    assert why in said
    assert "On-demand workers cannot take their place: they would fail for the same reason." in notes(data)
    cloud.why[0] = ""
    cloud.keep(for_s=4000)
    assert len(cloud.there[0]) == 4


def test_where_aws_does_not_say_why_nothing_else_is_kept_waiting(cloud: TwoGroups, data: Data) -> None:
    """Nobody knows whether on-demand would help, so none is started; what runs is counted."""
    folder = run(cloud, data)
    cloud.there[0], cloud.sizes[0] = ["i-spot-0"], 1
    cloud.why[0] = CAPACITY

    def denied(**_: bool) -> list[Activity]:
        raise AwsError("AccessDenied")

    cloud.launches = denied  # type: ignore[method-assign, assignment]
    asked = cloud.keep(for_s=900)
    assert "spot 4" in asked
    assert not any("on-demand" in one for one in asked)
    assert Reading.of(folder).worker_s > 800


@pytest.mark.parametrize("never", ["never", "another group"])
def test_with_never_spot_alone_is_waited_for(cloud: TwoGroups, data: Data, never: str) -> None:
    run(cloud, data)
    cloud.why[0], cloud.patience_s = CAPACITY, None
    assert not any("on-demand" in one for one in cloud.keep(for_s=2000)), never
    assert cloud.looks < 2000 / keeper.LOOK_EVERY_S, "a look takes a second of the head's time"


def test_a_deadline_shortens_the_patience(cloud: TwoGroups, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweepfleet.machine.head.spare.time", SimpleNamespace(time=lambda: 9e9 + cloud.now_s))
    run(cloud, data, job=replace(JOB, deadline=9e9 + 800))
    cloud.why[0] = CAPACITY
    cloud.keep(for_s=300)
    assert len(cloud.there[1]) == 4


def test_on_demand_that_fails_too_is_said_and_asked_less_often(cloud: TwoGroups, data: Data) -> None:
    run(cloud, data)
    cloud.why = [CAPACITY, QUOTA]
    asked = cloud.keep(for_s=4000)
    assert 1 <= asked.count("on-demand 4") <= 6
    assert any(line.startswith(f"AWS starts no on-demand workers in place of spot: {QUOTA}") for line in notes(data))
    cloud.why = ["", ""]
    cloud.keep(for_s=1500)
    assert (len(cloud.there[0]), cloud.sizes[1]) == (4, 0)


def test_what_on_demand_costs_is_paid_by_its_price(cloud: TwoGroups, data: Data) -> None:
    folder, cloud.why[0] = run(cloud, data, job=replace(JOB, submitted=9e9 - 1)), CAPACITY
    cloud.keep(for_s=700)
    before = Reading.of(folder)
    cloud.keep(for_s=3600)
    paid = (Reading.of(folder).paid_usd or 0.0) - (before.paid_usd or 0.0)
    assert paid == pytest.approx(4 * 0.2, rel=0.1)
