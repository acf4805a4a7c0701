"""Each worker costs what its own type costs, in its zone and market, now."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweepfleet.machine.aws import AwsError, Machine
from sweepfleet.machine.head import price_list
from sweepfleet.machine.head.price_list import PriceList
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.job import Job, JobFolder

RATES = Rates(
    on_demand={"c7i.xlarge": 0.18, "t3.xlarge": 0.16},
    spot={"c7i.xlarge": {"a": 0.07, "b": 0.09}},
    credits={"t3.xlarge": 0.12},
    beside=0.01,
)
JOB = Job("one", "r", "e", "g", "grid.yaml", "inv sweep", 7.0, retry_failed=False, workers_needed=2)


def machine(instance_type: str, zone: str = "a", *, spot: bool = True, name: str = "i-1") -> Machine:
    return Machine(name, instance_type, zone, spot, "2026-11-27T00:00:00Z")


@pytest.mark.parametrize(
    ("one", "usd"),
    [
        (machine("c7i.xlarge", "a"), 0.08),
        (machine("c7i.xlarge", "b"), 0.10),
        (machine("c7i.xlarge", "c"), 0.10),  # a zone that nobody knows: as the dearest
        (machine("c7i.xlarge", spot=False), 0.19),
        (machine("t3.xlarge"), 0.29),  # no spot price; and its CPU credits
        (machine("x9.large"), None),
    ],
)
def test_a_machine_costs_what_it_is(one: Machine, usd: float | None) -> None:
    assert RATES.usd(one) == (None if usd is None else pytest.approx(usd))
    assert Rates.of(RATES.to_dict() | {"of_later": 1}).usd(one) == RATES.usd(one)


class Aws:
    """EC2, as the head asks it."""

    def __init__(self) -> None:
        self.asked, self.spot_usd = list[str](), 0.07
        self.fleet = {"i-1": machine("c7i.xlarge"), "i-2": machine("c7i.xlarge", spot=False, name="i-2")}

    def machines(self, ids: tuple[str, ...]) -> tuple[Machine, ...]:
        self.asked.append(f"machines {' '.join(ids)}")
        return tuple(self.fleet[one] for one in ids)

    def spot_prices(self, types: tuple[str, ...]) -> dict[str, dict[str, float]]:
        self.asked.append(f"prices {' '.join(types)}")
        if not self.spot_usd:
            raise AwsError("AccessDenied")
        return {"c7i.xlarge": {"a": self.spot_usd}}


@pytest.fixture
def jobs(tmp_path: Path) -> list[JobFolder]:
    folder = JobFolder(tmp_path / "one")
    folder.path.mkdir()
    folder.job.write_text(dataclasses.replace(JOB, rates=RATES.to_dict()).to_json())
    return [folder]


def price_list_of(aws: Any, jobs: list[JobFolder]) -> PriceList:
    return PriceList(aws, jobs[0].path.parent, jobs[0].path.parent / "hold.json")


def test_spot_prices_are_asked_for_every_hour_and_what_there_is_holds_where_they_cannot_be(
    jobs: list[JobFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(price_list, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    aws: Any = Aws()
    prices, both = price_list_of(aws, jobs), ("i-1", "i-2")
    assert prices.usd_per_hour(both, jobs) == pytest.approx(0.08 + 0.19)
    assert prices.usd_per_hour(both, jobs) == pytest.approx(0.08 + 0.19)
    assert aws.asked == ["prices c7i.xlarge t3.xlarge", "machines i-1 i-2"]
    aws.spot_usd, clock.now_s = 0.11, price_list.ASK_EVERY_S + 1
    assert prices.usd_per_hour(both, jobs) == pytest.approx(0.12 + 0.19)
    aws.spot_usd, clock.now_s = 0.0, 2 * clock.now_s
    assert prices.usd_per_hour(("i-1",), jobs) == pytest.approx(0.12)
    assert aws.asked[2:] == ["prices c7i.xlarge t3.xlarge"] * 2 + ["machines i-1"]


def test_where_a_price_is_unknown_so_is_the_sum(jobs: list[JobFolder]) -> None:
    aws: Any = Aws()
    aws.fleet["i-3"] = machine("x9.large", name="i-3")
    assert price_list_of(aws, jobs).usd_per_hour(("i-1", "i-3"), jobs) is None
    jobs[0].job.write_text(JOB.to_json())
    assert price_list_of(aws, jobs).usd_per_hour(("i-1",), jobs) is None, "a job of an older release has none"


def test_workers_that_no_run_uses_are_priced_as_the_last_run_was(jobs: list[JobFolder]) -> None:
    """Also by a head that has just begun."""
    aws: Any = Aws()
    assert price_list_of(aws, jobs).usd_per_hour(("i-1",), []) == pytest.approx(0.08)
    assert price_list_of(aws, jobs).usd_per_hour((), []) == 0.0


def test_workers_that_a_command_started_are_priced_as_it_says(jobs: list[JobFolder]) -> None:
    """Also before the first run; while one is active, its own prices hold."""
    aws: Any = Aws()
    jobs[0].job.write_text(JOB.to_json())
    prices = price_list_of(aws, jobs)
    assert prices.usd_per_hour(("i-1",), []) is None
    rates = Rates({"c7i.xlarge": 0.2}, beside=0.05)
    prices.hold.write_text(json.dumps({"workers": 1, "rates": rates.to_dict()}))
    assert prices.usd_per_hour(("i-1",), []) == pytest.approx(aws.spot_usd + 0.05)
    jobs[0].job.write_text(dataclasses.replace(JOB, rates=RATES.to_dict()).to_json())
    assert prices.usd_per_hour(("i-1",), jobs) == pytest.approx(0.08)
    prices.hold.write_text('{"workers": 1, "rates": null}')
    assert prices.usd_per_hour(("i-1",), []) == pytest.approx(0.08)
