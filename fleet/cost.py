"""What sweeps cost: before they run, while they do, and when they have ended."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.fleet import Fleet
from fleet.prices import prices
from fleet.remote import Host
from fleet.runs import folder_of
from worker.machine.job import Job
from worker.machine.meter import Reading


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has had of the workers."""

    worker_hours: float
    usd: float | None  # at most; None: no price is known
    budget_usd: float | None

    def __str__(self) -> str:
        """For a person."""
        hours = f"{self.worker_hours:,.2f} worker hours"
        if self.usd is None:
            return f"{hours}; what they cost is not known"
        budget = f", of a budget of {self.budget_usd:,.0f}" if self.budget_usd is not None else ""
        return f"at most {self.usd:,.2f} USD{budget} ({hours})"


@dataclass(frozen=True, slots=True)
class Rate:
    """What a stack's worker costs at most, and how that is known."""

    usd_per_worker_hour: float | None
    label: str
    unpriced: tuple[str, ...]  # types that no price is known of

    def line(self, workers: int, *, budget_usd: float) -> str:
        """What so many workers cost, for the person who starts them."""
        if self.usd_per_worker_hour is None:
            return f"What it costs is not known, and no budget holds: there is no price of {', '.join(self.unpriced)}"
        hourly = workers * self.usd_per_worker_hour
        return f"That is at most {hourly:,.2f} USD an hour ({self.label}); it stops at {budget_usd:,.0f} USD"


def rate_of(fleet: Fleet, *, workers: int) -> Rate:
    """What one of so many workers costs; asks AWS, at most twice a day."""
    out = fleet.outputs
    types = out.worker_instance_types
    known = prices(fleet.cloud, types, cache=fleet.folder.prices_file)
    usd = known.mixed(types, workers=workers, on_demand_base=out.on_demand_base, spot_percent=out.spot_percent)
    return Rate(usd, known.label, tuple(known.unknown(types)))


def cost_of(head: Host, name: str) -> Cost:
    """What a run has cost so far, by the meter on the head."""
    folder = folder_of(name)
    job = Job.from_json(head.ask("cat", str(folder.job)))
    reading = Reading.parse(head.run("cat", str(folder.meter)).stdout)
    return Cost(reading.worker_s / 3600, reading.usd(job), job.budget_usd)
