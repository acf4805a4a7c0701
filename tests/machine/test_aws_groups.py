"""Both groups and their launches as the head asks AWS for them: moto answers, by the queries of the `aws` command."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.infra import layout
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine import facts as machine_facts
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import Facts
from sweepfleet.machine.launches import Activity
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "eu-west-1"
# As Debian's `aws` does: a call of AWS's, its answer through JMESPath, as JSON with times as AWS writes them.
COMMAND = f"""#!{sys.executable}
import json, os, sys, boto3, jmespath
endpoint, url, service, call, *words = sys.argv[1:]
given = {{}}
while words:
    name = words.pop(0).removeprefix("--")
    values = []
    while words and not words[0].startswith("--"):
        values.append(words.pop(0))
    given[name] = values
query, _ = given.pop("query", ["@"]), given.pop("output", None)
given.pop("max-items", None)
names = {{"auto-scaling-group-name": "AutoScalingGroupName", "desired-capacity": "DesiredCapacity"}}
asked = {{names[name]: values[0] for name, values in given.items() if name in names}}
if "auto-scaling-group-names" in given:
    asked["AutoScalingGroupNames"] = given["auto-scaling-group-names"]
if "DesiredCapacity" in asked:
    asked["DesiredCapacity"] = int(asked["DesiredCapacity"])
if call == "describe-scaling-activities":
    print(json.dumps(jmespath.search(query[0], json.load(open(os.environ["ACTIVITIES"])))))
    sys.exit()
client = boto3.client(service, region_name="{REGION}", endpoint_url=url)
answer = getattr(client, call.replace("-", "_"))(**asked)
if "@" not in query:
    print(json.dumps(jmespath.search(query[0], answer), default=lambda at: at.isoformat()))
"""


@pytest.fixture
def outputs(moto: Moto, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return Outputs.from_json(json.dumps(up(Mocks(moto.endpoint), {"maxWorkers": 5, "spotPatience": "2h"})))


@pytest.fixture
def aws(moto: Moto, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(COMMAND)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    groups = " ".join(outputs.worker_groups)
    return Aws(Facts("head", "dev", "b", "AROA", "10.0.0.1", "", REGION, moto.endpoint, str(tmp_path), groups))


def test_both_groups_are_one_fleet(aws: Aws, outputs: Outputs, moto: Moto) -> None:
    aws.set_group_size(2)
    aws.set_group_size(1, spare=True)
    found = aws.group()
    assert (found.size, found.most, found.spare, found.patience_s) == (3, 5, 1, 7200.0)
    assert len(found.members) == 3
    described = moto.client("autoscaling", REGION).describe_auto_scaling_groups(
        AutoScalingGroupNames=[outputs.on_demand_group]
    )
    [spare] = described["AutoScalingGroups"][0]["Instances"]
    assert found.spare_members == (spare["InstanceId"],) == found.members[2:]
    assert layout.PATIENCE_TAG == machine_facts.PATIENCE_TAG


def test_a_head_of_one_group_and_a_stack_that_lost_its_second_have_one(
    aws: Aws, outputs: Outputs, moto: Moto
) -> None:
    """One that was made before knows of no other. Without its first, a fleet is none."""
    aws.set_group_size(2)
    old = Aws(replace(aws.facts, group=outputs.worker_group))
    assert (old.group().size, old.group().spare, old.group().patience_s) == (2, 0, None)
    client = moto.client("autoscaling", REGION)
    client.delete_auto_scaling_group(AutoScalingGroupName=outputs.on_demand_group, ForceDelete=True)
    assert (aws.group().size, aws.group().patience_s) == (2, None)
    client.delete_auto_scaling_group(AutoScalingGroupName=outputs.worker_group, ForceDelete=True)
    with pytest.raises(AwsError, match=f"AWS has no group {outputs.worker_group}"):
        aws.group()


@pytest.mark.parametrize("settings", [{"spotPercent": 0}, {"spotPatience": "never"}], ids=str)
def test_without_spot_or_with_never_there_is_no_patience(aws: Aws, moto: Moto, settings: dict[str, object]) -> None:
    moto.reset()
    made = Outputs.from_json(json.dumps(up(Mocks(moto.endpoint), settings)))
    assert len(made.worker_groups) == 2
    found = Aws(replace(aws.facts, group=" ".join(made.worker_groups))).group()
    assert (found.patience_s, found.spare) == (None, 0)


NO_SPOT = "There is no Spot capacity available that matches your request."
ACTIVITIES = {
    "Activities": [
        {
            "Description": "Launching a new EC2 instance.  Status Reason: There is no Spot capacity available.",
            "StartTime": "2020-08-18T15:46:15.938Z",
            "StatusCode": "Failed",
            "StatusMessage": NO_SPOT,
        },
        {
            "Description": "Terminating EC2 instance: i-0a1b2c3d",
            "StartTime": "2020-08-18T15:40:00Z",
            "StatusCode": "Successful",
        },
        {
            "Description": "Launching a new EC2 instance: i-0a1b2c3d",
            "StartTime": "2020-08-18T15:30:00.5+00:00",
            "StatusCode": "Successful",
        },
    ]
}


def test_launches_are_read_with_what_became_of_them(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS answers (moto keeps no activities); what is no launch is left aside."""
    (tmp_path / "activities.json").write_text(json.dumps(ACTIVITIES))
    monkeypatch.setenv("ACTIVITIES", str(tmp_path / "activities.json"))
    for spare in (False, True):
        assert aws.launches(spare=spare) == [
            Activity(
                "Failed", "There is no Spot capacity available that matches your request.", "2020-08-18T15:46:15"
            ),
            Activity("Successful", "Launching a new EC2 instance: i-0a1b2c3d", "2020-08-18T15:30:00"),
        ]
