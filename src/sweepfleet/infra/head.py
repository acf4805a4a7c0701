"""The head: one on-demand instance with a fixed address, and a data volume that outlives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.checks import burstable
from sweepfleet.infra.machine_options import HOP_LIMIT, HTTP_ENDPOINT, HTTP_TOKENS, VOLUME_TYPE

ROOT_DISK_GB = 20  # system, uv, releases and environments; runs are on the data volume
DATA_DEVICE = "/dev/xvdf"  # as the boot text knows it where there is no NVMe


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadArgs:
    """What the head is made of."""

    image_id: pulumi.Input[str]
    instance_type: str
    cpu_credits: str  # of a burstable type: standard or unlimited; of others nothing
    subnet: aws.ec2.Subnet
    private_ip: str
    security_group_id: pulumi.Input[str]
    key_name: pulumi.Input[str]
    instance_profile: pulumi.Input[str]
    tags: dict[str, str]  # for the root volume, which takes no default tags
    renew: bool  # take up a newer image and boot text; otherwise the head stays as it was made


class DataVolume(pulumi.ComponentResource):
    """Where runs are. Protected: nothing but a deliberate `inv down` deletes it."""

    volume_id: pulumi.Output[str]

    def __init__(
        self, name: str, *, subnet: aws.ec2.Subnet, size_gb: int, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("sweepfleet:infra:DataVolume", name, None, opts)
        volume = aws.ebs.Volume(
            f"{name}-data",
            availability_zone=subnet.availability_zone,
            size=size_gb,
            type=VOLUME_TYPE,
            encrypted=True,
            tags={"Name": f"{name}-data"},
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.volume_id = volume.id
        self.register_outputs({})


class Head(pulumi.ComponentResource):
    """The instance, its Elastic IP, and the data volume attached to it."""

    instance_id: pulumi.Output[str]
    public_ip: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: HeadArgs,
        *,
        volume: DataVolume,
        user_data: pulumi.Input[str],
        needs: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("sweepfleet:infra:Head", name, None, opts)
        children = pulumi.ResourceOptions(parent=self)
        instance = aws.ec2.Instance(
            f"{name}-head",
            ami=args.image_id,
            instance_type=args.instance_type,
            # AWS's own default for t3 and t4g is unlimited, which costs up to three times as much under load.
            credit_specification=aws.ec2.InstanceCreditSpecificationArgs(cpu_credits=args.cpu_credits)
            if burstable(args.instance_type)
            else None,
            subnet_id=args.subnet.id,
            private_ip=args.private_ip,
            vpc_security_group_ids=[args.security_group_id],
            key_name=args.key_name,
            iam_instance_profile=args.instance_profile,
            user_data=user_data,
            user_data_replace_on_change=True,  # cloud-init reads it once, on a new machine
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint=HTTP_ENDPOINT, http_tokens=HTTP_TOKENS, http_put_response_hop_limit=HOP_LIMIT
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                encrypted=True,
                volume_size=ROOT_DISK_GB,
                volume_type=VOLUME_TYPE,
                delete_on_termination=True,
                tags=args.tags | {"Name": f"{name}-head"},
            ),
            tags={"Name": f"{name}-head"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(needs),
                delete_before_replace=True,  # its private address can be held once only
                # Each of these would make a new machine, and stop whatever runs on this one.
                ignore_changes=[] if args.renew else ["ami", "userData", "keyName"],
            ),
        )
        address = aws.ec2.Eip(f"{name}-head", domain="vpc", tags={"Name": f"{name}-head"}, opts=children)
        aws.ec2.EipAssociation(f"{name}-head", allocation_id=address.id, instance_id=instance.id, opts=children)
        aws.ec2.VolumeAttachment(
            f"{name}-data",
            device_name=DATA_DEVICE,
            instance_id=instance.id,
            volume_id=volume.volume_id,
            stop_instance_before_detaching=True,  # a mounted volume lets go of a stopped machine only
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.instance_id = instance.id
        self.public_ip = address.public_ip
        self.register_outputs({"publicIp": self.public_ip})
