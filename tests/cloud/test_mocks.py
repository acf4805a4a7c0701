"""A program run in process against the stand-in provider really makes its things, and every one is recorded."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto
from tests.cloud.program import run
from tests.cloud.provider import NoHandlerError

pytest_plugins = ["tests.cloud.fixtures"]
# Importing a module of pulumi_aws imports its deprecated resources too, each with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning:pulumi_aws")

EIP, INSTANCE = "aws:ec2/eip:Eip", "aws:ec2/instance:Instance"
WRONG: Any = [{"ec2": 1}]
PARAMETER = "/aws/service/debian/release/12/latest/amd64"


def test_a_program(moto: Moto) -> None:
    mocks = Mocks(moto.endpoint)

    def program() -> None:
        provider = aws.Provider("here", region="eu-west-1", default_tags={"tags": {"project": "sweeps"}})
        parent = pulumi.ComponentResource("a:b:C", "part", opts=pulumi.ResourceOptions(providers=[provider]))
        child = pulumi.ResourceOptions(parent=parent)
        network = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", opts=child)
        group = aws.ec2.SecurityGroup("wall", vpc_id=network.id, opts=child)
        aws.vpc.SecurityGroupEgressRule(
            "out", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0", opts=child
        )
        elsewhere = aws.s3.Bucket("Files")
        image = aws.ssm.get_parameter_output(name=PARAMETER, opts=pulumi.InvokeOutputOptions(parent=parent))
        aws.ec2.Instance(
            "head", ami=image.value, instance_type="t3.micro", user_data=pulumi.Output.secret("#!"), opts=child
        )
        pulumi.export("bucket", elsewhere.id)

    outputs = run(program, mocks)
    assert mocks.components == [("a:b:C", "part")]
    assert {record.name for record in mocks.records} == {"here", "net", "wall", "out", "Files", "head"}
    assert mocks.named("out").inputs["securityGroupId"] == mocks.named("wall").id
    assert mocks.named("net").outputs["tagsAll"] == {"project": "sweeps"}
    assert mocks.of_type(INSTANCE)[0].inputs["userData"] == "#!"
    bucket = mocks.named("Files")
    assert outputs == {"bucket": bucket.id}
    assert (bucket.outputs["tagsAll"], bucket.outputs["bucketRegion"]) == ({}, "us-east-1")
    assert [line.split()[0] for line in moto.leftovers("eu-west-1")] == [
        "bucket",
        "instance",
        "security",
        "volume",
        "vpc",
    ]
    mocks.destroy()
    assert moto.leftovers("eu-west-1") == []


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: aws.sqs.Queue("q"), "no resource type 'aws:sqs/queue:Queue'"),
        (lambda: aws.ec2.Vpc("v", ipv6_cidr_block="x"), r"v\.ipv6CidrBlock: .* does not know"),
        (lambda: aws.Provider("p", region="x", insecure=True), "aws:insecure: .* does not know the setting"),
        (lambda: aws.Provider("p", region="x", endpoints=WRONG), r"aws:endpoints\[0\]\.ec2: expected str"),
        (aws.get_partition, "getPartition"),
        (lambda: aws.ec2.Eip("e"), "InjectedFailure"),
    ],
)
def test_what_is_refused_fails_the_program(moto: Moto, declare: Callable[[], Any], message: str) -> None:
    mocks = Mocks(moto.endpoint, fail={EIP: 1})
    with pytest.raises(Exception, match=message):
        run(declare, mocks)
    assert mocks.records == []


def test_a_thing_that_exists_is_read(moto: Moto) -> None:
    vpc = moto.client("ec2").create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    outputs = run(lambda: pulumi.export("cidr", aws.ec2.Vpc.get("old", vpc).cidr_block), Mocks(moto.endpoint))
    assert outputs == {"cidr": "10.7.0.0/16"}


def test_nothing_of_a_failed_program_lingers(moto: Moto, caplog: pytest.LogCaptureFixture) -> None:
    """No event loop, and no error told again when what waited for it is collected."""
    before = open_loops()
    with pytest.raises(NoHandlerError):
        run(lambda: pulumi.export("q", aws.sqs.Queue("q").arn), Mocks(moto.endpoint))
    gc.collect()
    assert open_loops() <= before
    assert not [record for record in caplog.records if record.name == "asyncio"]


def open_loops() -> set[int]:
    loops = [each for each in gc.get_objects() if isinstance(each, asyncio.AbstractEventLoop)]
    return {id(loop) for loop in loops if not loop.is_closed()}
