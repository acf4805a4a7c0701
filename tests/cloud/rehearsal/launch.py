"""Where a group's next instance comes from, what it is made of, and the shortages that a test asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG, FakeAutoScalingGroup, InstanceState

SPOT, ON_DEMAND = "spot", "on-demand"


@dataclass(frozen=True)
class Pool:
    """Where one instance could be launched."""

    instance_type: str
    subnet: Any
    market: str


@dataclass
class Refusal:
    """A shortage that a test asks for; what is empty matches everything."""

    instance_types: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    market: str = ""

    def matches(self, pool: Pool) -> bool:
        """Whether an instance of this pool is refused."""
        return (
            (not self.instance_types or pool.instance_type in self.instance_types)
            and (not self.zones or pool.subnet.availability_zone in self.zones)
            and (not self.market or pool.market == self.market)
        )


@dataclass
class Shortages:
    """All refusals, and when each group last failed because of one."""

    refusals: list[Refusal] = field(default_factory=list)
    failed_at: dict[str, datetime] = field(default_factory=dict)

    def refused(self, pool: Pool) -> bool:
        """Whether a launch in this pool fails."""
        return any(refusal.matches(pool) for refusal in self.refusals)


SHORTAGES = Shortages()


def members(group: FakeAutoScalingGroup) -> list[InstanceState]:
    """Those that count towards its size."""
    return [each for each in group.instance_states if each.lifecycle_state == "InService"]


def pools(group: FakeAutoScalingGroup) -> Iterator[Pool]:
    """Every pool that the next instance may come from, the best first."""
    policy = group.mixed_instances_policy or {}
    overrides = [each["InstanceType"] for each in policy.get("LaunchTemplate", {}).get("Overrides", [])]
    rules = policy.get("InstancesDistribution", {})
    base, percent = (
        int(rules.get("OnDemandBaseCapacity", 0)),
        int(rules.get("OnDemandPercentageAboveBaseCapacity", 100)),
    )
    here = members(group)
    on_demand = sum(each.instance.lifecycle != SPOT for each in here)
    above = len(here) + 1 - base
    market = ON_DEMAND if on_demand < base or (on_demand - base) * 100 < above * percent else SPOT
    subnets = [group.ec2_backend.get_subnet(name) for name in (group.vpc_zone_identifier or "").split(",")]
    subnets.sort(key=lambda subnet: sum(each.instance.subnet_id == subnet.id for each in here))  # zones are kept even
    for instance_type, subnet in product(overrides or [group.instance_type], subnets):
        yield Pool(instance_type, subnet, market)


def run(group: FakeAutoScalingGroup, pool: Pool) -> Any:
    """Launch one instance as the group's launch template says."""
    template: Any = group.ec2_launch_template
    version = template.get_version(group.launch_template_version)
    data = version.data
    interface: dict[str, Any] = next(iter(data.get("NetworkInterfaces", [])), {})
    disks = {"block_device_mappings": data["BlockDeviceMappings"]} if data.get("BlockDeviceMappings") else {}
    reservation = group.ec2_backend.run_instances(
        version.image_id,
        1,
        version.user_data,
        [],
        security_group_ids=list(interface.get("Groups") or data.get("SecurityGroupIds", [])),
        instance_type=pool.instance_type,
        is_instance_type_default=False,
        key_name=data.get("KeyName"),
        subnet_id=pool.subnet.id,
        region_name=group.ec2_backend.region_name,
        associate_public_ip=str(interface.get("AssociatePublicIpAddress", "false")).lower() == "true" or None,
        instance_initiated_shutdown_behavior=data.get("InstanceInitiatedShutdownBehavior"),
        metadata_options=data.get("MetadataOptions", {}),
        launch_template={"LaunchTemplateId": template.id, "Version": version.number},
        lifecycle=SPOT if pool.market == SPOT else None,
        tags={"instance": {**version.instance_tags, **group.get_propagated_tags(), ASG_NAME_TAG: group.name}},
        **disks,
    )
    instance: Any = reservation.instances[0]
    instance.autoscaling_group = group
    profile = data.get("IamInstanceProfile", {})
    if profile:
        group.ec2_backend.associate_iam_instance_profile(
            instance.id, iam_instance_profile_name=profile.get("Name"), iam_instance_profile_arn=profile.get("Arn")
        )
    return instance
