"""What a stack's parts cost at rest, beside its instances: us-east-1's list prices of August 2026, in US dollars.

https://aws.amazon.com/ebs/pricing/, https://aws.amazon.com/vpc/pricing/
"""

from __future__ import annotations

from typing import Protocol

from sweepfleet.infra.layout import HEAD_DISK_GB
from sweepfleet.run.text import dollars

TABLE_SOURCE = "disks, addresses and gateways at us-east-1's list prices of August 2026"
HOURS = 730  # a month, as AWS's calculator has it
USD_PER_GB_MONTH = {"gp3": 0.08, "gp2": 0.10, "st1": 0.045, "sc1": 0.015, "standard": 0.05}
ADDRESS_USD_PER_HOUR = 0.005  # a public IPv4 address, in use or not
NAT_USD_PER_HOUR = 0.045  # and 0.045 a GB through it


class AtRest(Protocol):
    """What a stack has while its head is asleep: its settings say it, and its outputs when it is up."""

    @property
    def data_volume_gb(self) -> int: ...  # noqa: D102
    @property
    def head_address(self) -> str: ...  # noqa: D102
    @property
    def worker_egress(self) -> str: ...  # noqa: D102


def rest_items(stack: AtRest) -> dict[str, float]:
    """What a stack costs a month while its head is asleep, the bucket aside: by what it is for."""
    disks_gb = HEAD_DISK_GB + stack.data_volume_gb
    found = {f"{disks_gb} GB of disks": disks_gb * USD_PER_GB_MONTH["gp3"]}
    if stack.head_address == "stays":
        found["the head's address"] = ADDRESS_USD_PER_HOUR * HOURS
    if stack.worker_egress == "nat":
        found["NAT gateway and its address"] = (NAT_USD_PER_HOUR + ADDRESS_USD_PER_HOUR) * HOURS
    return found


def at_rest(stack: AtRest) -> str:
    """The same for a person, with the sum."""
    items = rest_items(stack)
    parts = ", ".join(f"{what} {dollars(usd)}" for what, usd in items.items())
    return f"{dollars(sum(items.values()))} USD a month ({parts}), and the bucket by its size"
