"""What happens to a stack outside Pulumi, or before it: `inv up` and `inv down` say it and come to their end.

Under the real engine, on moto behind a stand-in provider; AWS's refusals are those of tests/cloud/terminated.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cloud import engine
from tests.cloud.checkout import Checkout, address_server
from tests.cloud.moto import Moto, moto_server
from tests.cloud.terminal import typed

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "us-east-1"
PASSPHRASE = "correct horse"  # noqa: S105 - of a stack in a folder of the test's


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION, "eu-west-1") as moto:
        yield moto


@pytest.fixture(scope="module")
def checkip() -> Iterator[str]:
    with address_server("198.51.101.9") as url:
        yield url


@pytest.fixture
def checkout(server: Moto, checkip: str, tmp_path: Path) -> Checkout:
    """A checkout without a stack, in an empty account."""
    server.reset()
    return Checkout(tmp_path, server.endpoint, checkip=checkip)


def outputs(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(checkout.remembered.read_text())
    return found


def terminate_head(checkout: Checkout, server: Moto) -> str:
    head = str(outputs(checkout)["head_id"])
    server.client("ec2", REGION).terminate_instances(InstanceIds=[head])
    return head


def state_of(server: Moto, instance: str) -> str:
    found = server.client("ec2", REGION).describe_instances(InstanceIds=[instance])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_a_head_that_was_terminated_is_made_again_and_down_comes_to_its_end(checkout: Checkout, server: Moto) -> None:
    """`up` and `up --renew-head` keep private address and data volume; `down` leaves the bucket alone."""
    checkout.inv("up", "--yes", AWS_REGION=REGION)
    first = outputs(checkout)

    terminate_head(checkout, server)
    said = checkout.inv("preview").stdout
    assert f"Deleted outside Pulumi: the head {first['head_id']}. inv up makes it again" in said
    said = checkout.inv("up", "--yes").stdout
    assert f"Deleted outside Pulumi: the head {first['head_id']}." in said
    second = outputs(checkout)
    assert second["head_id"] != first["head_id"]
    same = ("head_private_ip", "data_volume_id", "bucket", "worker_group")
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert state_of(server, second["head_id"]) == "running"
    assert checkout.plan() == {}

    terminate_head(checkout, server)
    checkout.inv("up", "--yes", "--renew-head")
    third = outputs(checkout)
    assert (third["head_id"] != second["head_id"], third["data_volume_id"]) == (True, first["data_volume_id"])
    volume = server.client("ec2", REGION).describe_volumes(VolumeIds=[first["data_volume_id"]])["Volumes"][0]
    assert [one["InstanceId"] for one in volume["Attachments"]] == [third["head_id"]]

    gone = terminate_head(checkout, server)
    said = checkout.inv("down", "--yes").stdout
    assert f"already deleted outside Pulumi: the head {gone}" in said
    assert server.leftovers(REGION) == [f"bucket {first['bucket']}"]


def test_what_else_was_deleted_is_made_again_or_said_with_what_to_type(checkout: Checkout, server: Moto) -> None:
    """The head was set up with group, volume and bucket: another one is for a new head, which is not made unasked."""
    checkout.inv("up", "--yes", AWS_REGION=REGION)
    first = outputs(checkout)
    ec2, groups = server.client("ec2", REGION), server.client("autoscaling", REGION)

    ours = {one["id"]: one for one in checkout.engine.resources() if one["type"] == SECURITY_GROUP}
    workers = next(id_ for id_ in ours if id_ != first["head_security_group_id"])
    forget_security_group(server, workers)
    said = checkout.inv("up", "--yes").stdout
    assert f"Deleted outside Pulumi: the security group {workers}." in said
    assert outputs(checkout)["head_id"] == first["head_id"]
    assert checkout.plan() == {}

    groups.delete_auto_scaling_group(AutoScalingGroupName=first["worker_group"], ForceDelete=True)
    refused = checkout.inv("up", "--yes", code=3)
    assert f"Deleted outside Pulumi: the worker group {first['worker_group']}." in refused.stdout
    assert "inv up --renew-head --stack dev" in refused.stderr
    assert "data volume" not in refused.stderr
    checkout.inv("up", "--yes", "--renew-head")
    second = outputs(checkout)
    assert second["worker_group"] != first["worker_group"]
    assert second["head_id"] != first["head_id"]
    assert checkout.plan() == {}

    ec2.detach_volume(VolumeId=first["data_volume_id"], InstanceId=second["head_id"])
    ec2.delete_volume(VolumeId=first["data_volume_id"])
    server.client("s3", REGION).delete_bucket(Bucket=first["bucket"])
    refused = checkout.inv("up", "--yes", code=3)
    assert f"the data volume {first['data_volume_id']}" in refused.stdout
    assert f"the bucket {first['bucket']}" in refused.stdout
    assert "The runs on the data volume and their ledgers are lost." in refused.stderr
    checkout.inv("up", "--yes", "--renew-head")
    third = outputs(checkout)
    assert third["data_volume_id"] != first["data_volume_id"]
    assert third["bucket"] != first["bucket"]
    assert checkout.plan() == {}

    groups.delete_auto_scaling_group(AutoScalingGroupName=third["worker_group"], ForceDelete=True)
    server.client("s3", REGION).delete_bucket(Bucket=third["bucket"])
    said = checkout.inv("down", "--yes", "--purge").stdout
    assert f"already deleted outside Pulumi: the worker group {third['worker_group']}, the bucket" in said or (
        f"already deleted outside Pulumi: the bucket {third['bucket']}, the worker group" in said
    )
    assert server.leftovers(REGION) == []


SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"


def forget_security_group(server: Moto, group: str) -> None:
    """Delete it as somebody does in the console: what names it goes first."""
    ec2 = server.client("ec2", REGION)
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    for rule in rules:
        if group in {rule["GroupId"], rule.get("ReferencedGroupInfo", {}).get("GroupId")}:
            revoke = ec2.revoke_security_group_egress if rule["IsEgress"] else ec2.revoke_security_group_ingress
            revoke(GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    ec2.delete_security_group(GroupId=group)


def test_credentials_of_another_account_forget_nothing(checkout: Checkout, server: Moto) -> None:
    """From there, the whole stack looks deleted: it is refused, and the state stays as it is."""
    checkout.inv("up", "--yes", AWS_REGION=REGION)
    before = checkout.engine.resources()
    other = {"AWS_ACCESS_KEY_ID": other_account(server)}
    for command in ("up", "down"):
        refused = checkout.inv(command, "--yes", code=3, **other)
        assert "is in the AWS account 123456789012, and your credentials are for 111111111111" in refused.stderr
    assert checkout.engine.resources() == before


def other_account(server: Moto) -> str:
    """An access key with which moto answers as another account."""
    answer = server.client("sts", REGION).assume_role(
        RoleArn="arn:aws:iam::111111111111:role/other", RoleSessionName="other"
    )
    return str(answer["Credentials"]["AccessKeyId"])


# The region


def with_profile(checkout: Checkout, region: str) -> dict[str, str]:
    """The environment of a user whose AWS profile has a region, and nothing else that has."""
    folder = checkout.home / ".aws"
    folder.mkdir()
    (folder / "config").write_text(f"[profile research]\nregion = {region}\n")
    (folder / "credentials").write_text("[research]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return {
        "AWS_PROFILE": "research",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


def test_the_profiles_region_is_where_a_cluster_is_made_and_there_it_stays(checkout: Checkout, server: Moto) -> None:
    refused = checkout.inv("up", "--yes", code=2)
    assert "No AWS region is set" in refused.stderr
    assert "pulumi config set aws:region" in refused.stderr

    profile = with_profile(checkout, "eu-west-1")
    said = checkout.inv("up", "--yes", **profile).stdout
    assert said.index("Set aws:region to eu-west-1: from the AWS profile 'research'.") < said.index("Updating")
    assert "The stack dev is up in eu-west-1" in said
    assert [one for one in server.leftovers(REGION) if one.startswith(("vpc", "instance i-"))] == []

    file = checkout.path / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    del content["config"]["aws:region"]  # as one has it that was made while Pulumi.yaml named a region
    file.write_text(yaml.safe_dump(content))
    assert "pulumi config set --stack dev aws:region eu-west-1" in checkout.inv("preview", code=2).stderr
    said = checkout.inv("up", "--yes", AWS_REGION=REGION).stdout
    assert "Set aws:region to eu-west-1: the region of the stack's resources." in said

    content["config"]["aws:region"] = REGION
    file.write_text(yaml.safe_dump(content))
    refused = checkout.inv("up", "--yes", code=2)
    assert f"resources are in eu-west-1, and aws:region is {REGION}" in refused.stderr
    del content["config"]["aws:region"]
    file.write_text(yaml.safe_dump(content))
    assert "resources in eu-west-1." in checkout.inv("down", "--yes", "--purge", AWS_REGION=REGION).stdout
    assert server.leftovers("eu-west-1") == []


# The passphrase


def on_a_terminal(checkout: Checkout, *words: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
    command = [sys.executable, "-m", "invoke", *words]
    return typed(command, cwd=checkout.path, env=checkout.env, answers=answers)


def test_what_a_typed_passphrase_made_is_taken_down_with_it(checkout: Checkout, server: Moto) -> None:
    """Asked for once a command, twice for a new stack; without a terminal, said before anything is made."""
    del checkout.env["PULUMI_CONFIG_PASSPHRASE"]
    checkout.env["AWS_REGION"] = REGION
    refused = checkout.inv("up", "--yes", code=2)
    assert "PULUMI_CONFIG_PASSPHRASE_FILE=~/.pulumi-passphrase" in refused.stderr
    assert "pulumi stack init dev --secrets-provider 'awskms://" in refused.stderr
    assert server.leftovers(REGION) == []
    assert "FIX  passphrase: dev needs one" in checkout.inv("doctor", code=3).stdout

    twice = [("for the new stack dev", PASSPHRASE), ("Repeat it", "another")]
    code, said = on_a_terminal(checkout, "up", "--yes", answers=twice)
    assert (code, "two passphrases differ" in said) == (2, True), said
    twice = [("for the new stack dev", PASSPHRASE), ("Repeat it", PASSPHRASE)]
    code, said = on_a_terminal(checkout, "up", "--yes", answers=twice)
    assert (code, "The stack dev is up" in said) == (0, True), said
    assert PASSPHRASE not in said
    bucket = outputs(checkout)["bucket"]

    assert checkout.inv("outputs", "--refresh").stdout, "reading needs no passphrase"
    refused = checkout.inv("down", "--yes", code=2)
    assert "pulumi stack change-secrets-provider --stack dev" in refused.stderr
    refused = checkout.inv("down", "--yes", code=3, PULUMI_CONFIG_PASSPHRASE="wrong")  # noqa: S106
    assert "PULUMI_CONFIG_PASSPHRASE does not have the passphrase of the stack dev" in refused.stderr
    assert "There is no stack other" in checkout.inv("down", "--stack", "other", "--yes", code=2).stderr

    once = [("Passphrase of the stack dev", "wrong"), ("Wrong passphrase.", PASSPHRASE)]
    code, said = on_a_terminal(checkout, "down", "--yes", answers=once)
    assert code == 0, said
    assert server.leftovers(REGION) == [f"bucket {bucket}"]
    files = [*checkout.path.rglob("*.yaml"), *(checkout.path / ".sweepfleet").rglob("*")]
    assert not any(PASSPHRASE in one.read_text() for one in files if one.is_file() and ".venv" not in one.parts)


def test_a_lost_passphrase_is_replaced_by_the_line_that_is_said(checkout: Checkout, server: Moto) -> None:
    checkout.inv("up", "--yes", AWS_REGION=REGION)
    lost = {"PULUMI_CONFIG_PASSPHRASE": "lost"}
    said = checkout.inv("down", "--yes", code=3, **lost).stderr
    line = "PULUMI_CONFIG_PASSPHRASE= pulumi stack change-secrets-provider --stack dev passphrase"
    assert line in said
    code, said = typed(
        ["sh", "-c", line], cwd=checkout.path, env=checkout.env, answers=[("Enter", "new"), ("Re-enter", "new")]
    )
    assert code == 0, said
    checkout.inv("down", "--yes", PULUMI_CONFIG_PASSPHRASE="new")  # noqa: S106
    assert len(server.leftovers(REGION)) == 1
