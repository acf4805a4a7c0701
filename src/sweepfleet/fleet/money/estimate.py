"""What a sweep would take of a cluster, before it runs there: workers, slots, time and money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.money.cost import Budget, Rate, Workers, rate_of
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.grid.sweep import Execution
from sweepfleet.grid.wording import counted
from sweepfleet.machine.head.demand import workers_for
from sweepfleet.run.text import about_dollars, duration


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a cluster has for one sweep."""

    workers: int  # that start for it
    slots_each: int  # of the smallest type: AWS may choose it
    rate: Rate
    budget: Budget
    deadline_s: float | None = None  # in which it is to be done; None: any time
    at_once: int | None = None  # points that may run at once; None: one in each slot

    @property
    def slots(self) -> int:
        """How many points run at once."""
        return min(self.workers * self.slots_each, self.at_once or self.workers * self.slots_each)

    def hours(self, busy_s: float, *, points: int) -> float:
        """How long so many points take that keep slots busy for so many seconds in all."""
        return busy_s / max(1, min(self.slots, points)) / 3600

    def usd(self, hours: float) -> float | None:
        """What so many hours of the workers cost at most; None: no price is known.

        The time in which they come, wait for the last point and go is not in it.
        """
        usd = self.rate.usd_per_worker_hour
        return None if usd is None else hours * self.workers * usd

    def line(self, busy_s: float, points: int) -> str:
        """What so many points cost, for a person, and whether the deadline is met."""
        deadline = self.deadline_line(busy_s, points)
        return f"{self._cost(busy_s, points)}{f' {deadline}' if deadline else ''}"

    def deadline_line(self, busy_s: float, points: int) -> str:
        """How many workers meet the deadline; empty where there is none."""
        if self.deadline_s is None or not points:
            return ""
        point_s = busy_s / points
        needed = workers_for(points, point_s=point_s, slots_each=self.slots_each, most=points, time_s=self.deadline_s)
        said = f"Deadline: {duration(self.deadline_s)}"
        if point_s > self.deadline_s:
            return f"{said}, not met: one point takes about {duration(point_s)}. Raise execution.deadline."
        if needed <= self.workers:
            return f"{said}, met by {counted(needed, 'worker')} of at most {self.workers}."
        more = f"{counted(needed, 'worker')}, and has at most {self.workers}"
        return f"{said}, not met: it needs {more}. Raise maxWorkers or execution.deadline."

    def _cost(self, busy_s: float, points: int) -> str:
        """What so many points cost."""
        usd = self.usd(self.hours(busy_s, points=points))
        if usd is None:
            said = f"Cost: unknown. The price of {', '.join(self.rate.unpriced)} is unknown."
            if self.budget.max_cost_usd is not None:
                return f"{said} Its max_cost cannot be enforced, so it is refused."
            return f"{said} No budget can be enforced, so it is refused without --unpriced."
        more = "more than " if usd > self.budget.usd else "of "
        return f"Cost: {about_dollars(usd)} USD at most, {more}{self.budget.named} ({self.rate.label})."


def capacity(workers: Workers, cloud: Cloud, execution: Execution, *, count: int, cache: Path) -> Capacity:
    """The capacity of so many workers.

    Args:
        workers: the stack's settings, or its outputs.
        cloud: where they would run.
        execution: what the grid says of each point and of all.
        count: how many start, as `fleet.runs.jobs.workers_needed` says.
        cache: a file that keeps prices.

    Raises:
        ClusterError: AWS refuses, or the region has none of a type.
    """
    rate = rate_of(workers, cloud, count=count, cache=cache)
    each = slots_each(workers, cloud, execution)
    budget = Budget(workers.budget_usd, execution.max_cost_usd)
    return Capacity(count, each, rate, budget, execution.deadline_s, execution.max_parallel)


def slots_each(workers: Workers, cloud: Cloud, execution: Execution) -> int:
    """The points that a worker of the smallest type runs at once. Raises ClusterError as `vcpus` does."""
    return max(1, min(vcpus(cloud, workers.worker_instance_types).values()) // execution.cpus)


def vcpus(cloud: Cloud, types: Sequence[str]) -> dict[str, int]:
    """The vCPUs of these instance types. Raises ClusterError: AWS refuses, or the region has none of a type."""
    with asking_aws("look up the instance types"):
        answer = cloud.client("ec2").describe_instance_types(InstanceTypes=sorted(set(types)))["InstanceTypes"]
    return {one["InstanceType"]: int(one["VCpuInfo"]["DefaultVCpus"]) for one in answer}
