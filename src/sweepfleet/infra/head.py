"""The head: one on-demand instance that sleeps when nothing needs it, and a data volume that outlives it."""

from __future__ import annotations

import os

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.access import MachineRole
from sweepfleet.infra.checks import burstable
from sweepfleet.infra.firewall import Firewall
from sweepfleet.infra.key_pair import KeyPair
from sweepfleet.infra.layout import HEAD_DISK_GB, RENEW_HEAD
from sweepfleet.infra.machine_options import HOP_LIMIT, HTTP_ENDPOINT, HTTP_TOKENS, VOLUME_TYPE
from sweepfleet.infra.network import Network
from sweepfleet.infra.policies import head_policy
from sweepfleet.infra.setup import Setup
from sweepfleet.infra.storage import Storage
from sweepfleet.infra.workers import Workers

DATA_DEVICE = "/dev/xvdf"  # as the boot text knows it where there is no NVMe


class DataVolume(pulumi.ComponentResource):
    """Where runs are. Protected: nothing but a deliberate `inv down` deletes it."""

    volume_id: pulumi.Output[str]

    def __init__(self, setup: Setup, network: Network, *, parent: pulumi.Resource) -> None:
        """Declare it, in the head's zone."""
        name = setup.name
        super().__init__("sweepfleet:infra:DataVolume", name, None, pulumi.ResourceOptions(parent=parent))
        volume = aws.ebs.Volume(
            f"{name}-data",
            availability_zone=network.head_subnet.availability_zone,
            size=setup.settings.data_volume_gb,
            type=VOLUME_TYPE,
            encrypted=True,
            tags={"Name": f"{name}-data"},
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.volume_id = volume.id
        self.register_outputs({})


class Head(pulumi.ComponentResource):
    """The instance, its Elastic IP where it has one, and the data volume attached to it."""

    instance_id: pulumi.Output[str]
    public_ip: pulumi.Output[str]
    role_id: pulumi.Output[str]
    data_volume_id: pulumi.Output[str]

    def __init__(
        self,
        setup: Setup,
        network: Network,
        firewall: Firewall,
        key: KeyPair,
        storage: Storage,
        workers: Workers,
    ) -> None:
        """Declare it; with `RENEW_HEAD` set in the environment it takes up a newer image and boot text."""
        settings, name = setup.settings, setup.name
        super().__init__("sweepfleet:infra:Head", name, None, setup.opts)
        role = MachineRole(
            f"{name}-head", description=f"The head of {name}", permissions_boundary=setup.boundary, parent=self
        )
        may = role.allow(
            pulumi.Output.all(storage.bucket_arn, *workers.group_arns).apply(
                lambda arns: head_policy(bucket_arn=arns[0], group_arns=arns[1:], stack=setup.stack)
            )
        )
        volume = DataVolume(setup, network, parent=self)
        children = pulumi.ResourceOptions(parent=self)
        instance = aws.ec2.Instance(
            f"{name}-head",
            ami=setup.image.id,
            instance_type=settings.head_instance_type,
            # AWS's own default for t3 and t4g is unlimited, which costs up to three times as much under load.
            credit_specification=aws.ec2.InstanceCreditSpecificationArgs(cpu_credits=settings.head_cpu_credits)
            if burstable(settings.head_instance_type)
            else None,
            subnet_id=network.head_subnet.id,
            private_ip=setup.head_private_ip,
            vpc_security_group_ids=[firewall.head_group_id],
            key_name=key.key_name,
            iam_instance_profile=role.profile.name,
            instance_initiated_shutdown_behavior="stop",  # it stops itself by shutting down
            user_data=setup.boot_text(
                bucket=storage.bucket,
                role_id=role.role_id,
                data_volume_id=volume.volume_id,
                worker_groups=pulumi.Output.concat(workers.group_name, " ", workers.on_demand_group_name),
            ),
            user_data_replace_on_change=True,  # cloud-init reads it once, on a new machine
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint=HTTP_ENDPOINT, http_tokens=HTTP_TOKENS, http_put_response_hop_limit=HOP_LIMIT
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                encrypted=True,
                volume_size=HEAD_DISK_GB,
                volume_type=VOLUME_TYPE,
                delete_on_termination=True,
                tags=setup.tags | {"Name": f"{name}-head"},
            ),
            tags={"Name": f"{name}-head"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[network.head_route, may],
                delete_before_replace=True,  # its private address can be held once only
                # Each of these would make a new machine, and stop whatever runs on this one.
                ignore_changes=[] if os.environ.get(RENEW_HEAD) else ["ami", "userData", "keyName"],
                # The subnet says that it has an address. Said here, a head that is asleep and has none is replaced:
                # https://github.com/hashicorp/terraform-provider-aws/issues/33775
            ),
        )
        # Without an Elastic IP, no address is exported: it changes with each start, and an update has nothing to do
        # with that.
        self.public_ip = pulumi.Output.from_input("")
        if settings.head_address == "stays":
            address = aws.ec2.Eip(f"{name}-head", domain="vpc", tags={"Name": f"{name}-head"}, opts=children)
            aws.ec2.EipAssociation(f"{name}-head", allocation_id=address.id, instance_id=instance.id, opts=children)
            self.public_ip = address.public_ip
        aws.ec2.VolumeAttachment(
            f"{name}-data",
            device_name=DATA_DEVICE,
            instance_id=instance.id,
            volume_id=volume.volume_id,
            stop_instance_before_detaching=True,  # a mounted volume lets go of a stopped machine only
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.instance_id = instance.id
        self.role_id = role.role_id
        self.data_volume_id = volume.volume_id
        self.register_outputs({"publicIp": self.public_ip})
