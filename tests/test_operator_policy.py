"""The operator's policy in docs/ is enough for a cluster's whole life, and reaches no other names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.client
import pytest

from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows

POLICY = Path(__file__).parents[1] / "docs" / "operator-policy.json"
SERVICES = {"service-quotas": "servicequotas"}  # boto3's name to IAM's, where they differ
# S3's operations whose action has another name:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server("eu-west-1") as moto:
        yield moto


def unconditional() -> str:
    """The policy without its statements that hold under conditions."""
    policy = json.loads(POLICY.read_text())
    plain = [
        {key: value for key, value in statement.items() if key != "Sid"}
        for statement in policy["Statement"]
        if "Condition" not in statement
    ]
    return json.dumps({"Version": policy["Version"], "Statement": plain})


def resource_of(service: str, given: dict[str, Any]) -> str:
    """The ARN that a call is about, as far as the policy tells them apart."""
    account = "123456789012"
    if service == "s3":
        return f"arn:aws:s3:::{given['Bucket']}" + (f"/{given['Key']}" if "Key" in given else "")
    if service == "iam":
        if "InstanceProfileName" in given:
            return f"arn:aws:iam::{account}:instance-profile/{given['InstanceProfileName']}"
        return f"arn:aws:iam::{account}:role/{given['RoleName']}"
    if service == "autoscaling":
        name = given.get("AutoScalingGroupName") or next(iter(given.get("Tags", [{}])), {}).get("ResourceId", "")
        return f"arn:aws:autoscaling:eu-west-1:{account}:autoScalingGroup:x:autoScalingGroupName/{name}"
    return "*"


@pytest.mark.parametrize("settings", [{}, {"workerEgress": "nat"}], ids=["defaults", "nat"])
def test_the_policy_is_enough_to_make_a_cluster_and_to_take_it_down(
    server: Moto, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Every call that the stand-in provider makes is allowed; the real provider's reading is under the wildcards."""
    server.reset()
    calls: set[tuple[str, str]] = set()
    call = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, operation: str, given: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        name = ACTIONS.get(operation, operation)
        calls.add((f"{SERVICES.get(service, service)}:{name}", resource_of(service, given)))
        return call(self, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
    mocks = Mocks(server.endpoint)
    up(mocks, settings)
    mocks.destroy()
    assert len(calls) > 50
    policy = unconditional()
    assert sorted(call for call in calls if not allows(policy, *call)) == []


def test_a_machine_that_does_not_come_can_be_looked_at() -> None:
    assert allows(unconditional(), "ec2:GetConsoleOutput", "*")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:DeleteObject", "arn:aws:s3:::payroll/2026.csv"),
        ("s3:ListAllMyBuckets", "*"),
        ("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/admin"),
        ("iam:CreateUser", "arn:aws:iam::123456789012:user/sweepfleet-x"),
        ("iam:AttachRolePolicy", "arn:aws:iam::123456789012:role/sweepfleet-dev-head"),
        ("iam:PassRole", "arn:aws:iam::123456789012:role/sweepfleet-dev-head"),  # under its condition alone
        ("autoscaling:DeleteAutoScalingGroup", "arn:aws:autoscaling:a:1:autoScalingGroup:x:autoScalingGroupName/web"),
        ("ec2:CreateVpcPeeringConnection", "*"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/sweepfleet-dev-head"),
    ],
)
def test_the_policy_reaches_nothing_else(action: str, resource: str) -> None:
    assert not allows(unconditional(), action, resource)
