"""The workers: a launch template, and two autoscaling groups that are empty until somebody sweeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.access import MachineRole
from sweepfleet.infra.durations import idle_stop_s, patience_s, tag_value
from sweepfleet.infra.firewall import Firewall
from sweepfleet.infra.key_pair import KeyPair
from sweepfleet.infra.layout import IDLE_STOP_TAG, PATIENCE_TAG
from sweepfleet.infra.machine_options import HOP_LIMIT, HTTP_ENDPOINT, HTTP_TOKENS, VOLUME_TYPE
from sweepfleet.infra.network import Network
from sweepfleet.infra.policies import worker_policy
from sweepfleet.infra.setup import Setup
from sweepfleet.infra.storage import Storage


class Workers(pulumi.ComponentResource):
    """Launch template and groups. The groups' sizes belong to the commands that run sweeps, not to this program.

    One group has the spot share of the settings. The other one is on-demand alone, for when spot fails; it is there
    whatever the settings say, so that none of them adds or deletes a group that a head knows of.
    """

    group_name: pulumi.Output[str]
    on_demand_group_name: pulumi.Output[str]
    group_arns: tuple[pulumi.Output[str], ...]  # of both
    role_id: pulumi.Output[str]

    def __init__(self, setup: Setup, network: Network, firewall: Firewall, key: KeyPair, storage: Storage) -> None:
        """Declare them."""
        settings, name = setup.settings, setup.name
        super().__init__("sweepfleet:infra:Workers", name, None, setup.opts)
        role = MachineRole(
            f"{name}-worker",
            description=f"A worker of {name}",
            permissions_boundary=setup.boundary,
            parent=self,
        )
        role.allow(storage.bucket_arn.apply(lambda arn: worker_policy(bucket_arn=arn)))
        children = pulumi.ResourceOptions(parent=self)
        tags = {**setup.tags, "Name": f"{name}-worker"}
        template = aws.ec2.LaunchTemplate(
            f"{name}-worker",
            image_id=setup.image.id,
            instance_type=settings.worker_instance_types[0],
            key_name=key.key_name,
            user_data=setup.boot_text(bucket=storage.bucket, role_id=role.role_id).apply(
                lambda text: base64.b64encode(text.encode()).decode()
            ),
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=role.profile.arn),
            instance_initiated_shutdown_behavior="terminate",
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint=HTTP_ENDPOINT, http_tokens=HTTP_TOKENS, http_put_response_hop_limit=HOP_LIMIT
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=setup.image.root_device,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        encrypted="true",
                        volume_size=settings.worker_disk_gb,
                        volume_type=VOLUME_TYPE,
                        delete_on_termination="true",
                    ),
                )
            ],
            network_interfaces=[
                aws.ec2.LaunchTemplateNetworkInterfaceArgs(
                    device_index=0,
                    associate_public_ip_address="true" if settings.worker_egress == "public" else "false",
                    delete_on_termination="true",
                    security_groups=[firewall.workers_group_id],
                )
            ],
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags)
                for kind in ("instance", "volume", "network-interface")
            ],
            update_default_version=True,
            tags={"Name": f"{name}-worker"},
            opts=children,
        )
        mixed = aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
            on_demand_base_capacity=settings.on_demand_base,
            on_demand_percentage_above_base_capacity=100 - settings.spot_percent,
            spot_allocation_strategy="price-capacity-optimized",
        )
        on_demand = aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
            on_demand_allocation_strategy="lowest-price",
            on_demand_base_capacity=0,
            on_demand_percentage_above_base_capacity=100,
        )
        parts = Parts(setup, network, template, tags)
        rest = {IDLE_STOP_TAG: tag_value(idle_stop_s(settings.head_idle_stop))}
        group = _group(f"{name}-workers", mixed, parts, own_tags=rest, parent=self)
        own = {PATIENCE_TAG: tag_value(patience_s(settings.spot_patience))}
        spare = _group(f"{name}-on-demand", on_demand, parts, own_tags=own, parent=self)
        self.group_name, self.on_demand_group_name = group.name, spare.name
        self.group_arns = (group.arn, spare.arn)
        self.role_id = role.role_id
        self.register_outputs({"groupName": self.group_name, "onDemandGroupName": self.on_demand_group_name})


@dataclass(frozen=True, slots=True)
class Parts:
    """What both groups are made of."""

    setup: Setup
    network: Network
    template: aws.ec2.LaunchTemplate
    tags: Mapping[str, str]  # of the groups and their machines


def _group(
    name: str,
    distribution: aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs,
    parts: Parts,
    *,
    own_tags: Mapping[str, str] = MappingProxyType({}),
    parent: pulumi.Resource,
) -> aws.autoscaling.Group:
    """Declare a group of workers; its own tags are not its machines'."""
    settings = parts.setup.settings
    return aws.autoscaling.Group(
        name,
        min_size=0,
        max_size=settings.max_workers,
        desired_capacity=0,
        vpc_zone_identifiers=[parts.network.worker_subnets[zone].id for zone in parts.setup.placement.worker_zones],
        capacity_rebalance=False,  # it ends healthy workers on a mere recommendation
        suspended_processes=["AZRebalance"],  # it ends workers in the middle of points, to balance zones
        health_check_type="EC2",
        wait_for_capacity_timeout="0",  # the commands that change the size wait, and say for what
        force_delete=True,  # a worker holds nothing that is not on the head
        mixed_instances_policy=aws.autoscaling.GroupMixedInstancesPolicyArgs(
            instances_distribution=distribution,
            launch_template=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
                launch_template_specification=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                    launch_template_id=parts.template.id,
                    version=parts.template.latest_version.apply(str),  # a number: `$Latest` would hide a change
                ),
                overrides=[
                    aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(instance_type=one)
                    for one in settings.worker_instance_types
                ],
            ),
        ),
        tags=[
            aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=key in parts.tags)
            for key, value in {**parts.tags, **own_tags}.items()
        ],
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["desiredCapacity"]),
    )
