"""What a sweep would take of a cluster, before it runs there: workers, slots, time and money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.cloud import Cloud, told
from fleet.cost import Rate, rate_of
from fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Capacity:
    """A cluster's workers at its largest."""

    workers: int
    slots_each: int  # of the smallest type: AWS may choose it
    rate: Rate
    budget_usd: float

    @property
    def slots(self) -> int:
        """How many points run at once."""
        return self.workers * self.slots_each

    def usd(self, busy_s: float) -> float | None:
        """What it costs at most to keep slots busy for so many seconds in all; None: no price is known.

        Workers that come, wait for the last point and go are not in it.
        """
        usd = self.rate.usd_per_worker_hour
        return None if usd is None else busy_s / self.slots_each / 3600 * usd

    def line(self, busy_s: float) -> str:
        """The same for a person."""
        usd = self.usd(busy_s)
        if usd is None:
            return f"Cost: not known: there is no price of {', '.join(self.rate.unpriced)}."
        more = "more than " if usd > self.budget_usd else "of "
        return f"Cost: about {usd:,.2f} USD at most, {more}a budget of {self.budget_usd:,.0f} ({self.rate.label})."


def capacity(fleet: Fleet, *, workers: int | None = None) -> Capacity:
    """A cluster's capacity, with so many workers or as many as it may have. Raises ClusterError: AWS refuses."""
    out = fleet.outputs
    most = min(workers or out.max_workers, out.max_workers)
    sizes = vcpus(fleet.cloud, out.worker_instance_types)
    return Capacity(most, min(sizes.values()), rate_of(fleet, workers=most), out.budget_usd)


def vcpus(cloud: Cloud, types: Sequence[str]) -> dict[str, int]:
    """The vCPUs of these instance types. Raises ClusterError: AWS refuses, or the region has none of a type."""
    with told("look up the instance types"):
        answer = cloud.client("ec2").describe_instance_types(InstanceTypes=sorted(set(types)))["InstanceTypes"]
    return {one["InstanceType"]: int(one["VCpuInfo"]["DefaultVCpus"]) for one in answer}
