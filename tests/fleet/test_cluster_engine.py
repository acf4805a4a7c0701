"""`inv up`, `preview`, `outputs` and `down` as typed, under the real engine, on moto behind a stand-in provider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepfleet.infra.layout import STACK_TAG
from tests.cloud import engine
from tests.cloud.checkout import Checkout, address_server
from tests.cloud.failures import VARIABLE as FAIL
from tests.cloud.moto import Moto, moto_server, publish_debian

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "us-east-1"
ADDRESS = "198.51.101.9"


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture(scope="module")
def checkip() -> Iterator[str]:
    with address_server(ADDRESS) as url:
        yield url


@pytest.fixture(scope="module")
def standing(server: Moto, checkip: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A stack that is up with nothing set by hand; tests look at it and leave it as it is."""
    server.reset()
    checkout = Checkout(tmp_path_factory.mktemp("standing"), server.endpoint, checkip=checkip)
    said = checkout.inv("up", "--yes", AWS_REGION=REGION)
    checkout.first = said.stdout
    yield checkout
    server.reset()


def settings(checkout: Checkout) -> dict[str, Any]:
    return dict(yaml.safe_load((checkout.path / f"Pulumi.{checkout.stack}.yaml").read_text())["config"])


def test_up_chooses_what_nobody_set_and_says_so(standing: Checkout) -> None:
    assert settings(standing)["sweepfleet:sshCidrs"] == [f"{ADDRESS}/32"]
    assert settings(standing)["sweepfleet:sshPublicKey"] == standing.public_key
    assert settings(standing)["sweepfleet:owner"] == "ada"
    assert settings(standing)["aws:region"] == REGION
    assert f"Set aws:region to {REGION}: from AWS_REGION." in standing.first
    assert f"Set sshCidrs[0] to {ADDRESS}/32: this machine's address" in standing.first
    assert "The stack dev is up in us-east-1; no workers run." in standing.first


def test_up_again_changes_nothing(standing: Checkout) -> None:
    before = standing.remembered.read_text()
    said = standing.inv("up", "--yes").stdout
    assert "unchanged" in said
    assert not re.search(r"\d+ (created|updated|deleted|replaced)\b", said), said
    assert "Set " not in said
    assert standing.remembered.read_text() == before


def test_outputs_are_remembered_and_can_be_asked_for_again(standing: Checkout, server: Moto) -> None:
    kept = json.loads(standing.remembered.read_text())
    assert kept["head_ip"] == "", "it changes"
    now = kept | {"head_ip": head_of(server, kept)["PublicIpAddress"]}
    assert json.loads(standing.inv("outputs", "--json").stdout) == now
    assert f"head_ip                 {now['head_ip']}\n" in standing.inv("outputs").stdout
    standing.remembered.unlink()
    assert json.loads(standing.inv("outputs", "--json", "--refresh").stdout) == now
    assert json.loads(standing.remembered.read_text()) == kept
    assert server.client("ec2").describe_instances(InstanceIds=[kept["head_id"]])["Reservations"]


def head_of(server: Moto, outputs: dict[str, Any]) -> dict[str, Any]:
    """The head as EC2 has it."""
    [reservation] = server.client("ec2").describe_instances(InstanceIds=[outputs["head_id"]])["Reservations"]
    return dict(reservation["Instances"][0])


def test_a_head_that_sleeps_and_one_with_another_address_are_no_difference(standing: Checkout, server: Moto) -> None:
    """Neither to an update nor to the nightly look; and neither wakes it."""
    kept = json.loads(standing.remembered.read_text())
    ec2, address = server.client("ec2"), head_of(server, kept)["PublicIpAddress"]
    drift = ("preview", "--refresh", "--expect-no-changes", "--stack", "dev")
    ec2.stop_instances(InstanceIds=[kept["head_id"]])
    standing.engine.run(*drift)
    said = standing.inv("up", "--yes").stdout
    assert "unchanged" in said
    assert "Head has no address while it is asleep" in said
    assert "then it costs 5.60 USD a month" in said
    assert head_of(server, kept)["State"]["Name"] == "stopped"
    assert json.loads(standing.remembered.read_text()) == kept
    ec2.start_instances(InstanceIds=[kept["head_id"]])
    assert head_of(server, kept)["PublicIpAddress"] != address
    standing.engine.run(*drift)


def test_no_private_key_and_no_secret_is_in_the_state(standing: Checkout) -> None:
    state = standing.engine.run("stack", "export", "--stack", "dev").stdout
    assert "PRIVATE KEY" not in state
    assert "sweepfleet-dev-head" in state


GROUPS = {"workers Group": "update", "on-demand Group": "update"}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "the group's own numbers": (
        {"budgetUsd": 7, "maxWorkers": 20, "spotPercent": 50, "onDemandBase": 1},
        GROUPS,
    ),
    "the head grows in place, and the rule of one network makes room for another's": (
        {"dataVolumeGb": 80, "headInstanceType": "t3.large", "sshCidrs": ["203.0.113.0/24"]},
        {
            "data Volume": "update",
            "head Instance": "update",
            f"head-from-{ADDRESS}-32-22 SecurityGroupIngressRule": "delete",
            "head-from-203.0.113.0-24-22 SecurityGroupIngressRule": "create",
        },
    ),
    "an address comes to stay, and the head stays": (
        {"headAddress": "stays", "headIdleStop": "never"},
        {"head Eip": "create", "head EipAssociation": "create", "workers Group": "update"},
    ),
    "a burstable head's credits change in place": ({"headCpuCredits": "unlimited"}, {"head Instance": "update"}),
    "zones come and go and move no other": (
        {"zones": ["us-east-1b", "us-east-1a", "us-east-1d"]},
        {
            "workers-us-east-1c Subnet": "delete",
            "workers-us-east-1c RouteTableAssociation": "delete",
            "workers-us-east-1d Subnet": "create",
            "workers-us-east-1d RouteTableAssociation": "create",
            **GROUPS,
        },
    ),
    "a way out for workers, and what only new machines take up": (
        {"workerEgress": "public", "workerDiskGb": 60, "packageIndex": "https://pypi.example.org/simple"},
        {
            "workers-out Route": "create",
            "worker LaunchTemplate": "update",
            **GROUPS,
            "workers-to-head-8786 SecurityGroupEgressRule": "delete",
            "workers-to-s3-443 SecurityGroupEgressRule": "delete",
            "workers-to-0.0.0.0-0-all SecurityGroupEgressRule": "create",
        },
    ),
}


@pytest.mark.parametrize("about", CHANGES)
def test_a_changed_setting_changes_only_what_it_is_about(standing: Checkout, about: str) -> None:
    change, planned = CHANGES[about]
    assert standing.planned(**change) == planned


def test_a_newer_image_renews_workers_and_the_head_only_when_asked(standing: Checkout) -> None:
    """And then the head's volume stays."""
    publish_debian(REGION)
    assert standing.plan() == {"worker LaunchTemplate": "update", **GROUPS}
    assert standing.plan(SWEEPFLEET_RENEW_HEAD="1") == {
        "worker LaunchTemplate": "update",
        **GROUPS,
        "head Instance": "replace",
        "data VolumeAttachment": "replace",
    }


def test_the_data_volume_cannot_be_lost_by_a_setting(standing: Checkout) -> None:
    """Another zone for the head would need another volume: the head stays where its volume is."""
    planned = standing.planned(zones=["us-east-1f"])
    assert not any(name.startswith(("data", "head")) for name in planned)


def test_preview_shows_and_changes_nothing(standing: Checkout) -> None:
    with standing.otherwise(maxWorkers=11):
        assert "autoscaling:Group" in standing.inv("preview").stdout
    assert json.loads(standing.inv("outputs", "--json", "--refresh").stdout)["max_workers"] == 10


def test_settings_that_cannot_be_used_end_with_2_before_anything_is_done(standing: Checkout) -> None:
    with standing.otherwise(spotPercent=300, sshCidrs=["0.0.0.0/0"]):
        for command in (["up", "--yes"], ["preview"]):
            said = standing.inv(*command, code=2)
            assert said.stderr.startswith(
                "error: stack dev: 2 problems in the stack's settings; nothing was changed."
            )
            assert "Updating" not in said.stdout


def test_a_program_started_by_pulumi_itself_says_the_same_without_a_traceback(standing: Checkout) -> None:
    with standing.otherwise(spotPercent=300):
        done = standing.engine.run("preview", "--stack", "dev", check=False)
    assert done.returncode != 0
    assert "spotPercent: 300 is not between 0 and 100" in done.stdout
    assert "Traceback" not in done.stdout


def test_down_asks_and_takes_no_for_an_answer(standing: Checkout, server: Moto) -> None:
    before = server.leftovers(REGION)
    said = standing.inv("down", code=2)
    assert "lost: the data volume" in said.stdout
    assert "stopped:" not in said.stdout
    assert "--yes" in said.stderr
    assert server.leftovers(REGION) == before


def test_down_says_how_many_workers_it_stops(standing: Checkout, server: Moto) -> None:
    groups = server.client("autoscaling", REGION)
    names = [one["AutoScalingGroupName"] for one in groups.describe_auto_scaling_groups()["AutoScalingGroups"]]
    for name, count in zip(names, (2, 1), strict=True):
        groups.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=count)
    try:
        assert "stopped: 3 workers, and the runs" in standing.inv("down", code=2).stdout
    finally:
        for name in names:
            groups.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=0)


def test_an_audit_finds_what_the_state_has_not_and_nothing_of_what_it_has(standing: Checkout, server: Moto) -> None:
    """The engine's ids are those that AWS tells; workers of the group are no leak, an orphaned volume is one."""
    groups, ec2 = server.client("autoscaling", REGION), server.client("ec2", REGION)
    name = groups.describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupName"]
    groups.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    tags = [{"ResourceType": "volume", "Tags": [{"Key": STACK_TAG, "Value": "dev"}]}]
    orphan = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=20, VolumeType="gp3", TagSpecifications=tags)
    try:
        said = standing.inv("audit", "--json", code=1).stdout
        issue = standing.inv("ci.audit", code=1, GITHUB_STEP_SUMMARY=str(standing.home / "summary.md"))
    finally:
        groups.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=0)
        ec2.delete_volume(VolumeId=orphan["VolumeId"])
    found = [json.loads(line) for line in said.splitlines()]
    assert [one["id"] for one in found if one["leaked"]] == [orphan["VolumeId"]]
    recorded = {one["id"] for one in standing.engine.resources() if one["type"].startswith("aws:")}
    assert len(recorded & {one["id"] for one in found}) > 25
    assert f"started by the group {name}" in {one["why"] for one in found}
    assert "The stack dev has leaked resources" in issue.stderr
    assert orphan["VolumeId"] in (standing.home / "summary.md").read_text()
    assert ", 0 leaked." in standing.inv("audit").stdout


def test_a_new_address_takes_the_place_of_the_old_one(standing: Checkout, server: Moto) -> None:
    """In the settings and in the head's firewall; the same address again changes nothing."""
    said = standing.inv("allow-me", "--yes").stdout
    assert said.strip() == f"The address {ADDRESS}/32 may reach the head already."
    try:
        with address_server("198.51.101.44") as url:
            said = standing.inv("allow-me", "--yes", INVOKE_CHECKIP=url).stdout
            assert "Set sshCidrs[0] to 198.51.101.44/32, this machine's address." in said
            assert settings(standing)["sweepfleet:sshCidrs"] == ["198.51.101.44/32"]
            assert let_in(standing, server) == {"198.51.101.44/32"}
            refused = standing.inv("allow-me", "--yes", "--replace", "10.1.2.0/24", code=2).stderr
            assert "10.1.2.0/24 is not in sshCidrs, which has 198.51.101.44/32" in refused
    finally:
        standing.inv("allow-me", "--yes")
    assert let_in(standing, server) == {f"{ADDRESS}/32"}


def let_in(checkout: Checkout, server: Moto) -> set[str]:
    """The networks that reach the head's SSH port."""
    group = json.loads(checkout.remembered.read_text())["head_security_group_id"]
    filters = [{"Name": "group-id", "Values": [group]}]
    rules = server.client("ec2", REGION).describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
    return {one["CidrIpv4"] for one in rules if not one["IsEgress"] and one["FromPort"] == 22 and "CidrIpv4" in one}


def test_a_life_from_nothing_to_nothing(server: Moto, tmp_path: Path) -> None:
    """An up that fails halfway goes on, other settings come up too, down keeps the bucket, purge nothing."""
    server.reset()
    checkout = Checkout(tmp_path, server.endpoint)
    (checkout.path / "Pulumi.dev.yaml").write_text(
        yaml.safe_dump(
            {
                "config": {
                    "aws:region": REGION,
                    "sweepfleet:sshCidrs": ["203.0.113.7/32", "198.51.101.0/24"],
                    "sweepfleet:sshPublicKey": checkout.public_key,
                    "sweepfleet:owner": "ada@example.org",
                    "sweepfleet:vpcCidr": "172.20.0.0/20",
                    "sweepfleet:zones": ["us-east-1b", "us-east-1d"],
                    "sweepfleet:headInstanceType": "t4g.medium",
                    "sweepfleet:dataVolumeGb": 80,
                    "sweepfleet:workerInstanceTypes": ["c7g.large", "m7g.large"],
                    "sweepfleet:maxWorkers": 40,
                    "sweepfleet:spotPercent": 60,
                    "sweepfleet:onDemandBase": 2,
                    "sweepfleet:workerDiskGb": 60,
                    "sweepfleet:workerEgress": "nat",
                    "sweepfleet:amiId": arm_image(server),
                    "sweepfleet:budgetUsd": 7,
                    "sweepfleet:packageIndex": "https://pypi.example.org/simple",
                    "sweepfleet:endpointUrl": server.endpoint,
                }
            }
        )
    )
    (tmp_path / "fail.json").write_text(json.dumps({"aws:ec2/instance:Instance": 1}))
    failing = {FAIL: str(tmp_path / "fail.json"), "AWS_REGION": "eu-west-1"}  # the file's region counts
    said = checkout.inv("up", "--yes", code=3, **failing)
    assert settings(checkout)["aws:region"] == REGION
    assert "InjectedFailure" in said.stdout
    assert "the same command continues from there" in said.stderr
    assert not checkout.remembered.exists()
    half = checkout.engine.resources()
    assert half

    checkout.inv("up", "--yes")
    whole = {one["urn"]: one.get("id") for one in checkout.engine.resources()}
    assert {one["urn"]: one.get("id") for one in half}.items() <= whole.items(), "what was made is not made again"
    assert checkout.plan() == {}
    outputs = json.loads(checkout.remembered.read_text())
    assert (outputs["architecture"], outputs["max_workers"], outputs["worker_egress"]) == ("arm64", 40, "nat")
    s3 = server.client("s3", REGION)
    s3.put_object(Bucket=outputs["bucket"], Key="runs/rates/results.csv", Body=b"a")
    s3.put_object(Bucket=outputs["bucket"], Key="runs/rates/results.csv", Body=b"ab")

    done = checkout.inv("down", "--yes")
    assert f"kept: the bucket {outputs['bucket']} with 1 objects" in done.stdout
    assert server.leftovers(REGION) == [f"bucket {outputs['bucket']}"]
    assert not checkout.remembered.exists()
    assert "is not up" in checkout.inv("outputs", code=3).stderr
    assert checkout.inv("down", "--yes").stdout.endswith("The stack dev is already down.\n")

    checkout.inv("up", "--yes")
    again = json.loads(checkout.remembered.read_text())
    assert again["bucket"] == outputs["bucket"]
    assert s3.get_object(Bucket=again["bucket"], Key="runs/rates/results.csv")["Body"].read() == b"ab"

    done = checkout.inv("down", "--yes", "--purge")
    assert "Deleted 2 object versions" in done.stdout
    assert server.leftovers(REGION) == []
    assert (checkout.path / "Pulumi.dev.yaml").exists()
    assert "There is no stack dev here" in checkout.inv("preview", code=2).stderr


def arm_image(server: Moto) -> str:
    images = server.client("ec2", REGION).describe_images()["Images"]
    return str(next(one["ImageId"] for one in images if one["Architecture"] == "arm64"))


def test_up_without_an_address_to_open_to_makes_nothing(server: Moto, tmp_path: Path) -> None:
    server.reset()
    checkout = Checkout(tmp_path, server.endpoint)
    said = checkout.inv("up", "--yes", code=3, AWS_REGION=REGION)
    assert "pulumi config set --path 'sshCidrs[0]'" in said.stderr
    assert server.leftovers(REGION) == []
