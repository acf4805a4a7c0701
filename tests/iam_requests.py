"""What is asked of AWS as IAM sees it: action, resource, and the context that the policies' conditions look at.

Where IAM knows more than the call says (a thing's tags, a role's boundary and path), the stand-in is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import botocore.client
import botocore.exceptions
import pytest

from tests.cloud.aws import ACCOUNT
from tests.iam_calls import ACTIONS, SERVICES, resource_of

STACK = "aws:ResourceTag/sweepfleet:stack"
KINDS = {"i": "instance", "lt": "launch-template"}  # EC2's ids, of what the policies tell apart
NAMES = ("InstanceId", "InstanceIds", "LaunchTemplateId", "Resources")  # arguments that name such a thing
Ask = Callable[..., dict[str, Any]]


class Request(NamedTuple):
    """One thing that IAM decides on."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...]


def record_requests(monkeypatch: pytest.MonkeyPatch) -> set[Request]:
    """The set that every call of boto3 from now on is added to, with what it needs beside its own action."""
    requests: set[Request] = set()
    call = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, operation: str, given: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        always = {"aws:PrincipalAccount": ACCOUNT}

        def ask(other: str, **arguments: Any) -> dict[str, Any]:
            return dict(call(self, other, arguments))

        for action, resource, context in _requests(service, operation, given, ask):
            requests.add(Request(action, resource, tuple(sorted((always | context).items()))))
        return call(self, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
    return requests


def _requests(
    service: str, operation: str, given: dict[str, Any], ask: Ask
) -> Iterator[tuple[str, str, dict[str, str]]]:
    action = f"{SERVICES.get(service, service)}:{ACTIONS.get(operation, operation)}"
    if service == "iam":
        yield from _iam(action, operation, given, ask)
    elif service == "ec2":
        yield from _ec2(action, operation, given, ask)
    elif operation in {"CreateAutoScalingGroup", "UpdateAutoScalingGroup"}:
        yield action, resource_of(service, given), _group(given)
    else:
        yield action, resource_of(service, given), {}


def _iam(action: str, operation: str, given: dict[str, Any], ask: Ask) -> Iterator[tuple[str, str, dict[str, str]]]:
    resource, bound = resource_of("iam", given), given.get("PermissionsBoundary")
    path = given.get("Path", "/")
    with contextlib.suppress(botocore.exceptions.ClientError):  # it is gone, and this call finds that out
        if operation == "CreateRole":
            resource = f"arn:aws:iam::{ACCOUNT}:role{path}{given['RoleName']}"
        elif operation == "CreateInstanceProfile":
            resource = f"arn:aws:iam::{ACCOUNT}:instance-profile{path}{given['InstanceProfileName']}"
        elif profile := given.get("InstanceProfileName"):
            resource = ask("GetInstanceProfile", InstanceProfileName=profile)["InstanceProfile"]["Arn"]
        elif name := given.get("RoleName"):
            role = ask("GetRole", RoleName=name)["Role"]
            resource = role["Arn"]
            bound = bound or role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    yield action, resource, {"iam:PermissionsBoundary": bound} if bound else {}
    if operation == "AddRoleToInstanceProfile":
        passed = ask("GetRole", RoleName=given["RoleName"])["Role"]["Arn"]
        yield "iam:PassRole", passed, {"iam:PassedToService": "ec2.amazonaws.com"}


def _ec2(action: str, operation: str, given: dict[str, Any], ask: Ask) -> Iterator[tuple[str, str, dict[str, str]]]:
    named = [given[name] for name in NAMES if name in given]
    ids = [id_ for one in named for id_ in ([one] if isinstance(one, str) else one)]
    if operation.startswith("Describe") or not ids:
        yield action, "*", {}
    for id_ in () if operation.startswith("Describe") else ids:
        tags = ask("DescribeTags", Filters=[{"Name": "resource-id", "Values": [id_]}])["Tags"]
        stack = [tag["Value"] for tag in tags if tag["Key"] == "sweepfleet:stack"]
        yield action, ec2_arn(KINDS.get(id_.partition("-")[0], "other"), id_), {STACK: stack[0]} if stack else {}
    for one in given.get("TagSpecifications", ()):
        yield "ec2:CreateTags", ec2_arn(one["ResourceType"], "new"), {"ec2:CreateAction": operation}


def ec2_arn(kind: str, id_: str) -> str:
    """The ARN of something of EC2's."""
    return f"arn:aws:ec2:eu-west-1:{ACCOUNT}:{kind}/{id_}"


def _group(given: dict[str, Any]) -> dict[str, str]:
    """What a group is started from; https://docs.aws.amazon.com/service-authorization/latest/reference/."""
    context = {}
    mixed = given.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    template = given.get("LaunchTemplate") or mixed
    if template:
        version = str(template.get("Version", "$Default"))
        context["autoscaling:LaunchTemplateVersionSpecified"] = str(version.isdigit()).lower()
    if "LaunchConfigurationName" in given:
        context["autoscaling:LaunchConfigurationName"] = given["LaunchConfigurationName"]
    return context
