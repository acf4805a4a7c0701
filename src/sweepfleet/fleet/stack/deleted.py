"""Finds what a stack's state has and AWS no longer has: deleted or terminated outside Pulumi."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.stack.awake import head_state, look_at
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, GROUP, HEAD, ROLE, Resource

WAIT = {"Delay": 5, "MaxAttempts": 120}  # ten minutes for an instance to be terminated

# EC2's types: what a user calls them, the call that lists them, its filter, and the key of its answer. A filter finds
# nothing where an id that is asked for by name would be an error.
EC2 = {
    DATA_VOLUME: ("data volume", "describe_volumes", "volume-id", "Volumes"),
    "aws:ec2/securityGroup:SecurityGroup": (
        "security group",
        "describe_security_groups",
        "group-id",
        "SecurityGroups",
    ),
    "aws:ec2/eip:Eip": ("Elastic IP", "describe_addresses", "allocation-id", "Addresses"),
    "aws:ec2/subnet:Subnet": ("subnet", "describe_subnets", "subnet-id", "Subnets"),
    "aws:ec2/vpc:Vpc": ("network", "describe_vpcs", "vpc-id", "Vpcs"),
    "aws:ec2/routeTable:RouteTable": ("route table", "describe_route_tables", "route-table-id", "RouteTables"),
    "aws:ec2/internetGateway:InternetGateway": (
        "internet gateway",
        "describe_internet_gateways",
        "internet-gateway-id",
        "InternetGateways",
    ),
    "aws:ec2/keyPair:KeyPair": ("key pair", "describe_key_pairs", "key-name", "KeyPairs"),
}
Clients = Callable[[str], Any]  # a service's name to its client
# The head's first boot writes down these ids: another one is for another head.
IN_BOOT_TEXT = {DATA_VOLUME, GROUP, BUCKET, ROLE}


@dataclass(frozen=True, slots=True)
class Deleted:
    """One resource that AWS no longer has."""

    resource: Resource
    kind: str

    def __str__(self) -> str:
        return f"the {self.kind} {self.resource.id}"


def require_same_account(cloud: Cloud, resources: Iterable[Resource], *, stack: str) -> None:
    """Be sure that the credentials are for the account that the stack is in: in another one, all of it looks gone.

    Raises:
        ClusterError: they are not, or AWS refuses.
    """
    accounts = {account for one in resources if (account := account_of(one.arn))}
    if not accounts:
        return
    with asking_aws("look up your AWS account"):
        mine = str(cloud.client("sts").get_caller_identity()["Account"])
    if mine not in accounts:
        raise ClusterError(
            f"The stack {stack} is in the AWS account {', '.join(sorted(accounts))}, and your credentials are for "
            f"{mine}. Nothing was changed. Use that account's: export AWS_PROFILE=NAME, or log in to it."
        )


def account_of(arn: str) -> str:
    """The account in a resource's ARN; empty where it has none, as a bucket's."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 and parts[0] == "arn" and parts[4].isdigit() else ""


def has_head(cloud: Cloud, instance_id: str) -> bool:
    """Whether AWS has this instance, and it is not being terminated. Raises ClusterError: AWS refuses."""
    return head_state(cloud, instance_id).exists


def missing(cloud: Cloud, resources: Iterable[Resource]) -> list[Deleted]:
    """Those of a stack's resources that AWS no longer has; reads only.

    An instance that is being terminated counts: it does not come back.

    Raises:
        ClusterError: AWS refuses.
    """
    client = functools.cache(cloud.client)
    found = []
    for one in resources:
        look = LOOKS.get(one.type)
        if look is not None and one.id:
            kind, there = look
            with asking_aws(f"look up the {kind} {one.id}"):
                if not there(client, one.id):
                    found.append(Deleted(one, kind))
    return found


def wait_until_terminated(cloud: Cloud, lost: Iterable[Deleted]) -> None:
    """Wait for instances that are being terminated: Pulumi takes none out of its state before.

    Raises:
        ClusterError: AWS refuses, or it takes longer than ten minutes.
    """
    ids = [one.resource.id for one in lost if one.resource.type == HEAD]
    with asking_aws(f"wait until {', '.join(ids)} is terminated"):
        ec2 = cloud.client("ec2")
        for one in _instances(ec2, ids) if ids else ():
            waiter = ec2.get_waiter("instance_terminated")
            waiter.wait(InstanceIds=[one["InstanceId"]], WaiterConfig=WAIT)


def _instances(ec2: Any, ids: list[str]) -> list[dict[str, Any]]:
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": ids}])["Reservations"]
    return [one for reservation in found for one in reservation["Instances"]]


def _head(client: Clients, id_: str) -> bool:
    return look_at(client("ec2"), id_).exists


def _of_ec2(call: str, name: str, key: str) -> Callable[[Clients, str], bool]:
    def there(client: Clients, id_: str) -> bool:
        return bool(getattr(client("ec2"), call)(Filters=[{"Name": name, "Values": [id_]}])[key])

    return there


def _group(client: Clients, id_: str) -> bool:
    answer = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[id_])
    return any(not one.get("Status") for one in answer["AutoScalingGroups"])  # it has one while it is being deleted


def _bucket(client: Clients, id_: str) -> bool:
    s3 = client("s3")
    try:
        s3.list_objects_v2(Bucket=id_, MaxKeys=1)
    except s3.exceptions.NoSuchBucket:
        return False
    return True


def _role(client: Clients, id_: str) -> bool:
    iam = client("iam")
    try:
        iam.get_role(RoleName=id_)
    except iam.exceptions.NoSuchEntityException:
        return False
    return True


LOOKS: Mapping[str, tuple[str, Callable[[Clients, str], bool]]] = {
    HEAD: ("head", _head),
    GROUP: ("worker group", _group),
    BUCKET: ("bucket", _bucket),
    ROLE: ("role", _role),
    **{kind: (words, _of_ec2(call, name, key)) for kind, (words, call, name, key) in EC2.items()},
}
