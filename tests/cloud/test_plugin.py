"""The same handlers under the real engine: what it plans is what happens, and it can always go on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cloud import engine
from tests.cloud.failures import VARIABLE
from tests.cloud.moto import Moto

pytest_plugins = ["tests.cloud.fixtures"]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]

INSTANCE = "aws:ec2/instance:Instance"
PROGRAM = """
import pulumi, pulumi_aws as aws
settings = pulumi.Config()
network = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=settings.get_bool("names"))
zone = aws.get_availability_zones(state="available").names[0]
subnet = aws.ec2.Subnet("sub", vpc_id=network.id, cidr_block="10.0.0.0/24", availability_zone=zone)
wall = aws.ec2.SecurityGroup("wall", vpc_id=network.id, description=settings.get("about") or "machines")
aws.vpc.SecurityGroupEgressRule("out", security_group_id=wall.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0")
image = aws.ssm.get_parameter(name="/aws/service/debian/release/12/latest/amd64").value
kind = settings.get("kind") or "t3.micro"
head = aws.ec2.Instance(
    "head", ami=image, instance_type=kind, subnet_id=subnet.id, vpc_security_group_ids=[wall.id],
    user_data=pulumi.Output.secret("#!/bin/sh"),
)
template = aws.ec2.LaunchTemplate("worker", image_id=image, instance_type=kind)
specification = {"launch_template_id": template.id, "version": template.latest_version.apply(str)}
aws.autoscaling.Group(
    "workers", min_size=0, max_size=3, vpc_zone_identifiers=[subnet.id],
    mixed_instances_policy={"launch_template": {"launch_template_specification": specification}},
)
aws.s3.Bucket("files", force_destroy=True)
aws.ec2.InternetGateway("door", vpc_id=settings.get("doorVpc") or network.id)
pulumi.export("head", head.id)
pulumi.export("version", template.latest_version)
"""


@pytest.fixture
def trial(moto: Moto, tmp_path: Path) -> engine.Engine:
    project = engine.make_project(tmp_path / "trial", PROGRAM)
    settings = {"aws:defaultTags.tags.project": "sweeps"}
    return engine.Engine(project, engine.environment(tmp_path, moto.endpoint)).start(**settings)


def test_from_nothing_to_nothing(moto: Moto, trial: engine.Engine) -> None:
    assert "10 to create" in trial.run("preview").stdout
    assert moto.leftovers("eu-west-1") == []
    trial.up()
    made = {each["urn"].rpartition("::")[2]: each for each in trial.resources()}
    assert made["head"]["outputs"]["tagsAll"] == {"project": "sweeps"}
    assert "ciphertext" in made["head"]["inputs"]["userData"]
    head, wall = trial.outputs()["head"], made["wall"]["id"]
    trial.up("--expect-no-changes")
    trial.run("refresh", "--yes", "--expect-no-changes")

    trial.set("kind", "t3.large")
    trial.set("about", "other")  # of a security group that a machine is in, and that a rule is of
    planned = set(re.findall(r"aws:\w+:(\w+ \w+) (update|replace)", trial.run("preview").stdout))
    assert planned == {
        ("Instance head", "update"),
        ("LaunchTemplate worker", "update"),
        ("Group workers", "update"),  # through the template's version, which a preview cannot know
        ("SecurityGroup wall", "replace"),
        ("SecurityGroupEgressRule out", "replace"),
    }
    trial.up()
    assert trial.outputs() == {"head": head, "version": 2}
    assert wall not in {each.get("id") for each in trial.resources()}

    trial.run("destroy", "--yes", "--skip-preview")
    assert moto.leftovers("eu-west-1") == []


def test_an_up_that_fails_half_way_is_resumed_by_the_next(moto: Moto, trial: engine.Engine, tmp_path: Path) -> None:
    fail = tmp_path / "fail.json"
    fail.write_text(json.dumps({INSTANCE: 1}))
    trial.set("doorVpc", "vpc-1")
    said = trial.up("--continue-on-error", check=False, env={VARIABLE: str(fail)}).stdout
    assert f"creating {INSTANCE}: InjectedFailure" in said
    assert "AttachInternetGateway: InvalidVpcID.NotFound" in said
    half = moto.leftovers("eu-west-1")
    assert not [line for line in half if line.startswith("instance")]
    (door,) = (line for line in half if line.startswith("internet gateway"))

    trial.run("config", "rm", "doorVpc")
    trial.up(env={VARIABLE: str(fail)})
    whole = moto.leftovers("eu-west-1")
    assert set(half) < set(whole)  # nothing was made twice
    assert [line for line in whole if line.startswith("internet gateway")] == [door]

    head = trial.outputs()["head"]
    moto.client("ec2", "eu-west-1").terminate_instances(InstanceIds=[head])
    trial.run("refresh", "--yes")
    trial.up()
    assert trial.outputs()["head"] != head


def test_what_is_refused_is_named(moto: Moto, tmp_path: Path) -> None:
    program = 'import pulumi_aws as aws\naws.ec2.Vpc("net", ipv6_cidr_block="x")\n'
    project = engine.make_project(tmp_path / "trial", program)
    trial = engine.Engine(project, engine.environment(tmp_path, moto.endpoint)).start()
    said = trial.run("preview", check=False).stdout
    assert "does not know aws:ec2/vpc:Vpc's input 'ipv6CidrBlock'" in said
