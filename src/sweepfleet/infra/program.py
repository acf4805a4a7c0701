"""The cluster's parts list."""

from __future__ import annotations

import os

import pulumi
import pulumi_aws as aws
from pulumi.runtime.config import CONFIG

from sweepfleet.infra.access import MachineRole
from sweepfleet.infra.boot_text import SSH_USER, Machine, boot_text
from sweepfleet.infra.checks import NO_BOUNDARY
from sweepfleet.infra.checks import architecture as architecture_of
from sweepfleet.infra.export import export
from sweepfleet.infra.firewall import Firewall, FirewallArgs
from sweepfleet.infra.head import DataVolume, Head, HeadArgs
from sweepfleet.infra.image import find_image
from sweepfleet.infra.layout import RENEW_HEAD, SCHEDULER_PORT, AddressPlan, stack_tags
from sweepfleet.infra.network import Network, NetworkArgs
from sweepfleet.infra.placement import Placement, place
from sweepfleet.infra.policies import boundary_arn, head_policy, worker_policy
from sweepfleet.infra.settings import PROJECT, Settings, read
from sweepfleet.infra.storage import Storage
from sweepfleet.infra.workers import Workers, WorkersArgs

SERVICES = ("autoscaling", "ec2", "iam", "s3", "ssm", "sts")  # that the program talks to


def declare() -> None:
    """Declare everything.

    Raises:
        SettingsError: the settings cannot be used; nothing was declared.
    """
    stack = pulumi.get_stack()
    region = pulumi.Config("aws").require("region")
    prefix = f"{PROJECT}:"
    values = {key.removeprefix(prefix): value for key, value in CONFIG.get().items() if key.startswith(prefix)}
    settings = read(values, stack=stack, region=region)
    name = f"{PROJECT}-{stack}"
    tags = stack_tags(stack=stack, owner=settings.owner)

    provider = _provider(name, settings, region=region, tags=tags)
    look_up = pulumi.InvokeOptions(provider=provider)
    here = pulumi.ResourceOptions(provider=provider)
    architecture = str(architecture_of(settings.head_instance_type))
    image = find_image(ami_id=settings.ami_id, architecture=architecture, opts=look_up)
    placement = _placement(settings, look_up)

    network = Network(
        name,
        NetworkArgs(
            region=region,
            vpc_cidr=settings.vpc_cidr,
            zones=placement.zones,
            head_zone=placement.head_zone,
            worker_egress=settings.worker_egress,
        ),
        opts=here,
    )
    firewall = Firewall(
        name,
        FirewallArgs(
            vpc_id=network.vpc_id,
            s3_prefix_list_id=network.s3_prefix_list_id,
            ssh_cidrs=settings.ssh_cidrs,
            worker_egress=settings.worker_egress,
        ),
        opts=here,
    )
    # An endpoint of the user's own may have no TLS, and a policy that asks for it would shut everybody out.
    storage = Storage(name, tls_only=not settings.endpoint_url.startswith("http://"), opts=here)
    key = aws.ec2.KeyPair(f"{name}-key", public_key=settings.ssh_public_key, tags={"Name": name}, opts=here)
    boundary = _boundary(settings, look_up)
    head_role = MachineRole(
        f"{name}-head", description=f"The head of {name}", permissions_boundary=boundary, opts=here
    )
    worker_role = MachineRole(
        f"{name}-worker", description=f"A worker of {name}", permissions_boundary=boundary, opts=here
    )
    volume = DataVolume(name, subnet=network.head_subnet, size_gb=settings.data_volume_gb, opts=here)
    head_private_ip = AddressPlan(settings.vpc_cidr).head_ip

    def text_for(
        role: MachineRole, *, data_volume_id: pulumi.Input[str] = "", worker_group: pulumi.Input[str] = ""
    ) -> pulumi.Output[str]:
        return pulumi.Output.all(storage.bucket, role.role_id, data_volume_id, worker_group).apply(
            lambda known: boot_text(
                Machine(
                    stack=stack,
                    region=region,
                    bucket=known[0],
                    role_id=known[1],
                    data_volume_id=known[2],
                    worker_group=known[3],
                    head_private_ip=head_private_ip,
                    architecture=architecture,
                    package_index=settings.package_index,
                    endpoint_url=settings.endpoint_url,
                )
            )
        )

    worker_role.allow(storage.bucket_arn.apply(lambda arn: worker_policy(bucket_arn=arn)))
    workers = Workers(
        name,
        WorkersArgs(
            image_id=image.id,
            root_device=image.root_device,
            instance_types=settings.worker_instance_types,
            subnet_ids=[network.worker_subnets[zone].id for zone in placement.worker_zones],
            security_group_id=firewall.workers_group_id,
            key_name=key.key_name,
            instance_profile_arn=worker_role.profile.arn,
            public_address=settings.worker_egress == "public",
            disk_gb=settings.worker_disk_gb,
            max_workers=settings.max_workers,
            spot_percent=settings.spot_percent,
            on_demand_base=settings.on_demand_base,
            tags=tags,
        ),
        user_data=text_for(worker_role),
        opts=here,
    )
    head_may = head_role.allow(
        pulumi.Output.all(storage.bucket_arn, workers.group_arn).apply(
            lambda arns: head_policy(bucket_arn=arns[0], group_arn=arns[1])
        )
    )
    head = Head(
        name,
        HeadArgs(
            image_id=image.id,
            instance_type=settings.head_instance_type,
            cpu_credits=settings.head_cpu_credits,
            subnet=network.head_subnet,
            private_ip=head_private_ip,
            security_group_id=firewall.head_group_id,
            key_name=key.key_name,
            instance_profile=head_role.profile.name,
            tags=tags,
            renew=bool(os.environ.get(RENEW_HEAD)),
        ),
        volume=volume,
        user_data=text_for(head_role, data_volume_id=volume.volume_id, worker_group=workers.group_name),
        needs=[network.head_route, head_may],
        opts=here,
    )

    export(
        stack=stack,
        region=region,
        endpoint_url=settings.endpoint_url,
        owner=settings.owner,
        vpc_id=network.vpc_id,
        head_id=head.instance_id,
        head_ip=head.public_ip,
        head_private_ip=head_private_ip,
        head_identity=pulumi.Output.concat(head_role.role_id, ":", head.instance_id),
        ssh_user=SSH_USER,
        ssh_public_key=settings.ssh_public_key,
        head_security_group_id=firewall.head_group_id,
        scheduler_port=SCHEDULER_PORT,
        bucket=storage.bucket,
        worker_group=workers.group_name,
        worker_role_id=worker_role.role_id,
        worker_zones=list(placement.worker_zones),
        worker_instance_types=list(settings.worker_instance_types),
        max_workers=settings.max_workers,
        spot_percent=settings.spot_percent,
        on_demand_base=settings.on_demand_base,
        worker_egress=settings.worker_egress,
        head_instance_type=settings.head_instance_type,
        data_volume_id=volume.volume_id,
        data_volume_gb=settings.data_volume_gb,
        image_id=image.id,
        architecture=architecture,
        package_index=settings.package_index,
        budget_usd=settings.budget_usd,
    )


def _provider(name: str, settings: Settings, *, region: str, tags: dict[str, str]) -> aws.Provider:
    """One provider for everything, so that nothing can be made without the stack's tags."""
    own = settings.endpoint_url
    return aws.Provider(
        name,
        region=region,
        profile=pulumi.Config("aws").get("profile"),
        default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
        endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(SERVICES, own))] if own else None,
        s3_use_path_style=True if own else None,
    )


def _boundary(settings: Settings, look_up: pulumi.InvokeOptions) -> str:
    """The ARN of the permissions boundary of the machines' roles; empty when the settings ask for none."""
    if settings.permissions_boundary == NO_BOUNDARY:
        return ""
    return settings.permissions_boundary or boundary_arn(aws.get_caller_identity(opts=look_up).arn)


def _placement(settings: Settings, look_up: pulumi.InvokeOptions) -> Placement:
    """Ask AWS for zones and offers, choose, and say what was left out."""
    region_zones = aws.get_availability_zones(
        filters=[
            aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"]),
            aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"]),
        ],
        opts=look_up,
    ).names
    types = sorted({settings.head_instance_type, *settings.worker_instance_types})
    offers = aws.ec2.get_instance_type_offerings(
        location_type="availability-zone",
        filters=[aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=types)],
        opts=look_up,
    )
    offered: dict[str, set[str]] = {}
    for one, zone in zip(offers.instance_types, offers.locations, strict=True):
        offered.setdefault(one, set()).add(zone)
    placement = place(
        wanted=settings.zones,
        region_zones=region_zones,
        offered=offered,
        head_type=settings.head_instance_type,
        worker_types=settings.worker_instance_types,
    )
    for note in placement.notes:
        pulumi.log.info(note)
    return placement
