"""What all parts of a cluster share: the stack's settings, checked, and what AWS says of them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.boot_text import Machine, boot_text
from sweepfleet.infra.checks import NO_BOUNDARY
from sweepfleet.infra.checks import architecture as architecture_of
from sweepfleet.infra.configuration import checking, values
from sweepfleet.infra.image import Image, find_image
from sweepfleet.infra.layout import AddressPlan, stack_tags
from sweepfleet.infra.placement import Placement, place
from sweepfleet.infra.policies import boundary_arn
from sweepfleet.infra.settings import PROJECT, Settings, read

SERVICES = ("autoscaling", "ec2", "iam", "s3", "s3control", "ssm", "sts")  # that the program talks to


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings of a stack, and what follows from them before anything is declared. `read` makes one."""

    settings: Settings
    stack: str
    region: str
    architecture: str  # of all machines, as Debian names it
    image: Image
    placement: Placement
    boundary: str  # the ARN of the machines' roles' permissions boundary; empty: none
    provider: aws.Provider  # one for everything, so that nothing can be made without the stack's tags

    @classmethod
    def read(cls) -> Setup:
        """Read the stack's configuration, check it, and ask AWS for image, zones and offers.

        Raises:
            pulumi.RunError: the settings cannot be used; nothing was declared.
        """
        with checking():
            return cls._read()

    @classmethod
    def _read(cls) -> Setup:
        stack = pulumi.get_stack()
        region = pulumi.Config("aws").require("region")
        settings = read(values(PROJECT), stack=stack, region=region)
        tags = stack_tags(stack=stack, owner=settings.owner)
        provider = _provider(f"{PROJECT}-{stack}", settings, region=region, tags=tags)
        look_up = pulumi.InvokeOptions(provider=provider)
        architecture = str(architecture_of(settings.head_instance_type))
        return cls(
            settings=settings,
            stack=stack,
            region=region,
            architecture=architecture,
            image=find_image(ami_id=settings.ami_id, architecture=architecture, opts=look_up),
            placement=_placement(settings, look_up),
            boundary=_boundary(settings, look_up),
            provider=provider,
        )

    @property
    def name(self) -> str:
        """What the stack's resources are called, or begin with."""
        return f"{PROJECT}-{self.stack}"

    @property
    def tags(self) -> dict[str, str]:
        """The tags that everything of the stack carries; the provider gives them to whatever takes default tags."""
        return stack_tags(stack=self.stack, owner=self.settings.owner)

    @property
    def opts(self) -> pulumi.ResourceOptions:
        """For every part, and for resources of one's own: the stack's region, account and tags."""
        return pulumi.ResourceOptions(provider=self.provider)

    @property
    def head_private_ip(self) -> str:
        """The head's address inside, which never changes."""
        return AddressPlan(self.settings.vpc_cidr).head_ip

    def boot_text(
        self,
        *,
        bucket: pulumi.Input[str],
        role_id: pulumi.Input[str],
        data_volume_id: pulumi.Input[str] = "",
        worker_groups: pulumi.Input[str] = "",
    ) -> pulumi.Output[str]:
        """What a new machine is told once: a worker, or with a data volume the head."""
        return pulumi.Output.all(bucket, role_id, data_volume_id, worker_groups).apply(
            lambda known: boot_text(
                Machine(
                    stack=self.stack,
                    region=self.region,
                    bucket=known[0],
                    role_id=known[1],
                    data_volume_id=known[2],
                    worker_groups=known[3],
                    head_private_ip=self.head_private_ip,
                    architecture=self.architecture,
                    package_index=self.settings.package_index,
                    endpoint_url=self.settings.endpoint_url,
                )
            )
        )


def _provider(name: str, settings: Settings, *, region: str, tags: dict[str, str]) -> aws.Provider:
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
        named=settings.zones,
        region_zones=region_zones,
        offered=offered,
        head_type=settings.head_instance_type,
        worker_types=settings.worker_instance_types,
    )
    for note in placement.notes:
        pulumi.log.info(note)
    return placement
