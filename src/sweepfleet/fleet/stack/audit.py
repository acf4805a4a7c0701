"""What carries a stack's tag in the account, against what its state holds: the rest was left behind, and may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sweepfleet.fleet.money.prices import prices
from sweepfleet.fleet.money.rest_prices import HOURS
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.tagged import Item, groups, identity, instances, of_ec2, others
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import STACK_TAG
from sweepfleet.run.text import about_dollars

if TYPE_CHECKING:
    from sweepfleet.fleet.stack.stack import Stack  # which asks for an audit itself


@dataclass(frozen=True, slots=True)
class Audit:
    """A stack's resources in its region: the leaked ones first, and of them the dearest."""

    stack: str
    region: str
    items: tuple[Item, ...]

    @property
    def leaks(self) -> list[Item]:
        """What is to be removed, or to be taken into the stack."""
        return [item for item in self.items if item.leaked]

    @property
    def usd_month(self) -> float:
        """What the leaks cost a month, as far as that is known."""
        return sum(item.usd_month or 0 for item in self.leaks)


def audit(stack: Stack) -> Audit:
    """Compare what the account has with what a stack's state holds; reads only.

    Raises:
        UsageError: there is no such stack.
        DownError: it was taken down and removed elsewhere.
        ClusterError: Pulumi or AWS refuses to be asked.
    """
    stack.require_stack()
    cloud = stacks.cloud_of(stack.config())
    state = {one.id for one in stack.pulumi.resources(stack.full_name) if one.type.startswith("aws:")}
    folder = stack.folder
    return compare(cloud, stack=folder.stack, state=state, cache=folder.path / "audit-prices.json")


def lines(found: Audit, now: datetime) -> Iterator[str]:
    """What an audit found, for a person."""
    explained = Counter(one.why.partition(" ")[0] for one in found.items if not one.leaked)
    yield (
        f"{counted(len(found.items), 'resource')} in {found.region} with the tag {STACK_TAG}={found.stack}: "
        f"{explained['in']} in its state, {explained['started']} started by its groups, "
        f"{explained['attached']} attached to these machines, {len(found.leaks)} leaked."
    )
    for one in found.leaks:
        money = "" if one.usd_month is None else f", {about_dollars(one.usd_month)} USD a month"
        yield f"LEAK {one.kind} {one.id}, {one.age(now)}{money}"
        yield f"     {one.remedy}"
    if found.leaks:
        yield (
            f"The leaked resources cost {about_dollars(found.usd_month)} USD a month, as far as prices are known. An "
            "interrupted inv up may have created them. Check what they contain, then remove each with its command."
        )


def compare(cloud: Cloud, *, stack: str, state: Collection[str], cache: Path) -> Audit:
    """Compare what the account has with what the stack knows; reads only.

    Args:
        cloud: the stack's account and region.
        stack: its name, without organisation and project.
        state: the ids that its state holds.
        cache: a file that keeps prices.

    Raises:
        ClusterError: AWS refuses to be asked.
    """
    with asking_aws(f"list the resources with the tag {STACK_TAG}={stack}"):
        ec2 = cloud.client("ec2")
        rest = [*of_ec2(cloud, ec2, stack), *groups(cloud, stack), *identity(cloud, stack), *others(cloud, stack)]
        # After their volumes, so that a worker that starts meanwhile is known; and those that go are asked for, too,
        # since their volumes go a moment later.
        machines = [_explained(one, state, machines=()) for one in instances(cloud, ec2, stack)]
        ours = {one.id for one in machines if not one.leaked}
        there = [one for one in machines if not one.going]
        items = [*_priced(there, cloud, cache), *(_explained(one, state, machines=ours) for one in rest)]
    order = sorted(items, key=lambda one: (not one.leaked, -(one.usd_month or 0), one.kind, one.id))
    return Audit(stack, cloud.region, tuple(order))


def _explained(item: Item, state: Collection[str], *, machines: Collection[str]) -> Item:
    """The item with the reason why it is there: the state has it, or something that the state has."""
    why = ""
    if item.id in state or item.id.rpartition("/")[2] in state:
        why = "in the stack's state"
    elif item.group and item.group in state:
        why = f"started by the group {item.group}"
    elif item.instance in machines:
        why = f"attached to {item.instance}"
    return replace(item, why=why)


def _priced(machines: list[Item], cloud: Cloud, cache: Path) -> Iterator[Item]:
    """The instances, the leaked ones with what they cost on demand."""
    types = {one.instance_type for one in machines if one.leaked}
    known = prices(cloud, types, cache=cache) if types else None
    for one in machines:
        hourly = known.of(one.instance_type, spot=False) if known is not None and one.leaked else None
        yield one if hourly is None else replace(one, usd_month=hourly * HOURS)
