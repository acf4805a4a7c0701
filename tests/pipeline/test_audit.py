"""What a stack has left behind: found by its tag, told from what it has; a group's workers are no leak."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import botocore.client
import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack.audit import Audit, audit, compare, lines
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.fleet.stack.tagged import Item
from sweepfleet.infra.layout import stack_tags
from sweepfleet.pipeline import github
from sweepfleet.pipeline.audit import ROWS, audit_part
from sweepfleet.tasks import ci as ci_tasks
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_calls import record_calls
from tests.infra.test_operator_policy import POLICY

REGION = "eu-west-1"
GOLDEN = Path(__file__).parents[1] / "golden" / "audit.md"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TAGS = [{"Key": key, "Value": value} for key, value in stack_tags(stack="dev", owner="ada").items()]
OTHERS = [{"Key": key, "Value": value} for key, value in stack_tags(stack="dev-2", owner="ada").items()]


@pytest.fixture(autouse=True)
def credentials(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


class Kept(Cloud):
    """A cloud that makes each client once, which takes longer than what is asked with it."""

    @cache  # noqa: B019 - for as long as the tests
    def client(self, service: str) -> Any:
        return super().client(service)


class Standing:
    """A stack that is up, with a NAT gateway, so that it has every kind of thing that it can have."""

    def __init__(self, moto: Moto) -> None:
        self.cloud = Kept(REGION, endpoint_url=moto.endpoint)
        self.ec2 = moto.client("ec2", REGION)
        self.moto = moto
        mocks = Mocks(moto.endpoint)
        self.outputs = up(mocks, {"workerEgress": "nat", "headAddress": "stays"})
        self.state = {one.id: one.type for one in mocks.records if one.type.startswith("aws:")}
        self.planted = contextlib.ExitStack()  # whose end takes it away again

    def audit(self, folder: Path, *, lost: str = "") -> Audit:
        """With this id lost from the state."""
        state = self.state.keys() - {lost}
        return compare(self.cloud, stack="dev", state=state, cache=folder / "prices.json")

    def volume(self, tags: list[dict[str, str]]) -> str:
        zone = f"{REGION}a"
        specification = [{"ResourceType": "volume", "Tags": tags}] if tags else []
        made = self.ec2.create_volume(
            AvailabilityZone=zone, Size=20, VolumeType="gp3", TagSpecifications=specification
        )
        self.planted.callback(self._remove_volume, str(made["VolumeId"]))
        return str(made["VolumeId"])

    def _remove_volume(self, volume: str) -> None:
        (found,) = self.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
        for one in found["Attachments"]:
            self.ec2.detach_volume(VolumeId=volume, InstanceId=one["InstanceId"])
        self.ec2.delete_volume(VolumeId=volume)

    def instance(self, tags: list[dict[str, str]], instance_type: str = "c7i.xlarge") -> str:
        (image,) = self.ec2.describe_images(
            Owners=["136693071363"], Filters=[{"Name": "architecture", "Values": ["x86_64"]}]
        )["Images"]
        specification = [{"ResourceType": "instance", "Tags": tags}]
        made = self.ec2.run_instances(
            ImageId=image["ImageId"],
            MinCount=1,
            MaxCount=1,
            InstanceType=instance_type,
            TagSpecifications=specification,
        )
        stray = str(made["Instances"][0]["InstanceId"])
        self.planted.callback(self.ec2.terminate_instances, InstanceIds=[stray])
        return stray

    def workers(self, count: int) -> list[str]:
        groups = self.moto.client("autoscaling", REGION)
        name = self.outputs["worker_group"]
        groups.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=count)
        self.planted.callback(groups.set_desired_capacity, AutoScalingGroupName=name, DesiredCapacity=0)
        (group,) = groups.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return [one["InstanceId"] for one in group["Instances"]]


@pytest.fixture(scope="module")
def up_already() -> Iterator[Standing]:
    with pytest.MonkeyPatch.context() as patch, moto_server(REGION) as moto:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield Standing(moto)


@pytest.fixture
def standing(up_already: Standing) -> Iterator[Standing]:
    """The stack; what a test plants beside it is gone with the test."""
    with contextlib.ExitStack() as planted:
        up_already.planted = planted
        yield up_already


def told(found: Audit) -> list[tuple[str, str]]:
    return [(one.kind, one.id) for one in found.leaks]


def test_a_stack_with_all_that_it_has_is_clean_and_every_part_with_a_tag_is_seen(
    standing: Standing, tmp_path: Path
) -> None:
    """What has no tag of its own is seen with what it belongs to: rules of routes, attachments, a role's policy."""
    found = standing.audit(tmp_path)
    assert told(found) == []
    seen = {one.id for one in found.items}
    untagged = {kind for id_, kind in standing.state.items() if id_ not in seen}
    assert untagged == {
        "aws:ec2/eipAssociation:EipAssociation",
        "aws:ec2/route:Route",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:ec2/volumeAttachment:VolumeAttachment",
        "aws:iam/rolePolicy:RolePolicy",
    }
    (root,) = [one for one in found.items if one.id not in standing.state]
    assert root.why == f"attached to {standing.outputs['head_id']}"


def test_every_kind_of_the_stack_is_a_leak_when_the_state_is_lost(standing: Standing, tmp_path: Path) -> None:
    """Each with a command that names it, and an age where AWS tells one."""
    found = compare(standing.cloud, stack="dev", state=(), cache=tmp_path / "prices.json")
    assert len(found.leaks) == len(found.items) > 25
    assert all(one.id in one.remedy and one.remedy.startswith(f"aws --region {REGION} ") for one in found.leaks)
    aged = {one.kind for one in found.leaks if one.created is not None}
    assert aged == {
        *("instance", "volume", "NAT gateway", "endpoint", "launch template", "key pair"),
        *("group", "role", "instance profile"),
    }
    assert {one.kind for one in found.leaks if one.usd_month} == {"instance", "volume", "address", "NAT gateway"}


def test_an_orphaned_volume_is_found_with_age_price_and_remedy(standing: Standing, tmp_path: Path) -> None:
    """Not one without the tag, nor another stack's whose name begins like this one's."""
    orphan = standing.volume(TAGS)
    standing.volume([])
    standing.volume(OTHERS)
    found = standing.audit(tmp_path)
    (leak,) = found.leaks
    assert (leak.kind, leak.id, leak.usd_month) == ("volume", orphan, pytest.approx(1.6))
    assert leak.remedy == f"aws --region {REGION} ec2 delete-volume --volume-id {orphan}"
    assert leak.created is not None
    assert leak.age(leak.created + timedelta(hours=47)) == "47 hours old"
    assert leak.age(leak.created + timedelta(days=40)) == "40 days old"


def test_a_stray_instance_is_found_with_what_it_costs(standing: Standing, tmp_path: Path) -> None:
    """What hangs on it is not explained by it."""
    stray = standing.instance(TAGS)
    volume = standing.volume(TAGS)
    standing.ec2.attach_volume(VolumeId=volume, InstanceId=stray, Device="/dev/sdf")
    standing.instance(OTHERS)
    found = standing.audit(tmp_path)
    assert told(found) == [("instance", stray), ("volume", volume)]
    assert found.leaks[0].usd_month == pytest.approx(0.1785 * 730)
    assert found.usd_month == pytest.approx(0.1785 * 730 + 1.6)


def test_an_instance_that_nobody_knows_the_price_of_is_found_too(standing: Standing, tmp_path: Path) -> None:
    stray = standing.instance(TAGS, "x1e.xlarge")
    (leak,) = standing.audit(tmp_path).leaks
    assert (leak.id, leak.usd_month) == (stray, None)


def test_workers_of_the_group_and_what_they_carry_are_no_leak(standing: Standing, tmp_path: Path) -> None:
    first, _ = standing.workers(2)
    volume = standing.volume(TAGS)
    standing.ec2.attach_volume(VolumeId=volume, InstanceId=first, Device="/dev/sdf")
    why = {one.id: one.why for one in standing.audit(tmp_path).items}
    assert why[first] == f"started by the group {standing.outputs['worker_group']}"
    assert why[volume] == f"attached to {first}"
    assert "" not in why.values()


def test_a_worker_that_goes_is_not_counted_and_its_volume_is_no_leak_meanwhile(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS says that it is shutting down before it lets go of the volume."""
    (worker,) = standing.workers(1)
    volume = standing.volume(TAGS)
    standing.ec2.attach_volume(VolumeId=volume, InstanceId=worker, Device="/dev/sdf")
    call = botocore.client.BaseClient._make_api_call

    def going(self: Any, operation: str, given: dict[str, Any]) -> Any:
        answer = call(self, operation, given)
        for reservation in answer.get("Reservations", ()) if operation == "DescribeInstances" else ():
            for one in reservation["Instances"]:
                if one["InstanceId"] == worker:
                    one["State"]["Name"] = "shutting-down"
        return answer

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", going)
    found = standing.audit(tmp_path)
    assert told(found) == []
    assert worker not in {one.id for one in found.items}


def test_a_group_that_the_state_has_not_explains_nothing(standing: Standing, tmp_path: Path) -> None:
    (worker,) = standing.workers(1)
    group = standing.outputs["worker_group"]
    assert told(standing.audit(tmp_path, lost=group)) == [("instance", worker), ("group", group)]


def test_what_is_terminated_or_deleted_is_no_leak(standing: Standing, tmp_path: Path) -> None:
    """AWS names it, with its tags, for an hour."""
    stray = standing.instance(TAGS)
    standing.ec2.terminate_instances(InstanceIds=[stray])
    subnet = next(id_ for id_, kind in standing.state.items() if kind.endswith(":Subnet"))
    tags = [{"ResourceType": "natgateway", "Tags": TAGS}]
    nat = standing.ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private", TagSpecifications=tags)
    standing.ec2.delete_nat_gateway(NatGatewayId=nat["NatGateway"]["NatGatewayId"])
    assert told(standing.audit(tmp_path)) == []


def test_what_only_the_tagging_api_knows_is_found(standing: Standing, tmp_path: Path) -> None:
    """A bucket and a queue that somebody made by hand; a bucket that is gone is not told of."""
    s3, sqs = standing.moto.client("s3", REGION), standing.moto.client("sqs", REGION)
    place = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="by-hand", CreateBucketConfiguration=place)
    s3.put_bucket_tagging(Bucket="by-hand", Tagging={"TagSet": TAGS})
    queue = sqs.create_queue(QueueName="by-hand", tags={tag["Key"]: tag["Value"] for tag in TAGS})["QueueUrl"]
    standing.planted.callback(sqs.delete_queue, QueueUrl=queue)
    leaks = {one.kind: one for one in standing.audit(tmp_path).leaks}
    assert leaks.keys() == {"bucket", "sqs resource"}
    assert leaks["bucket"].remedy == f"aws --region {REGION} s3 rb --force s3://by-hand"
    assert leaks["sqs resource"].id == f"arn:aws:sqs:{REGION}:123456789012:by-hand"
    s3.delete_bucket(Bucket="by-hand")
    assert {one.kind for one in standing.audit(tmp_path).leaks} == {"sqs resource"}


def test_a_role_is_the_stacks_by_its_tag(standing: Standing, tmp_path: Path) -> None:
    """Its name alone says nothing: the stack dev-2 has names that begin like those of dev."""
    iam = standing.moto.client("iam", REGION)
    for name, tags in (("sweepfleet-dev-2-head", OTHERS), ("sweepfleet-dev-old", TAGS), ("sweepfleet-dev-x", [])):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}", Tags=tags)
        standing.planted.callback(iam.delete_role, RoleName=name)
    assert told(standing.audit(tmp_path)) == [("role", "sweepfleet-dev-old")]


def test_names_of_others_stay_words_in_a_command(standing: Standing, tmp_path: Path) -> None:
    name = "x; rm -rf ~"
    standing.ec2.create_key_pair(KeyName=name, TagSpecifications=[{"ResourceType": "key-pair", "Tags": TAGS}])
    standing.planted.callback(standing.ec2.delete_key_pair, KeyName=name)
    (leak,) = standing.audit(tmp_path).leaks
    assert leak.remedy.endswith("delete-key-pair --key-name 'x; rm -rf ~'")


def test_the_operators_policy_is_enough_for_an_audit(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every call of it reads."""
    standing.instance(TAGS)  # whose price is asked for
    calls = record_calls(monkeypatch)
    standing.audit(tmp_path)
    assert len(calls) > 20
    assert sorted(one for one in calls if not allows(POLICY, *one, context={})) == []
    assert {name.partition(":")[2][:3] for name, _ in calls} == {"Des", "Get", "Lis"}


# Of a stack, as a task asks


@pytest.fixture
def cluster(standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack as Pulumi knows it: a `pulumi` on the PATH with these answers and no others."""
    urn = "urn:pulumi:dev::sweepfleet"
    resources = [{"urn": f"{urn}::{kind}::x", "type": kind, "id": id_} for id_, kind in standing.state.items()]
    resources.append({"urn": f"{urn}::pulumi:pulumi:Stack::x", "type": "pulumi:pulumi:Stack"})
    config = {"aws:region": REGION, "sweepfleet:endpointUrl": standing.moto.endpoint}
    answers = {
        "stack ls --json": [{"name": "dev"}],
        "config --json --stack dev": {key: {"value": value} for key, value in config.items()},
        "stack export --stack dev": {"deployment": {"resources": resources}},
    }
    script = ["#!/bin/sh", 'case "$*" in']
    for number, (words, answer) in enumerate(answers.items()):
        (tmp_path / str(number)).write_text(json.dumps(answer))
        script.append(f'"--non-interactive {words}") cat {tmp_path / str(number)} ;;')
    script += ['*) echo "error: no such question: $*" >&2; exit 1 ;;', "esac"]
    (tmp_path / "pulumi").write_text("\n".join(script))
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Stack(tmp_path, "dev", PulumiCli(tmp_path), print)


def test_an_audit_reads_state_and_region_of_the_stack(standing: Standing, cluster: Stack) -> None:
    assert audit(cluster).leaks == []
    orphan = standing.volume(TAGS)
    found = audit(cluster)
    assert (found.stack, found.region, told(found)) == ("dev", REGION, [("volume", orphan)])


def test_a_person_is_told_what_is_there_and_what_leaked() -> None:
    said = list(lines(example(), NOW))
    assert said[0] == (
        "6 resources in eu-west-1 with the tag sweepfleet:stack=dev: 1 in its state, 1 started by its groups, "
        "1 attached to these machines, 3 leaked."
    )
    assert said[1:3] == [
        "LEAK instance i-2, 3 hours old, about 130.31 USD a month",
        "     aws --region eu-west-1 ec2 terminate-instances --instance-ids i-2",
    ]
    assert "about 131.91 USD a month" in said[-1]
    clean = replace(example(), items=tuple(one for one in example().items if not one.leaked))
    assert len(list(lines(clean, NOW))) == 1


def test_json_has_everything_that_was_found() -> None:
    said = [one.to_dict(NOW) for one in example().items]
    assert [one["leaked"] for one in said] == [True, True, True, False, False, False]
    assert said[0] == {
        "kind": "instance",
        "id": "i-2",
        "created": "2026-11-24T09:00:00+00:00",
        "age_s": 10_800,
        "usd_month": 130.305,
        "leaked": True,
        "why": "",
        "remedy": "aws --region eu-west-1 ec2 terminate-instances --instance-ids i-2",
    }
    assert (said[2]["created"], said[2]["age_s"], said[3]["remedy"]) == (None, None, "")


# The issue


def example() -> Audit:
    aws = "aws --region eu-west-1 ec2"
    name = "'@team|<b>`x`\n    curl evil'"
    items = (
        Item("instance", "i-2", f"{aws} terminate-instances --instance-ids i-2", NOW - timedelta(hours=3), 130.305),
        Item("volume", "vol-1", f"{aws} delete-volume --volume-id vol-1", NOW - timedelta(days=40), 1.6),
        Item("key pair", name.strip("'"), f"{aws} delete-key-pair --key-name {name}"),
        Item("volume", "vol-2", "", NOW, 4.0, "in the stack's state"),
        Item("instance", "i-1", "", NOW, None, "started by the group workers"),
        Item("volume", "vol-3", "", NOW, 2.4, "attached to i-1"),
    )
    return Audit("dev", "eu-west-1", items)


def test_the_issue_is_as_in_the_golden_file() -> None:
    """If it is meant to change: write what `audit_part(example(), NOW)` says into tests/golden/audit.md."""
    assert audit_part(example(), NOW) == GOLDEN.read_text()


def test_an_issue_is_not_longer_than_one_can_read() -> None:
    many = Audit("dev", REGION, tuple(replace(example().items[0], id=f"i-{number}") for number in range(ROWS + 7)))
    said = audit_part(many, NOW)
    assert said.count("| instance |") == ROWS
    assert "and 7 more: `inv audit`" in said


def test_the_nightly_job_opens_one_issue_and_closes_it_when_there_is_no_leak(
    standing: Standing, cluster: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(ci_tasks, "open_stack", lambda _: cluster)
    monkeypatch.setattr(github, "raise_issue", lambda _, **of: said.append(("raise", of)))
    monkeypatch.setattr(github, "settle", lambda _, **of: said.append(("settle", of)))
    summary = cluster.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    ci_tasks.audit.body(Context(), stack="dev")
    assert said == [("settle", {"matter": "leak", "stack": "dev"})]
    assert not summary.exists()
    orphan = standing.volume(TAGS)
    with pytest.raises(Exit) as ended:
        ci_tasks.audit.body(Context(), stack="dev")
    assert ended.value.code == 1
    (_, (what, issue)) = said
    assert (what, issue["matter"], issue["stack"]) == ("raise", "leak", "dev")
    assert orphan in issue["body"]
    assert orphan in summary.read_text()
    assert f"LEAK volume {orphan}" in capsys.readouterr().out
