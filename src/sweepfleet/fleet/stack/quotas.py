"""How many vCPUs a cluster may take: what it asks for at its largest, against what the account is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sweepfleet.fleet.money.estimate import vcpus
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.checks import INSTANCE_TYPE
from sweepfleet.infra.settings import Settings

# EC2's quotas in vCPUs, by the letters that a family begins with: on-demand, spot.
# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
STANDARD = ("L-1216C47A", "L-34B43A08")  # A, C, D, H, I, M, R, T, Z
SPECIAL = {
    "dl": ("L-6E869C2A", "L-85EED4F7"),
    "f": ("L-74FC7D96", "L-88CF9481"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "gr": ("L-DB2E81BA", "L-3819A6DF"),
    "vt": ("L-DB2E81BA", "L-3819A6DF"),
    "inf": ("L-1945791B", "L-B5D1601B"),
    "p": ("L-417A185B", "L-7212CCBC"),
    "trn": ("L-2C3B7624", "L-6B0D517C"),
    "x": ("L-7295265B", "L-E3A00192"),
}


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota, and what the cluster at its largest would take of it."""

    code: str
    kind: str  # on-demand or spot
    asked_vcpus: int
    allowed_vcpus: int


def asked(settings: Settings, sizes: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """What a cluster at its largest takes, by quota code and kind; pure.

    AWS chooses among the types, so for each quota it may be the largest of its types for all workers.

    Args:
        settings: the stack's.
        sizes: vCPUs by instance type.
    """
    beyond = max(settings.max_workers - settings.on_demand_base, 0)
    spot = math.ceil(beyond * settings.spot_percent / 100)
    on_demand = settings.on_demand_base + math.ceil(beyond * (100 - settings.spot_percent) / 100)
    largest: dict[tuple[str, str], int] = {}
    for one in settings.worker_instance_types:
        codes = codes_of(one)
        for kind, code, count in (("on-demand", codes[0], on_demand), ("spot", codes[1], spot)):
            if count:
                largest[code, kind] = max(largest.get((code, kind), 0), count * sizes[one])
    head = (codes_of(settings.head_instance_type)[0], "on-demand")
    largest[head] = largest.get(head, 0) + sizes[settings.head_instance_type]
    return largest


def codes_of(instance_type: str) -> tuple[str, str]:
    """The on-demand and the spot quota that a type counts against."""
    match = INSTANCE_TYPE.fullmatch(instance_type)
    return SPECIAL.get(match["series"] if match else "", STANDARD)


def quotas(cloud: Cloud, settings: Settings) -> list[Quota]:
    """Ask AWS for sizes and quotas; reads only.

    Raises:
        ClusterError: AWS refuses, or the region has none of a type.
    """
    sizes = vcpus(cloud, [settings.head_instance_type, *settings.worker_instance_types])
    found = []
    with asking_aws("look up the quotas"):
        client = cloud.client("service-quotas")
        for (code, kind), needed in sorted(asked(settings, sizes).items()):
            allowed = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
            found.append(Quota(code, kind, needed, int(allowed)))
    return found
