"""What a sweep would take of a cluster, before it runs there: workers, slots, time and money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.money.cost import Budget, Rate, Workers, rate_of
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.grid.sweep import Execution
from sweepfleet.grid.wording import counted
from sweepfleet.machine.head.demand import START_S, workers_for
from sweepfleet.run.text import about_dollars, dollars, duration


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
        """How many workers meet the deadline, and for how much; empty where there is none."""
        if self.deadline_s is None or not points:
            return ""
        point_s = busy_s / points
        needed = workers_for(points, point_s=point_s, slots_each=self.slots_each, most=points, time_s=self.deadline_s)
        said = f"Deadline: {duration(self.deadline_s)}"
        if point_s > self.deadline_s:
            return f"{said}, not met: one point takes about {duration(point_s)}. Raise execution.deadline."
        if needed <= self.workers:
            late_s = self._time_s(needed, points, point_s) - self.deadline_s
            met = "met" if late_s <= 0 else f"not met, by about {duration(late_s)},"
            by = f"{said}, {met} by {counted(needed, 'worker')} of at most {self.workers}"
            return f"{by}: {self._forecast(needed, points, point_s)}{self._later(needed, points, point_s)}."
        more = f"{counted(needed, 'worker')}, and has at most {self.workers}"
        anyway = f"{counted(self.workers, 'worker')}: {self._forecast(self.workers, points, point_s)}"
        return f"{said}, not met: it needs {more}. Raise maxWorkers or execution.deadline. With {anyway}."

    def _time_s(self, workers: int, points: int, point_s: float) -> float:
        """How long so many workers take, their start included: points come in as many waves as slots need."""
        slots = min(workers * self.slots_each, self.at_once or points)
        return math.ceil(points / max(1, slots)) * point_s + START_S

    def _usd_of(self, workers: int, time_s: float) -> float | None:
        usd = self.rate.usd_per_worker_hour
        return None if usd is None else workers * time_s / 3600 * usd

    def _forecast(self, workers: int, points: int, point_s: float) -> str:
        """When so many workers are done, and what that costs at most."""
        time_s = self._time_s(workers, points, point_s)
        usd = self._usd_of(workers, time_s)
        return f"about {duration(time_s)}" + ("" if usd is None else f" at {about_dollars(usd)} USD at most")

    def _later(self, workers: int, points: int, point_s: float) -> str:
        """What it costs with so few workers that it takes all the time that it has, where that is less."""
        usd = self._usd_of(workers, self._time_s(workers, points, point_s))
        if usd is None:
            return ""
        in_time = (one for one in range(1, workers) if self._time_s(one, points, point_s) <= (self.deadline_s or 0))
        fewer = next(in_time, workers)
        time_s = self._time_s(fewer, points, point_s)
        less = self._usd_of(fewer, time_s)
        cheaper = less is not None and less < usd and dollars(less) != dollars(usd)
        return f"; {duration(time_s)} would cost {dollars(less or 0.0)}" if cheaper else ""

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
