"""What was deleted outside Pulumi is found, by kind; what is there, or cannot be looked at, is never taken for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack.deleted import EC2, LOOKS, missing, require_same_account
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, GROUP, HEAD, ROLE, Resource
from sweepfleet.infra.layout import IAM_PATH
from sweepfleet.infra.policies import EC2_MAY_ASSUME
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_calls import record_calls
from tests.infra.test_operator_policy import POLICY

REGION = "eu-west-1"
SECURITY, EIP, VPC = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/eip:Eip", "aws:ec2/vpc:Vpc"
SUBNET, TABLE = "aws:ec2/subnet:Subnet", "aws:ec2/routeTable:RouteTable"
GATEWAY, KEY = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/keyPair:KeyPair"


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture
def cloud(server: Moto, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server.reset()
    return Cloud(REGION, endpoint_url=server.endpoint)


def resource(kind: str, id_: str, arn: str = "") -> Resource:
    return Resource(f"urn:pulumi:dev::sweepfleet::{kind}::x", kind, id_, protected=False, arn=arn)


def made(server: Moto) -> dict[str, tuple[str, Callable[[], Any]]]:
    """One thing of every kind: its id, and how somebody deletes it, in an order in which that works."""
    ec2, groups = server.client("ec2"), server.client("autoscaling")
    s3, iam = server.client("s3"), server.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.0.0/20")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    security = ec2.create_security_group(GroupName="x", Description="x", VpcId=vpc)["GroupId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.create_key_pair(KeyName="sweepfleet-x")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    head = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet)["Instances"][0]["InstanceId"]
    ec2.create_launch_template(
        LaunchTemplateName="sweepfleet-x", LaunchTemplateData={"ImageId": image, "InstanceType": "t3.nano"}
    )
    groups.create_auto_scaling_group(
        AutoScalingGroupName="sweepfleet-x", MinSize=0, MaxSize=1, VPCZoneIdentifier=subnet,
        LaunchTemplate={"LaunchTemplateName": "sweepfleet-x"},
    )  # fmt: skip
    s3.create_bucket(Bucket="sweepfleet-x", CreateBucketConfiguration={"LocationConstraint": REGION})
    iam.create_role(RoleName="sweepfleet-x", Path=IAM_PATH, AssumeRolePolicyDocument=EC2_MAY_ASSUME)
    return {
        HEAD: (head, lambda: ec2.terminate_instances(InstanceIds=[head])),
        GROUP: ("sweepfleet-x", lambda: groups.delete_auto_scaling_group(AutoScalingGroupName="sweepfleet-x")),
        BUCKET: ("sweepfleet-x", lambda: s3.delete_bucket(Bucket="sweepfleet-x")),
        ROLE: ("sweepfleet-x", lambda: iam.delete_role(RoleName="sweepfleet-x")),
        DATA_VOLUME: (volume, lambda: ec2.delete_volume(VolumeId=volume)),
        KEY: ("sweepfleet-x", lambda: ec2.delete_key_pair(KeyName="sweepfleet-x")),
        EIP: (address, lambda: ec2.release_address(AllocationId=address)),
        SECURITY: (security, lambda: ec2.delete_security_group(GroupId=security)),
        GATEWAY: (gateway, lambda: ec2.delete_internet_gateway(InternetGatewayId=gateway)),
        TABLE: (table, lambda: ec2.delete_route_table(RouteTableId=table)),
        SUBNET: (subnet, lambda: ec2.delete_subnet(SubnetId=subnet)),
        VPC: (vpc, lambda: ec2.delete_vpc(VpcId=vpc)),
    }


def test_each_kind_is_found_when_it_is_gone_and_not_before(
    server: Moto, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is asked of AWS is in the operator's policy."""
    things = made(server)
    assert things.keys() == LOOKS.keys()
    assert EC2.keys() < LOOKS.keys()
    resources = [resource(kind, id_) for kind, (id_, _) in things.items()]
    resources += [resource("pulumi:pulumi:Stack", ""), resource("aws:ec2/route:Route", "r-1")]
    with monkeypatch.context() as recording:
        calls = record_calls(recording)
        assert missing(cloud, resources) == []
    assert sorted(one for one in calls if not allows(POLICY, *one, context={})) == []
    gone = []
    for kind, (_, delete) in things.items():
        delete()
        gone.append(kind)
        assert [one.resource.type for one in missing(cloud, resources)] == gone


def test_a_look_that_is_refused_is_an_error_and_no_answer(
    server: Moto, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    def refused(self: Any, name: str, given: Any) -> Any:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, name)

    monkeypatch.setattr(BaseClient, "_make_api_call", refused)
    for kind in LOOKS:
        with pytest.raises(ClusterError, match="UnauthorizedOperation"):
            missing(cloud, [resource(kind, "x")])


def test_another_accounts_credentials_are_seen(cloud: Cloud) -> None:
    """A bucket's ARN names no account, and says nothing."""
    here = resource(HEAD, "i-1", f"arn:aws:ec2:{REGION}:123456789012:instance/i-1")
    there = resource(HEAD, "i-1", f"arn:aws:ec2:{REGION}:111111111111:instance/i-1")
    bucket = resource(BUCKET, "x", "arn:aws:s3:::x")
    require_same_account(cloud, [bucket, here], stack="dev")
    require_same_account(Cloud(REGION, endpoint_url="http://127.0.0.1:9"), [bucket], stack="dev")
    with pytest.raises(ClusterError, match="account 111111111111, and your credentials are for 123456789012"):
        require_same_account(cloud, [bucket, there], stack="dev")
