"""What a plan costs: a month at rest, by what it declares; an hour at work, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepfleet.fleet.money.cost import beside_usd
from sweepfleet.fleet.money.prices import Prices, prices
from sweepfleet.fleet.money.rest_prices import (
    ADDRESS_USD_PER_HOUR,
    HOURS,
    NAT_USD_PER_HOUR,
    TABLE_SOURCE,
    USD_PER_GB_MONTH,
)
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.infra.durations import NEVER
from sweepfleet.infra.layout import IDLE_STOP_TAG
from sweepfleet.infra.settings import Settings
from sweepfleet.pipeline.plan import UNKNOWN, Plan, State

INSTANCE = "aws:ec2/instance:Instance"
GROUP = "aws:autoscaling/group:Group"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
FREE = frozenset(
    {
        "aws:ec2/eipAssociation:EipAssociation",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/keyPair:KeyPair",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/route:Route",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/securityGroupRule:SecurityGroupRule",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/volumeAttachment:VolumeAttachment",
        "aws:ec2/vpc:Vpc",
        "aws:iam/instanceProfile:InstanceProfile",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
)
BY_SIZE = "aws:s3/"  # a bucket costs what is in it


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that costs while nothing runs."""

    what: str  # for a person; of the program's names and settings
    now_usd: float | None  # a month; None: no price is known
    then_usd: float | None


@dataclass(frozen=True, slots=True)
class Money:
    """What a stack costs."""

    items: tuple[Item, ...]  # at rest
    unpriced: tuple[str, ...]  # resources that cost, and this program does not know how much
    worker_usd: float | None  # an hour, at most; None: no price is known
    workers: int  # at most at once
    label: str  # where prices come from
    head_usd: float | None = None  # an hour of a head that sleeps, while it is up; None: unknown, or it never sleeps

    def sum_usd(self, side: Callable[[Item], float | None]) -> float | None:
        """The sum at rest of one side; None when a price is missing."""
        found = [side(item) for item in self.items]
        return None if None in found else sum(usd for usd in found if usd is not None)


def money(plan: Plan, settings: Settings, cloud: Cloud, *, cache: Path) -> Money:
    """What a stack costs as it is, and as the plan would have it.

    Args:
        plan: with every resource of the stack, also those that stay as they are.
        settings: the stack's, as they are to be.
        cloud: where it is; asked for prices, at most twice a day.
        cache: a file that keeps prices.
    """
    heads = {settings.head_instance_type} | {
        _text(state.inputs.get("instanceType")) for side in _sides(plan) for state in _of(side, INSTANCE)
    }
    known = prices(cloud, {*settings.worker_instance_types, *heads} - {""}, cache=cache)
    worker = known.mixed(
        settings.worker_instance_types,
        workers=settings.max_workers,
        on_demand_base=settings.on_demand_base,
        spot_percent=settings.spot_percent,
    )
    now, then = (dict(_items(side, known)) for side in _sides(plan))
    hourly = known.of(settings.head_instance_type, spot=False) if sleeps(_sides(plan)[1]) else None
    beside = ADDRESS_USD_PER_HOUR if settings.head_address == "changes" else 0.0
    return Money(
        items=tuple(Item(what, now.get(what, 0.0), then.get(what, 0.0)) for what in sorted({**now, **then})),
        unpriced=tuple(_unpriced(_sides(plan)[1])),
        worker_usd=None if worker is None else worker + beside_usd(settings),
        workers=settings.max_workers,
        label=f"{known.label_of(settings.worker_instance_types)}; {TABLE_SOURCE}",
        head_usd=None if hourly is None else hourly + beside,
    )


Side = Mapping[str, State]  # by URN


def _sides(plan: Plan) -> tuple[Side, Side]:
    """What there is, and what there is to be."""
    now = {step.urn: step.old for step in plan.steps if step.old is not None}
    then = {step.urn: step.new for step in plan.steps if step.new is not None}
    return now, then


def _kind(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _of(side: Side, kind: str) -> Iterator[State]:
    return (state for urn, state in side.items() if _kind(urn) == kind)


def sleeps(side: Side) -> bool:
    """Whether the head stops itself when nothing needs it, as its groups have it."""
    tags = [tag for state in _of(side, GROUP) for tag in state.inputs.get("tags") or ()]
    return any(tag.get("key") == IDLE_STOP_TAG and tag.get("value") != NEVER for tag in tags if isinstance(tag, dict))


def _items(side: Side, known: Prices) -> Iterator[tuple[str, float | None]]:
    asleep = sleeps(side)
    for urn, state in side.items():
        price = PRICED.get(_kind(urn))
        if price is not None:
            for what, usd in price(_name(urn), state.inputs, known):
                is_head = _kind(urn) == INSTANCE and what.startswith("instance ") and _name(urn).endswith("-head")
                yield what, 0.0 if asleep and is_head else usd


def _unpriced(side: Side) -> Iterable[str]:
    for urn, state in side.items():
        kind = _kind(urn)
        if not kind.startswith("aws:") or kind in PRICED or kind in FREE or kind.startswith(BY_SIZE):
            continue
        if kind == GROUP and state.inputs.get("minSize") == 0:  # its size is the commands' that run sweeps
            continue
        if kind == ENDPOINT and state.inputs.get("vpcEndpointType") == "Gateway":
            continue
        yield f"{_name(urn)} ({kind.rpartition(':')[2]})"


def _instance(name: str, inputs: Mapping[str, Any], known: Prices) -> Iterator[tuple[str, float | None]]:
    kind = _text(inputs.get("instanceType"))
    hourly = known.of(kind, spot=False)
    yield f"instance {name}, {kind or 'of a type not known yet'}", None if hourly is None else hourly * HOURS
    root = inputs.get("rootBlockDevice")
    block = root if isinstance(root, dict) else {}
    yield _disk(f"disk of {name}", block.get("volumeSize"), block.get("volumeType"))


def _volume(name: str, inputs: Mapping[str, Any], known: Prices) -> Iterator[tuple[str, float | None]]:
    del known
    yield _disk(f"volume {name}", inputs.get("size"), inputs.get("type"))


def _disk(what: str, size: Any, kind: Any) -> tuple[str, float | None]:
    gigabytes = float(size) if isinstance(size, int | float) else None
    price = USD_PER_GB_MONTH.get(_text(kind))
    if gigabytes is None or price is None:
        return what, None
    return f"{what}, {gigabytes:,.0f} GB {kind}", gigabytes * price


def _address(name: str, inputs: Mapping[str, Any], known: Prices) -> Iterator[tuple[str, float | None]]:
    del inputs, known
    yield f"address {name}", ADDRESS_USD_PER_HOUR * HOURS


def _nat(name: str, inputs: Mapping[str, Any], known: Prices) -> Iterator[tuple[str, float | None]]:
    del inputs, known
    yield f"NAT gateway {name}, without its traffic", NAT_USD_PER_HOUR * HOURS


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value != UNKNOWN else ""


PRICED: dict[str, Callable[[str, Mapping[str, Any], Prices], Iterator[tuple[str, float | None]]]] = {
    INSTANCE: _instance,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/natGateway:NatGateway": _nat,
}
