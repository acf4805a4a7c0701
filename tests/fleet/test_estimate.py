"""What a sweep would take of a cluster: the arithmetic, the line that a person reads before paying, whose limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Budget, Rate
from sweepfleet.fleet.money.estimate import Capacity, capacity
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.runs.jobs import workers_needed
from sweepfleet.fleet.runs.on_stack import order
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import loads
from sweepfleet.grid.sweep import Execution
from sweepfleet.infra.settings import Settings
from sweepfleet.machine.facts import KEYS
from sweepfleet.machine.head.rates import Rates
from tests.cloud.inprocess import PUBLIC_KEY
from tests.cloud.moto import moto_server
from tests.fleet.test_runs_far import OUTPUTS

REGION = "us-east-1"
PRICED, UNPRICED = ("c7i.xlarge",), ("c7i.xlarge", "x1e.xlarge")


STACKS = Budget(25)


def made(usd: float | None, *, budget: Budget = STACKS, **other: Any) -> Capacity:
    return Capacity(10, 4, Rate(usd, "a price list", () if usd else ("x9.large",)), budget, **other)


@pytest.fixture(autouse=True)
def credentials(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """An account with nothing in it, whose region knows the types, and neither prices nor a spot history of ours."""
    with moto_server(REGION) as moto:
        moto.client("s3").create_bucket(Bucket=OUTPUTS.bucket)
        release = {"release": {"sha256": "a" * 64}, "commit": "c" * 40, "dirty": False}
        note = release | {"engine": "e", "lock": "l", "pushed": 0.0}
        moto.client("s3").put_object(Bucket=OUTPUTS.bucket, Key=KEYS.current, Body=json.dumps(note).encode())
        yield Cloud(REGION, endpoint_url=moto.endpoint)


def test_money_is_for_the_time_that_slots_are_busy_however_many_there_are() -> None:
    """1000 points of 36 s are 10 hours of a slot, which is 2.5 hours of a worker with four."""
    its = made(0.4)
    assert its.slots == 40
    assert its.hours(1000 * 36, points=1000) == pytest.approx(0.25)
    assert its.usd(0.25) == pytest.approx(1.0)


@pytest.mark.parametrize(("at_once", "points"), [(None, 3), (3, 1000)])
def test_a_worker_whose_slots_are_empty_costs_as_much_as_a_full_one(at_once: int | None, points: int) -> None:
    """Three at once, because there are no more of them or because the grid says so, take 10 hours for 30."""
    its = made(0.4, at_once=at_once)
    assert its.hours(30 * 3600, points=points) == pytest.approx(10)
    assert its.usd(10) == pytest.approx(10 * 10 * 0.4)


@pytest.mark.parametrize(
    ("capacity", "line"),
    [
        (made(0.4), "Cost: about 1 USD at most, of a budget of 25 (a price list)."),
        (made(0.4, budget=Budget(0.5)), "Cost: about 1 USD at most, more than a budget of 0.50 (a price list)."),
        (
            made(0.4, budget=Budget(25, 12)),
            "Cost: about 1 USD at most, of the grid's max_cost of 12 (a price list).",
        ),
        (
            made(0.4, budget=Budget(25, 0.75)),
            "Cost: about 1 USD at most, more than the grid's max_cost of 0.75 (a price list).",
        ),
        (
            made(0.4, budget=Budget(25, 100)),
            "Cost: about 1 USD at most, of a budget of 25 (a price list).",
        ),
        (
            made(None),
            "Cost: unknown. The price of x9.large is unknown. No budget can be enforced, so it is refused without --unpriced.",  # noqa: E501
        ),
        (
            made(None, budget=Budget(25, 12)),
            "Cost: unknown. The price of x9.large is unknown. Its max_cost cannot be enforced, so it is refused.",
        ),
    ],
)
def test_the_line_says_whether_the_limit_will_do_and_whose_it_is(capacity: Capacity, line: str) -> None:
    assert capacity.line(36_000, 1000) == line


@pytest.mark.parametrize(
    ("deadline_s", "said"),
    [
        (36_000.0, "Deadline: 10 h, met by 1 worker of at most 10: about 2 h 31 min at about 1.01 USD at most."),
        (7200.0, "Deadline: 2 h, met by 2 workers of at most 10: about 1 h 16 min at about 1.01 USD at most."),
        (
            660.0,
            (
                "Deadline: 11 min, not met: it needs 16 workers, and has at most 10. Raise maxWorkers or "
                "execution.deadline. With 10 workers: about 16 min at about 1.07 USD at most."
            ),
        ),
        (30.0, "Deadline: 30 s, not met: one point takes about 36 s. Raise execution.deadline."),
    ],
)
def test_a_deadline_is_said_to_be_met_by_so_many_or_not(deadline_s: float, said: str) -> None:
    """Ten hours of one slot's work, in 1000 points; four slots a worker."""
    assert f" {said}" in made(0.4, deadline_s=deadline_s).line(36_000, 1000)


def test_what_a_deadline_costs_is_compared_with_taking_all_the_time_that_it_leaves() -> None:
    """Fewer workers wait less: for the last points, and while they start."""
    half = made(0.4, deadline_s=6 * 3600.0).deadline_line(130 * 1800.0, 130)
    assert half.startswith("Deadline: 6 h, met by 4 workers of at most 10: about 4 h 31 min at about 7.23 USD at ")
    assert half.endswith(" at most; 5 h 31 min would cost 6.62.")
    # Nothing cheaper is in time. And points of one and a half hours come in four waves.
    hour = made(0.4, deadline_s=6 * 3600.0).deadline_line(66 * 3600.0, 66)
    assert hour == "Deadline: 6 h, met by 4 workers of at most 10: about 5 h 1 min at about 8.03 USD at most."
    long = made(0.4, deadline_s=6 * 3600.0).deadline_line(72 * 5400.0, 72)
    assert long.startswith("Deadline: 6 h, not met, by about 1 min, by 5 workers of at most 10: about 6 h 1 min ")
    assert "USD" not in made(None, deadline_s=7200.0).deadline_line(36_000, 1000)


def test_a_cost_too_small_to_be_told_is_not_about_nothing() -> None:
    assert made(0.4).line(0.001, 1000) == "Cost: <0.0001 USD at most, of a budget of 25 (a price list)."


def test_settings_of_a_stack_that_is_not_up_will_do(cloud: Cloud, tmp_path: Path) -> None:
    """As its outputs do: what a sweep costs can be said before the stack is there."""
    values = {"worker_instance_types": PRICED, "max_workers": 10, "spot_percent": 100, "on_demand_base": 2}
    settings = Settings(ssh_cidrs=("203.0.113.7/32",), ssh_public_key=PUBLIC_KEY, budget_usd=7, **values)
    outputs = dataclasses.replace(OUTPUTS, budget_usd=7, worker_disk_gb=30, **values)
    found = [
        capacity(one, cloud, Execution(max_parallel=5, cpus=2), count=3, cache=tmp_path / "prices.json")
        for one in (settings, outputs)
    ]
    assert found[0] == found[1]
    assert (found[0].slots_each, found[0].slots, found[0].budget) == (2, 5, Budget(7)), (
        "each point takes two of four cores"
    )


def test_a_cluster_of_several_types_has_at_least_the_slots_of_the_smallest(cloud: Cloud, tmp_path: Path) -> None:
    """AWS may choose it for all workers."""
    types = ("c7i.2xlarge", "c7i.xlarge", "c7i.4xlarge")
    outputs = dataclasses.replace(
        OUTPUTS, worker_instance_types=types, max_workers=10, spot_percent=0, on_demand_base=0, budget_usd=25
    )
    assert capacity(outputs, cloud, Execution(), count=3, cache=tmp_path / "prices.json").slots_each == 4


# What the cluster is asked for


@pytest.fixture
def fleet(cloud: Cloud, tmp_path: Path) -> Fleet:
    """A cluster of which there is only the bucket, with a release in it."""
    outputs = dataclasses.replace(
        OUTPUTS, worker_instance_types=PRICED, max_workers=10, spot_percent=100, on_demand_base=0, budget_usd=25
    )
    return Fleet(tmp_path, outputs, cloud)


def sweep(root: Path, execution: str = "{}", points: int = 100) -> Any:
    (root / "grid.yaml").write_text(
        f"run: fit:fit\nparameters: {{a: {{min: 1, max: {points}}}}}\nexecution: {execution}\n"
    )
    return loads((root / "grid.yaml").read_text(), source=root / "grid.yaml")


def ordered(fleet: Fleet, execution: str, **how: bool) -> Any:
    return order(fleet, sweep(fleet.root, execution), command_line="inv sweep", redo="", workers=None, **how)


@pytest.mark.parametrize(
    ("max_cost", "budget_usd", "said"),
    [
        ("{}", 25.0, "it stops at 25 USD, the stack's budgetUsd"),
        ("{max_cost: 12.5}", 12.5, "it stops at 12.50 USD, the grid's execution.max_cost"),
        ("{max_cost: 99}", 25.0, "it stops at 25 USD, the stack's budgetUsd"),
    ],
)
def test_a_run_stops_at_the_smaller_of_the_stacks_budget_and_its_own(
    fleet: Fleet, max_cost: str, budget_usd: float, said: str
) -> None:
    asked = ordered(fleet, max_cost)
    assert asked.job.budget_usd == budget_usd
    assert asked.lines[-1].endswith(said)


def test_a_max_cost_that_nobody_could_hold_is_refused(fleet: Fleet) -> None:
    """And any sweep whose budget nobody can, unless that is said: then it is taken, and said to have no limit."""
    dear = dataclasses.replace(fleet, outputs=dataclasses.replace(fleet.outputs, worker_instance_types=UNPRICED))
    with pytest.raises(UsageError, match=r"max_cost is 12\.50 USD, and cannot be enforced: .* x1e\.xlarge"):
        ordered(dear, "{max_cost: 12.5}")
    with pytest.raises(UsageError, match=r"max_cost is 12\.50 USD, and cannot be enforced"):
        ordered(dear, "{max_cost: 12.5}", without_price=True)
    with pytest.raises(UsageError, match=r"budgetUsd is 25 USD, and cannot .* x1e\.xlarge .* inv sweep --unpriced"):
        ordered(dear, "{}")
    taken = ordered(dear, "{}", without_price=True)
    assert taken.lines[-1].startswith("The cost is unknown and no budget is enforced")


def test_the_price_is_of_the_workers_that_start(fleet: Fleet) -> None:
    """Of two workers with two on-demand ones among them each costs what on-demand does, however many could be had."""
    mixed = dataclasses.replace(fleet, outputs=dataclasses.replace(fleet.outputs, on_demand_base=2))
    two = ordered(mixed, "{max_parallel: 8}")
    ten = ordered(mixed, "{}")
    assert (two.job.workers_needed, ten.job.workers_needed) == (2, 10)
    assert two.job.usd_per_worker_hour > ten.job.usd_per_worker_hour


def test_a_job_takes_the_price_of_each_type_along_with_its_disk_and_address(fleet: Fleet) -> None:
    """The head pays by what starts; whoever submits is told the most that it can be."""
    plain = ordered(fleet, "{}").job
    public = dataclasses.replace(fleet, outputs=dataclasses.replace(fleet.outputs, worker_egress="public"))
    larger = dataclasses.replace(fleet, outputs=dataclasses.replace(fleet.outputs, worker_disk_gb=1003))
    rates = Rates.of(plain.rates)
    assert set(rates.types) == set(fleet.outputs.worker_instance_types)
    assert rates.beside == pytest.approx(fleet.outputs.worker_disk_gb * 0.08 / 730)
    for other, more in ((public, 0.005), (larger, 1000 * 0.08 / 730)):
        dearer = ordered(other, "{}").job
        assert Rates.of(dearer.rates).beside == pytest.approx(rates.beside + more)
        assert dearer.usd_per_worker_hour == pytest.approx(plain.usd_per_worker_hour + more)


@pytest.mark.parametrize(
    ("points", "execution", "workers", "wanted"),
    [(100, "{}", None, 10), (3, "{}", None, 3), (100, "{max_parallel: 2}", None, 2), (100, "{}", 4, 4)],
)
def test_no_more_workers_start_than_a_sweep_can_use(
    tmp_path: Path, points: int, execution: str, workers: int | None, wanted: int
) -> None:
    assert workers_needed(sweep(tmp_path, execution, points), workers=workers, max_workers=10) == wanted
