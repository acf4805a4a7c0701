"""The operator's policy in docs/ is enough for a cluster's whole life, and reaches no other names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_calls import record_calls

POLICY = Path(__file__).parents[1] / "docs" / "operator-policy.json"


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


@pytest.mark.parametrize("settings", [{}, {"workerEgress": "nat"}], ids=["defaults", "nat"])
def test_the_policy_is_enough_to_make_a_cluster_and_to_take_it_down(
    server: Moto, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Every call that the stand-in provider makes is allowed; the real provider's reading is under the wildcards."""
    server.reset()
    calls = record_calls(monkeypatch)
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
        ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/database/password"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/sweepfleet-dev-head"),
    ],
)
def test_the_policy_reaches_nothing_else(action: str, resource: str) -> None:
    assert not allows(unconditional(), action, resource)
