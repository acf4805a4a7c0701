"""Which zones a stack uses: pure, from what AWS says it offers where."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sweepfleet.infra.layout import ZONE_LETTERS
from sweepfleet.infra.problems import Problem, SettingsError

DEFAULT_ZONES = 3  # enough spot pools for most, and no more subnets than a reader can take in


@dataclass(frozen=True, slots=True)
class Placement:
    """Where things go."""

    zones: tuple[str, ...]  # each has a worker subnet
    head_zone: str  # for a head that is not there yet; one that is stays where its volume is
    worker_zones: tuple[str, ...]  # those of `zones` that the group uses
    notes: tuple[str, ...]  # which zones are left out, and why


def place(
    *,
    named: tuple[str, ...],
    region_zones: Collection[str],
    offered: Mapping[str, Collection[str]],
    head_type: str,
    worker_types: tuple[str, ...],
) -> Placement:
    """Choose zones.

    An autoscaling group tries any of its types in any of its zones, and a try in a zone that lacks the type is
    a failed launch. So the group gets the zones with all of its types, where there are such zones.

    Args:
        named: the setting; empty for the region's first ones.
        region_zones: the region's availability zones.
        offered: instance type to the zones that offer it.
        head_type: the head's.
        worker_types: the workers'.

    Raises:
        SettingsError: a zone that the region lacks, or a type that none of the zones offers.
    """
    usable = sorted(zone for zone in region_zones if re.fullmatch(f"[a-z0-9-]+[{ZONE_LETTERS}]", zone))
    problems = [
        Problem("zones", f"`{zone}` is not available. The region has {', '.join(usable)}.", usable[0], index)
        for index, zone in enumerate(named)
        if zone not in usable
    ]
    zones = named or tuple(usable[:DEFAULT_ZONES])

    def elsewhere(name: str) -> str:
        there = ", ".join(sorted(offered.get(name, ()))) or "no zone of this region"
        return f"`{name}` is offered in {there}, and the stack's zones are {', '.join(zones)}."

    def offers(zone: str, *names: str) -> bool:
        return all(zone in offered.get(name, ()) for name in names)

    heads = [zone for zone in zones if offers(zone, head_type)]
    if not heads:
        problems.append(Problem("headInstanceType", elsewhere(head_type)))
    problems += [
        Problem("workerInstanceTypes", elsewhere(name), place=index)
        for index, name in enumerate(worker_types)
        if not any(offers(zone, name) for zone in zones)
    ]
    if problems:
        raise SettingsError(problems)
    workers = tuple(zone for zone in zones if offers(zone, *worker_types))
    if not workers:  # no zone has them all: better some launches that fail than no zone at all
        return Placement(zones, heads[0], zones, ("no zone offers all worker types: launches may be tried twice",))
    notes = tuple(
        f"{zone}: no workers there, it does not offer {', '.join(t for t in worker_types if not offers(zone, t))}"
        for zone in zones
        if zone not in workers
    )
    return Placement(zones, heads[0], workers, notes)
