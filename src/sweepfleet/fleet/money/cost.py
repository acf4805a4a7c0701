"""What sweeps cost: before they run, while they do, and when they have ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweepfleet.fleet.money.cpu_credits import surplus_usd
from sweepfleet.fleet.money.prices import prices
from sweepfleet.fleet.money.rest_prices import ADDRESS_USD_PER_HOUR, HOURS, USD_PER_GB_MONTH
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs.jobs import folder_of
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.job import Job
from sweepfleet.run.text import dollars, hours_text


class Workers(Protocol):
    """What a stack says of its workers and of money: its settings do, and its outputs when it is up."""

    @property
    def worker_instance_types(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def max_workers(self) -> int: ...  # noqa: D102
    @property
    def spot_percent(self) -> int: ...  # noqa: D102
    @property
    def on_demand_base(self) -> int: ...  # noqa: D102
    @property
    def budget_usd(self) -> int: ...  # noqa: D102
    @property
    def worker_disk_gb(self) -> int: ...  # noqa: D102
    @property
    def worker_egress(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Budget:
    """What a sweep may cost; then it stops."""

    stack_usd: float  # as the stack says
    max_cost_usd: float | None = None  # as the grid does

    @property
    def usd(self) -> float:
        """The smaller of the two."""
        return self.stack_usd if self.max_cost_usd is None else min(self.stack_usd, self.max_cost_usd)

    @property
    def named(self) -> str:
        """It within a sentence."""
        whose = "the grid's max_cost" if self.usd == self.max_cost_usd else "a budget"
        return f"{whose} of {dollars(self.usd)}"

    def __str__(self) -> str:
        """For a person, with the setting that it comes from."""
        whose = "the grid's execution.max_cost" if self.usd == self.max_cost_usd else "the stack's budgetUsd"
        return f"{dollars(self.usd)} USD, {whose}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has had of the workers."""

    worker_hours: float
    usd: float | None  # None: no price is known
    budget_usd: float | None
    exact: bool = False  # by what was there; else at most, at the price of the dearest type

    def __str__(self) -> str:
        """For a person."""
        hours = hours_text(self.worker_hours)
        if self.usd is None:
            return f"{hours}; their cost is unknown"
        budget = f", of a budget of {dollars(self.budget_usd)}" if self.budget_usd is not None else ""
        return f"{'' if self.exact else 'at most '}{dollars(self.usd)} USD{budget} ({hours})"


@dataclass(frozen=True, slots=True)
class Rate:
    """What a stack's worker costs at most, and how that is known."""

    usd_per_worker_hour: float | None
    label: str
    unpriced: tuple[str, ...]  # types that no price is known of
    rates: Rates | None = None  # of each type; None: a price is unknown

    def line(self, workers: int, *, budget: Budget) -> str:
        """What so many workers cost, for the person who starts them."""
        if self.usd_per_worker_hour is None:
            return (
                f"The cost is unknown and no budget is enforced: the price of {', '.join(self.unpriced)} is unknown"
            )
        hourly = workers * self.usd_per_worker_hour
        return f"That is at most {dollars(hourly)} USD an hour ({self.label}); it stops at {budget}"


def rate_of(workers: Workers, cloud: Cloud, *, count: int, cache: Path) -> Rate:
    """What one of so many workers costs; asks AWS, at most twice a day, and keeps it in `cache`."""
    types = workers.worker_instance_types
    known = prices(cloud, types, cache=cache)
    usd = known.mixed(types, workers=count, on_demand_base=workers.on_demand_base, spot_percent=workers.spot_percent)
    if usd is None:
        return Rate(None, known.label_of(types), tuple(known.unknown(types)))
    rates = Rates(
        {name: known.on_demand[name] for name in types},
        {name: known.zones[name] for name in types if name in known.zones},
        {name: surplus for name in types if (surplus := surplus_usd(name))},
        beside_usd(workers),
    )
    return Rate(usd + rates.beside, known.label_of(types), (), rates)


def beside_usd(workers: Workers) -> float:
    """What an hour of a worker costs beside the instance: its disk, and its address where it has one."""
    disk = workers.worker_disk_gb * USD_PER_GB_MONTH["gp3"] / HOURS
    return disk + (ADDRESS_USD_PER_HOUR if workers.worker_egress == "public" else 0.0)


def cost_of(head: Host, name: str) -> Cost:
    """What a run has cost so far, by the meter on the head."""
    return cost(*metered(head, name))


def metered(head: Host, name: str) -> tuple[Reading, Job]:
    """A run's meter on the head, and its job."""
    folder = folder_of(name)
    job = Job.from_json(head.ask("cat", str(folder.job)))
    return Reading.parse(head.run("cat", str(folder.meter)).stdout), job


def cost(reading: Reading, job: Job) -> Cost:
    """What a run has cost, out of its meter and its job."""
    exact = reading.paid_usd is not None
    return Cost(reading.worker_s / 3600, reading.usd(job), job.budget_usd, exact=exact)
