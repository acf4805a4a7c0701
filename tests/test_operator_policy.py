"""The operator's policy in docs/ is enough for a cluster's whole life, and reaches no other names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.policies import machines_boundary
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_requests import STACK, Request, ec2_arn, record_requests

DOCS = Path(__file__).parents[1] / "docs"
POLICY = (DOCS / "operator-policy.json").read_text()
BOUNDARY = DOCS / "machines-boundary.json"


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server("eu-west-1") as moto:
        yield moto


def allowed(request: Request) -> bool:
    return allows(POLICY, request.action, request.resource, context=dict(request.context))


@pytest.mark.parametrize("settings", [{}, {"workerEgress": "nat"}], ids=["defaults", "nat"])
def test_the_policy_is_enough_to_make_a_cluster_and_to_take_it_down(
    server: Moto, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Every call that the stand-in provider makes is allowed, with the tags, paths and boundaries that are there.

    The real provider's reading is under the wildcards.
    """
    server.reset()
    requests = record_requests(monkeypatch)
    mocks = Mocks(server.endpoint)
    up(mocks, settings)
    mocks.destroy()
    assert len(requests) > 50
    assert {"iam:PassRole", "iam:CreateRole", "ec2:TerminateInstances"} <= {one.action for one in requests}
    assert sorted(one for one in requests if not allowed(one)) == []


def test_without_the_boundary_no_role_can_be_made(server: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting `none` is for an administrator."""
    server.reset()
    requests = record_requests(monkeypatch)
    mocks = Mocks(server.endpoint)
    up(mocks, {"permissionsBoundary": "none"})
    refused = {one.action for one in requests if not allowed(one)}
    assert refused == {"iam:CreateRole", "iam:PutRolePolicy"}


def test_a_machine_that_does_not_come_can_be_looked_at() -> None:
    machine = ec2_arn("instance", "i-1")
    assert allows(POLICY, "ec2:GetConsoleOutput", machine, context={STACK: "dev"})
    assert not allows(POLICY, "ec2:GetConsoleOutput", machine, context={})


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:DeleteObject", "arn:aws:s3:::payroll/2026.csv"),
        ("s3:ListAllMyBuckets", "*"),
        ("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/admin"),
        ("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/sweepfleet-admin"),
        ("iam:CreateUser", "arn:aws:iam::123456789012:user/sweepfleet-x"),
        ("iam:AttachRolePolicy", "arn:aws:iam::123456789012:role/sweepfleet/sweepfleet-dev-head"),
        ("iam:DeleteRolePermissionsBoundary", "arn:aws:iam::123456789012:role/sweepfleet/sweepfleet-dev-head"),
        ("iam:PassRole", "arn:aws:iam::123456789012:role/sweepfleet-admin"),
        ("iam:CreatePolicyVersion", "arn:aws:iam::123456789012:policy/sweepfleet-machines"),
        ("autoscaling:DeleteAutoScalingGroup", "arn:aws:autoscaling:a:1:autoScalingGroup:x:autoScalingGroupName/web"),
        ("ec2:CreateVpcPeeringConnection", "*"),
        ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/database/password"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/sweepfleet/sweepfleet-dev-head"),
        ("ec2:TerminateInstances", ec2_arn("instance", "i-of-somebody-else")),
    ],
)
def test_the_policy_reaches_nothing_else(action: str, resource: str) -> None:
    """In whatever request: with the boundary, and for EC2."""
    context = {
        "aws:PrincipalAccount": "123456789012",
        "iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/sweepfleet-machines",
        "iam:PassedToService": "ec2.amazonaws.com",
    }
    assert not allows(POLICY, action, resource, context=context)


def test_the_boundary_in_the_docs_is_the_one_of_the_code() -> None:
    """To take a change over: SWEEPFLEET_GOLDEN=1 uv run pytest tests/test_operator_policy.py"""
    text = json.dumps(json.loads(machines_boundary()), indent=2) + "\n"
    if os.environ.get("SWEEPFLEET_GOLDEN"):
        BOUNDARY.write_text(text)
    assert BOUNDARY.read_text() == text


@pytest.mark.parametrize("policy", [POLICY, BOUNDARY.read_text()], ids=["operator", "boundary"])
def test_aws_takes_the_policies(policy: str) -> None:
    """A policy of its own may have 6,144 characters: docs.aws.amazon.com/IAM, "IAM and AWS STS quotas"."""
    assert len("".join(policy.split())) <= 6_144
    names = [one["Sid"] for one in json.loads(policy)["Statement"] if "Sid" in one]
    assert len(names) == len(set(names))
    assert all(name.isalnum() for name in names)
