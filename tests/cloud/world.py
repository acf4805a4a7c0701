"""Things made one by one through the provider, for tests of the provider itself: real ones, unmade at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.cloud.failures import Failures
from tests.cloud.moto import Moto
from tests.cloud.provider import Difference, Provider

VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"
TRUST = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'  # noqa: E501
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}'
DENY = ALLOW.replace("Allow", "Deny")


@dataclass
class Thing:
    """What the engine holds of a resource."""

    token: str
    inputs: dict[str, Any]
    id: str
    state: dict[str, Any]


@dataclass
class World:
    """A provider, and what was made through it."""

    moto: Moto
    provider: Provider
    made: list[Thing] = field(default_factory=list)

    def checked(self, token: str, old: Thing | None = None, **inputs: Any) -> dict[str, Any]:
        checked, problems = self.provider.check(token, "thing", inputs, old.inputs if old else {}, b"")
        assert not problems, problems
        return checked

    def make(self, token: str, **inputs: Any) -> Thing:
        checked = self.checked(token, **inputs)
        id_, state = self.provider.create(token, checked)
        self.made.append(Thing(token, checked, id_, state))
        return self.made[-1]

    def diff(self, thing: Thing, **inputs: Any) -> Difference:
        return self.provider.diff(thing.token, thing.state, thing.inputs, self.checked(thing.token, thing, **inputs))

    def update(self, thing: Thing, **inputs: Any) -> Thing:
        checked = self.checked(thing.token, thing, **inputs)
        thing.state = self.provider.update(thing.token, thing.id, thing.state, thing.inputs, checked)
        thing.inputs = checked
        return thing

    def read(self, thing: Thing) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return self.provider.read(thing.token, thing.id, thing.state, thing.inputs)

    def delete(self, thing: Thing) -> None:
        self.provider.delete(thing.token, thing.id, thing.state)
        self.made.remove(thing)

    def end(self) -> None:
        """Unmake what is left, the last made first."""
        for thing in reversed(list(self.made)):
            self.delete(thing)

    # What other things stand on, made when first asked for.

    def vpc(self) -> str:
        return self._one(VPC, cidrBlock="10.9.0.0/16")

    def subnet(self) -> str:
        return self._one(SUBNET, vpcId=self.vpc(), cidrBlock="10.9.0.0/24", availabilityZone=f"{self.region}a")

    def gateway(self) -> str:
        return self._one("aws:ec2/internetGateway:InternetGateway", vpcId=self.vpc())

    def table(self) -> str:
        return self._one("aws:ec2/routeTable:RouteTable", vpcId=self.vpc())

    def group(self) -> str:
        return self._one("aws:ec2/securityGroup:SecurityGroup", vpcId=self.vpc())

    def bucket(self) -> str:
        return self._one("aws:s3/bucket:Bucket", forceDestroy=True)

    def role(self) -> str:
        return self._one("aws:iam/role:Role", assumeRolePolicy=TRUST)

    def template(self) -> str:
        return self._one("aws:ec2/launchTemplate:LaunchTemplate", imageId=self.ami(), instanceType="t3.micro")

    def volume(self) -> str:
        return self._one("aws:ebs/volume:Volume", availabilityZone=f"{self.region}a", size=8)

    def machine(self) -> str:
        return self._one("aws:ec2/instance:Instance", ami=self.ami(), instanceType="t3.micro", subnetId=self.subnet())

    def address(self) -> str:
        return self._one("aws:ec2/eip:Eip", domain="vpc")

    def nat(self) -> str:
        return self._one("aws:ec2/natGateway:NatGateway", allocationId=self.address(), subnetId=self.subnet())

    def profile(self) -> str:
        return self._one("aws:iam/instanceProfile:InstanceProfile", role=self.role())

    def ami(self) -> str:
        name = "/aws/service/debian/release/12/latest/amd64"
        return str(self.moto.client("ssm", self.region).get_parameter(Name=name)["Parameter"]["Value"])

    @property
    def region(self) -> str:
        return self.provider.aws.region

    def _one(self, token: str, **inputs: Any) -> str:
        found = [thing.id for thing in self.made if thing.token == token]
        return found[0] if found else self.make(token, **inputs).id


def new_world(moto: Moto, *, region: str = "eu-west-1", fail: dict[str, int] | None = None) -> World:
    aws = moto.connection(region, default_tags={"project": "sweeps"})
    return World(moto, Provider(aws, Failures(fail)))
