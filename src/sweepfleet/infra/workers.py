"""The workers: a launch template, and an autoscaling group that is empty until somebody sweeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.machine_options import HOP_LIMIT, HTTP_ENDPOINT, HTTP_TOKENS, VOLUME_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersArgs:
    """What the workers are made of."""

    image_id: pulumi.Input[str]
    root_device: str  # as the image has it: another name would be a second disk
    instance_types: tuple[str, ...]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    key_name: pulumi.Input[str]
    instance_profile_arn: pulumi.Input[str]
    public_address: bool
    disk_gb: int
    max_workers: int
    spot_percent: int
    on_demand_base: int
    tags: Mapping[str, str]  # for what the group makes, which takes no default tags


class Workers(pulumi.ComponentResource):
    """Launch template and group. The group's size belongs to the commands that run sweeps, not to this program."""

    group_name: pulumi.Output[str]
    group_arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: WorkersArgs,
        *,
        user_data: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("sweepfleet:infra:Workers", name, None, opts)
        children = pulumi.ResourceOptions(parent=self)
        tags = {**args.tags, "Name": f"{name}-worker"}
        template = aws.ec2.LaunchTemplate(
            f"{name}-worker",
            image_id=args.image_id,
            instance_type=args.instance_types[0],
            key_name=args.key_name,
            user_data=pulumi.Output.from_input(user_data).apply(
                lambda text: base64.b64encode(text.encode()).decode()
            ),
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.instance_profile_arn),
            instance_initiated_shutdown_behavior="terminate",
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint=HTTP_ENDPOINT, http_tokens=HTTP_TOKENS, http_put_response_hop_limit=HOP_LIMIT
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=args.root_device,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        encrypted="true",
                        volume_size=args.disk_gb,
                        volume_type=VOLUME_TYPE,
                        delete_on_termination="true",
                    ),
                )
            ],
            network_interfaces=[
                aws.ec2.LaunchTemplateNetworkInterfaceArgs(
                    device_index=0,
                    associate_public_ip_address="true" if args.public_address else "false",
                    delete_on_termination="true",
                    security_groups=[args.security_group_id],
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
        group = aws.autoscaling.Group(
            f"{name}-workers",
            min_size=0,
            max_size=args.max_workers,
            desired_capacity=0,
            vpc_zone_identifiers=list(args.subnet_ids),
            capacity_rebalance=True,
            health_check_type="EC2",
            wait_for_capacity_timeout="0",  # the commands that change the size wait, and say for what
            force_delete=True,  # a worker holds nothing that is not on the head
            mixed_instances_policy=aws.autoscaling.GroupMixedInstancesPolicyArgs(
                instances_distribution=aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
                    on_demand_base_capacity=args.on_demand_base,
                    on_demand_percentage_above_base_capacity=100 - args.spot_percent,
                    spot_allocation_strategy="price-capacity-optimized",
                ),
                launch_template=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
                    launch_template_specification=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                        launch_template_id=template.id,
                        version=template.latest_version.apply(str),  # a number: `$Latest` would hide a change
                    ),
                    overrides=[
                        aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(instance_type=one)
                        for one in args.instance_types
                    ],
                ),
            ),
            tags=[
                aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
                for key, value in tags.items()
            ],
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["desiredCapacity"]),
        )
        self.group_name = group.name
        self.group_arn = group.arn
        self.register_outputs({"groupName": self.group_name})
