"""Neither an operator nor the pipeline comes to more rights than its policy says: `tests.attack` tries everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sweepfleet.account.policies import deploy_policy, operator_statements, preview_policy
from sweepfleet.infra.policies import machines_boundary
from tests import attack
from tests.attack import ADMIN, BOUNDARY, EVERYTHING, FOREIGN, KEY, MACHINE, NEW, PIPELINES_BOUNDARY, STATE, reach

OPERATOR = json.dumps({"Statement": operator_statements()})
DEPLOY = deploy_policy(operator_statements(), state_arn=STATE, key_arn=KEY, boundary_arn=PIPELINES_BOUNDARY)
PREVIEW = preview_policy(operator_statements(), state_arn=STATE, key_arn=KEY)


@pytest.mark.parametrize(
    ("policy", "machines"),
    [
        (OPERATOR, {MACHINE, f"{NEW} in {BOUNDARY}"}),
        (DEPLOY, {MACHINE, f"{NEW} in {PIPELINES_BOUNDARY}"}),
        (PREVIEW, set()),
    ],
    ids=["operator", "deploy", "preview"],
)
def test_nobody_comes_to_more_than_machines_roles_inside_their_boundary(policy: str, machines: set[str]) -> None:
    """No role of others, no policy, not the pipeline's own state, and not everything."""
    reached = reach(policy, boundary=machines_boundary())
    assert set(reached.roles) == {"attacker"} | machines, reached.how
    assert (reached.rewritten, reached.things, reached.others) == (set(), set(), set()), reached.how
    for action in ("iam:CreateUser", "organizations:LeaveOrganization", "lambda:CreateFunction", "kms:PutKeyPolicy"):
        assert not reached.may(action, "*", {})


Statements = list[dict[str, Any]]


def named(statements: Statements, sid: str) -> dict[str, Any]:
    (found,) = (one for one in statements if one["Sid"] == sid)
    return found


def without(sid: str) -> Callable[[Statements], None]:
    return lambda statements: statements.remove(named(statements, sid))


def allowing(action: str, resource: str) -> Callable[[Statements], None]:
    added = {"Sid": "Added", "Effect": "Allow", "Action": [action], "Resource": [resource]}
    return lambda statements: statements.append(added)


def over(sid: str, resource: str) -> Callable[[Statements], None]:
    return lambda statements: named(statements, sid).update(Resource=[resource])


def without_condition(sid: str) -> Callable[[Statements], None]:
    return lambda statements: named(statements, sid).pop("Condition")


@pytest.mark.parametrize(
    ("weaken", "gain"),
    [
        (without_condition("MachinesRolesInTheirBoundary"), f"{NEW} in None"),
        (allowing("iam:DeleteRolePermissionsBoundary", "*"), f"{MACHINE} in None"),
        (
            allowing("iam:PutRolePermissionsBoundary", "*"),
            f"{MACHINE} in {attack.ALL_RIGHTS}",
        ),
        (allowing("iam:AttachRolePolicy", "*"), ADMIN),
        (allowing("iam:CreatePolicyVersion", "*"), BOUNDARY),
        (allowing("iam:SetDefaultPolicyVersion", "arn:aws:iam::*:policy/sweepfleet-*"), BOUNDARY),
        (over("MachinesRoles", "arn:aws:iam::*:role/sweepfleet*"), FOREIGN),
        (over("GiveMachinesTheirRoles", "arn:aws:iam::*:role/sweepfleet*"), FOREIGN),
        (without("NoMachineOfOthers"), ADMIN),
        (without("NoTagThatMakesThemOurs"), ADMIN),
        (without("NoGroupOfTemplatesThatChange"), ADMIN),
        (without("NoGroupOfLaunchConfigurations"), ADMIN),
        (over("Bucket", "arn:aws:s3:::*"), f"s3:Put* {STATE}"),
        (allowing("sts:AssumeRole", "*"), ADMIN),
        (allowing("kms:CreateGrant", "*"), f"kms:CreateGrant {KEY}"),
        (allowing("lambda:UpdateFunctionCode", "*"), f"lambda:UpdateFunctionCode {attack.FUNCTION}"),
        (allowing("ssm:SendCommand", "*"), f"ssm:SendCommand {attack.ec2_arn('instance', 'theirs')}"),
    ],
)
def test_the_search_finds_what_a_weaker_policy_would_give(weaken: Callable[[Statements], None], gain: str) -> None:
    statements = operator_statements()
    weaken(statements)
    assert gain in reach(json.dumps({"Statement": statements}), boundary=machines_boundary()).how


@pytest.mark.parametrize("action", attack.GAINS)
def test_each_action_that_is_a_gain_is_found_to_be_one(action: str) -> None:
    """Or the search would pass over it, whatever the policies say."""
    alone = json.dumps({"Statement": [{"Effect": "Allow", "Action": [action], "Resource": ["*"]}]})
    assert action in reach(alone, boundary=machines_boundary()).how.values()


def test_what_is_reached_last_is_used_for_all_that_was_tried_before() -> None:
    """Code on another's machine, and with its role the policies."""
    statement = {"Effect": "Allow", "Action": ["ec2:ModifyInstanceAttribute"], "Resource": ["*"]}
    assert BOUNDARY in reach(json.dumps({"Statement": [statement]}), boundary=machines_boundary()).rewritten


def test_the_search_finds_what_a_wider_boundary_would_give() -> None:
    """A machine's role with all rights inside a boundary of all rights has all rights."""
    reached = reach(OPERATOR, boundary=EVERYTHING)
    assert reached.may("iam:CreateUser", "*", {})
    assert ADMIN in reached.roles


def test_an_action_whose_gain_nobody_knows_is_an_error() -> None:
    statements = operator_statements()
    allowing("cloudformation:CreateStack", "*")(statements)
    with pytest.raises(ValueError, match="cloudformation:CreateStack"):
        reach(json.dumps({"Statement": statements}), boundary=machines_boundary())
