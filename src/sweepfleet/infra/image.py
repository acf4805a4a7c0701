"""The image that machines boot: Debian 12's official one, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.problems import Problem, SettingsError

# https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm: Debian publishes its newest image ids there
PARAMETER = "/aws/service/debian/release/12/latest/{architecture}"
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}  # AWS's names to Debian's


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and the device that its root disk must be given to be encrypted and sized."""

    id: str
    root_device: str


def find_image(*, ami_id: str, architecture: str, opts: pulumi.InvokeOptions) -> Image:
    """Look the image up; reads only.

    Raises:
        SettingsError: the user's own image is for another architecture than the instance types.
    """
    chosen = ami_id
    if not chosen:
        chosen = aws.ssm.get_parameter(name=PARAMETER.format(architecture=architecture), opts=opts).value
    found = aws.ec2.get_ami(
        filters=[aws.ec2.GetAmiFilterArgs(name="image-id", values=[chosen])], include_deprecated=True, opts=opts
    )
    of_image = ARCHITECTURES.get(found.architecture, found.architecture)
    if of_image != architecture:
        said = f"`{chosen}` is an image for {of_image}, and the instance types are {architecture}."
        raise SettingsError([Problem("amiId", said)])
    return Image(chosen, found.root_device_name)
