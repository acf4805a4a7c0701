"""A cloud for tests: a moto server on this machine, emptied on demand, with the images the project looks for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend
from moto.core.utils import utcnow
from moto.ec2.models.amis import Ami
from moto.ec2.utils import random_ami_id
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer
from moto.ssm.models import Parameter

from sweepfleet.infra.layout import BOUNDARY
from sweepfleet.infra.policies import machines_boundary
from tests.cloud import cpu_credits, public_addresses, scheduled, terminated
from tests.cloud.aws import ACCOUNT, Aws
from tests.cloud.leftovers import leftovers

REGIONS = ("us-east-1", "eu-west-1")
DEBIAN = "136693071363"  # the account that publishes Debian's images: https://wiki.debian.org/Cloud/AmazonEC2Image
terminated.install()
scheduled.install()
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}  # Debian's names and AWS's


@dataclass(frozen=True)
class Moto:
    """A running server: its address, clients for it, and what is left in it."""

    endpoint: str
    regions: tuple[str, ...] = REGIONS  # the first is the one meant when none is named

    def connection(self, region: str | None = None, *, default_tags: Mapping[str, str] | None = None) -> Aws:
        return Aws(region or self.regions[0], self.endpoint, default_tags=default_tags or {})

    def client(self, service: str, region: str | None = None) -> Any:
        return self.connection(region).client(service)

    def reset(self) -> None:
        """Empty, as a new account is, but for Debian's images and what its administrator has made for operators."""
        moto_api_backend.reset()
        make_boundary()
        for region in self.regions:
            publish_debian(region)

    def leftovers(self, region: str | None = None) -> list[str]:
        """Everything that a stack could have left, one line each: empty after a destroy."""
        return leftovers(self.connection(region))


@contextmanager
def moto_server(*regions: str) -> Iterator[Moto]:
    """Serve on a free port of this machine until the block ends."""
    before = os.environ.get("MOTO_EC2_LOAD_DEFAULT_AMIS")
    # moto's thirteen hundred images take seconds to make in every region, and none is Debian's.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    cpu_credits.install()
    public_addresses.install()
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    moto = Moto(f"http://{host}:{port}", regions or REGIONS)
    try:
        moto.reset()
        yield moto
    finally:
        server.stop()
        if before is None:
            os.environ.pop("MOTO_EC2_LOAD_DEFAULT_AMIS", None)  # another one may have ended meanwhile
        else:
            os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = before


def make_boundary() -> None:
    """The permissions boundary of machines' roles, as docs/cluster.md has an administrator make it."""
    get_backend("iam")[ACCOUNT]["aws"].create_policy("", "/", machines_boundary(), BOUNDARY, [])


def publish_debian(region: str) -> None:
    """Debian 12's images for both architectures, and the public parameters that name them.

    In moto's memory rather than through its API: that refuses parameters whose names begin with aws, as AWS does.
    """
    ec2 = get_backend("ec2")[ACCOUNT][region]
    ssm = get_backend("ssm")[ACCOUNT][region]
    for debian, architecture in ARCHITECTURES.items():
        image = Ami(
            ec2,
            random_ami_id(),
            name=f"debian-12-{debian}-20260101-1",
            description="Debian 12",
            owner_id=DEBIAN,
            public=True,
            virtualization_type="hvm",
            architecture=architecture,
            root_device_type="ebs",
            root_device_name="/dev/xvda",
        )
        image.ebs_snapshot.owner_id = DEBIAN
        ec2.amis[image.id] = image
        name = f"/aws/service/debian/release/12/latest/{debian}"
        parameter = Parameter(  # type: ignore[abstract]  # moto itself makes them so
            ACCOUNT,
            name,
            image.id,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="text",
        )
        ssm._parameters[name] = [parameter]
