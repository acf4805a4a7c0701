"""What a whole stack has cost over some days: workers, whether a run used them or not, head, disks, addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.prices import Prices, prices
from sweepfleet.fleet.money.rest_prices import (
    ADDRESS_USD_PER_HOUR,
    HOURS,
    NAT_USD_PER_HOUR,
    TABLE_SOURCE,
    USD_PER_GB_MONTH,
)
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.cloud import asking_aws
from sweepfleet.fleet.runs.answers import sleeping
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import HEAD_DISK_GB, MachinePaths
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head.spending import Day, Spending, head_hours
from sweepfleet.run.text import dollars, hours_text, number

SPENDING = Data(Path(MachinePaths().data)).spending


@dataclass(frozen=True, slots=True)
class Bill:
    """A stack's cost since a day."""

    stack: str
    since: datetime  # the beginning of a day, or of the stack
    hours: float  # since then
    worker_hours: float
    workers_usd: float
    unused_usd: float  # of it, while no run was active
    unpriced_hours: float  # workers' hours of an unknown price
    head_type: str
    head_hours: float  # in which it was up
    head_usd: float | None  # None: its price is unknown
    disks_gb: int
    disks_usd: float
    addresses_usd: float  # and of the NAT gateway, where there is one
    sources: str

    @property
    def usd(self) -> float:
        """The sum of what is known."""
        return self.workers_usd + (self.head_usd or 0.0) + self.disks_usd + self.addresses_usd

    def to_dict(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return asdict(self) | {"since": self.since.isoformat(), "usd": self.usd}

    def lines(self) -> Iterator[str]:
        """It for a person."""
        days = counted(max(1, round(self.hours / 24)), "day")
        yield f"Stack {self.stack} since {self.since:%Y-%m-%d %H:%M} UTC, {days}:"
        unused = f", of it {dollars(self.unused_usd)} without an active run" if self.unused_usd else ""
        yield f"  workers    {dollars(self.workers_usd)} USD ({hours_text(self.worker_hours)}{unused})"
        if self.unpriced_hours:
            yield f"             and {hours_text(self.unpriced_hours)} of an unknown price"
        head = "unknown" if self.head_usd is None else f"{dollars(self.head_usd)} USD"
        up = f"up for {number(self.head_hours)} of {number(self.hours)} hours"
        yield f"  head       {head} ({self.head_type}, {up})"
        yield f"  disks      {dollars(self.disks_usd)} USD ({self.disks_gb} GB of the head)"
        yield f"  addresses  {dollars(self.addresses_usd)} USD"
        yield f"  sum        {dollars(self.usd)} USD, without the bucket and what is sent to the internet"
        yield f"Prices: {self.sources}; {TABLE_SOURCE}"


def bill(fleet: Fleet, *, since_s: float, now: datetime | None = None) -> Bill:
    """What a stack has cost in the last seconds, from the beginning of a day on.

    Raises:
        ClusterError: the head or AWS does not answer.
    """
    now, out = now or datetime.now(UTC), fleet.outputs
    text = _spending(fleet)
    with asking_aws("look at the data volume"):
        found = fleet.cloud.client("ec2").describe_volumes(VolumeIds=[out.data_volume_id])["Volumes"]
    if not found:
        raise ClusterError(f"The data volume {out.data_volume_id} is gone. See: inv up --stack {out.stack}")
    known = prices(fleet.cloud, [out.head_instance_type], cache=fleet.folder.head_prices_file)
    return summed(Spending.parse(text), out, known, born=found[0]["CreateTime"], since_s=since_s, now=now)


def _spending(fleet: Fleet) -> str:
    """What all workers have cost by day, as the head says it, or the bucket while it is asleep."""
    if (known := sleeping(fleet)) is not None:
        return known.spending
    with fleet.awake_head() as head:
        return head.ask("sh", "-c", data_volume.needed('cat "$1" 2>/dev/null || true'), "spending", str(SPENDING))


def summed(spending: Spending, out: Outputs, known: Prices, *, born: datetime, since_s: float, now: datetime) -> Bill:
    """The sum; pure. `born` is when the stack was made."""
    first = (now - timedelta(seconds=since_s)).replace(hour=0, minute=0, second=0, microsecond=0)
    since = max(first, born.astimezone(UTC))
    hours = max(0.0, (now - since).total_seconds() / 3600)
    days: Sequence[Day] = [day for date, day in spending.days.items() if date >= first.date().isoformat()]
    on_demand = known.of(out.head_instance_type, spot=False)
    disks_gb = HEAD_DISK_GB + out.data_volume_gb
    up_hours = head_hours(spending.days, since=since, now=now)
    address_hours = hours if out.head_address == "stays" else up_hours
    nat = (NAT_USD_PER_HOUR + ADDRESS_USD_PER_HOUR) * (out.worker_egress == "nat")
    return Bill(
        stack=out.stack,
        since=since,
        hours=hours,
        worker_hours=sum(day.worker_s for day in days) / 3600,
        workers_usd=sum(day.usd for day in days),
        unused_usd=sum(day.unused_usd for day in days),
        unpriced_hours=sum(day.unpriced_s for day in days) / 3600,
        head_type=out.head_instance_type,
        head_hours=up_hours,
        head_usd=None if on_demand is None else on_demand * up_hours,
        disks_gb=disks_gb,
        disks_usd=disks_gb * USD_PER_GB_MONTH["gp3"] / HOURS * hours,
        addresses_usd=ADDRESS_USD_PER_HOUR * address_hours + nat * hours,
        sources=known.label,
    )
