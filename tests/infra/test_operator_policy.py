"""The operator's policy in docs/ is enough for a cluster's whole life, and reaches no other names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.infra.policies import machines_boundary
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_requests import STACK, Request, ec2_arn, record_requests

PACKAGE = Path(__file__).parents[2] / "src" / "sweepfleet"
POLICY = (PACKAGE / "account" / "operator-policy.json").read_text()
BOUNDARY = PACKAGE / "infra" / "machines-boundary.json"


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
        ("iam:GetPolicyVersion", "arn:aws:iam::123456789012:policy/admin"),
        ("autoscaling:DeleteAutoScalingGroup", "arn:aws:autoscaling:a:1:autoScalingGroup:x:autoScalingGroupName/web"),
        ("ec2:CreateVpcPeeringConnection", "*"),
        ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/database/password"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/sweepfleet/sweepfleet-dev-head"),
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


DONE_TO_MACHINES = (
    *("AttachVolume", "DetachVolume", "GetConsoleOutput", "ModifyInstanceAttribute", "StartInstances"),
    *("ModifyInstanceCreditSpecification", "ModifyInstanceMetadataOptions", "StopInstances", "TerminateInstances"),
    "ReplaceIamInstanceProfileAssociation",
)
DONE_TO_TEMPLATES = (
    "CreateLaunchTemplateVersion",
    "DeleteLaunchTemplate",
    "DeleteLaunchTemplateVersions",
    "ModifyLaunchTemplate",
)


@pytest.mark.parametrize(
    ("kind", "actions"), [("instance", DONE_TO_MACHINES), ("launch-template", DONE_TO_TEMPLATES)]
)
def test_what_is_done_to_machines_is_done_to_a_clusters_own(kind: str, actions: tuple[str, ...]) -> None:
    for action in actions:
        assert allows(POLICY, f"ec2:{action}", ec2_arn(kind, "ours"), context={STACK: "dev"}), action
        assert not allows(POLICY, f"ec2:{action}", ec2_arn(kind, "of-somebody-else"), context={}), action


def test_machines_roles_are_given_to_machines_alone() -> None:
    role = "arn:aws:iam::123456789012:role/sweepfleet/sweepfleet-dev-head"
    for service, may in (("ec2", True), ("lambda", False), ("cloudformation", False)):
        context = {"iam:PassedToService": f"{service}.amazonaws.com"}
        assert allows(POLICY, "iam:PassRole", role, context=context) == may, service


def test_the_boundary_can_be_looked_at() -> None:
    """`inv up` and `inv doctor` compare it with the one that this version needs."""
    for action in ("iam:GetPolicy", "iam:GetPolicyVersion"):
        assert allows(POLICY, action, "arn:aws:iam::123456789012:policy/sweepfleet-machines", context={})


def test_an_account_that_never_had_a_group_or_a_spot_instance_may_have_them() -> None:
    role = "arn:aws:iam::123456789012:role/aws-service-role/x"
    for service, may in (("autoscaling", True), ("spot", True), ("ssm", False)):
        context = {"iam:AWSServiceName": f"{service}.amazonaws.com"}
        assert allows(POLICY, "iam:CreateServiceLinkedRole", role, context=context) == may, service


def test_the_boundary_in_the_docs_is_the_one_of_the_code() -> None:
    """To take a change over: SWEEPFLEET_GOLDEN=1 uv run pytest tests/infra/test_operator_policy.py"""
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
