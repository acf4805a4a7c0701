"""What somebody with a policy can make of it in an account: every action on every thing, until nothing is new.

The account has a cluster, and what others have: an administrator's role, a person's role with a name that begins as a
cluster's does, their machine, launch template, profile, group, bucket, function and key. `reach` starts with one
principal's policy and adds what that can take over: a role whose code it can run or whose rights it can change, a
policy that it can rewrite. It knows no order and no cleverness: it tries all.

Each action of a policy is in `GAINS`, with what it gives to whoever may use it, or in `NOTHING`; one that is in
neither is an error, so that whoever gives the operator a new action has to think of what can be made of it.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.cloud.aws import ACCOUNT
from tests.iam import allows
from tests.iam_requests import STACK, ec2_arn

EVERYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]})
IAM = f"arn:aws:iam::{ACCOUNT}"
BOUNDARY = f"{IAM}:policy/sweepfleet-machines"
PIPELINES_BOUNDARY = f"{IAM}:policy/pipeline-main-machines"
FOREIGN = f"{IAM}:role/sweepfleet-admin"  # a person's, with the name of a cluster's
ADMIN = f"{IAM}:role/admin"
MACHINE = f"{IAM}:role/sweepfleet/sweepfleet-dev-head"
NEW = f"{IAM}:role/sweepfleet/new"  # what the attacker may make, at any path
NEW_ELSEWHERE = f"{IAM}:role/sweepfleet-new"
PIPELINE = f"{IAM}:role/pipeline-main-deploy"
ROLES = (ADMIN, FOREIGN, PIPELINE)
POLICIES = (BOUNDARY, PIPELINES_BOUNDARY, f"{IAM}:policy/sweepfleet-operator", f"{IAM}:policy/admin")
ALL_RIGHTS = "arn:aws:iam::aws:policy/AdministratorAccess"
BOUNDS = (None, BOUNDARY, PIPELINES_BOUNDARY, ALL_RIGHTS, f"{IAM}:policy/admin")
OURS, THEIRS = {STACK: "dev"}, dict[str, str]()  # a thing's tags
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/pipeline"
STATE = "arn:aws:s3:::pipeline-main-0a1b"
FUNCTION = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:theirs"


@dataclass
class Reached:
    """What an attacker has come to: principals by name with the policy and the boundary that each has."""

    roles: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)  # policies of the account
    things: set[str] = field(default_factory=set)  # of others: machines and templates with the cluster's tag now
    others: set[str] = field(default_factory=set)  # what should be nobody's: the key, the state's bucket
    how: dict[str, str] = field(default_factory=dict)

    def may(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Whether one of the principals may do this."""
        always = {"aws:PrincipalAccount": ACCOUNT}
        return any(
            allows(policy, action, resource, userid="AROA:i-1", context=always | dict(context), boundary=boundary)
            for policy, boundary in self.roles.values()
        )


def reach(policy: str, *, boundary: str) -> Reached:
    """Everything that a principal with this policy comes to; `boundary` is the text of the machines' boundaries.

    Raises:
        ValueError: the policy has an action of which this does not know what it gives.
    """
    known = {*GAINS, *NOTHING}
    unknown = [one for one in _actions(policy) if not any(fnmatch.fnmatchcase(one, pattern) for pattern in known)]
    if unknown:
        raise ValueError(f"what do these give? {unknown}")
    reached = Reached({"attacker": (policy, None)})
    texts = dict.fromkeys((BOUNDARY, PIPELINES_BOUNDARY), boundary)
    while True:
        before = json.dumps([sorted(map(str, part)) for part in vars(reached).values()])
        for action, gain in GAINS.items():
            for said in gain(reached, action, texts):
                reached.how.setdefault(said, action)
        if json.dumps([sorted(map(str, part)) for part in vars(reached).values()]) == before:
            return reached


def _actions(policy: str) -> Iterator[str]:
    for statement in json.loads(policy)["Statement"]:
        if statement["Effect"] == "Allow":
            yield from statement["Action"]


Gain = Callable[[Reached, str, Mapping[str, str]], Iterator[str]]


def _bounded(bound: str | None, texts: Mapping[str, str]) -> str | None:
    """What a role with that boundary keeps to, when its policy allows all."""
    return texts.get(bound or "")


def _own_role(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """A new role, with a trust and a policy of the attacker's; it is his once he may also give it rights."""
    for role, bound in itertools.product((NEW, NEW_ELSEWHERE), BOUNDS):
        context = {"iam:PermissionsBoundary": bound} if bound else {}
        if reached.may("iam:CreateRole", role, context) and reached.may(action, role, context):
            reached.roles[f"{role} in {bound}"] = (EVERYTHING, _bounded(bound, texts))
            yield f"{role} in {bound}"


def _rights(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """More rights for a role that is there; each of the machines' has its boundary, others' have none."""
    for role, bound in [*((role, None) for role in ROLES), (MACHINE, BOUNDARY)]:
        if reached.may(action, role, {"iam:PermissionsBoundary": bound} if bound else {}):
            reached.roles[role] = (EVERYTHING, _bounded(bound, texts))
            yield role
    yield from _own_role(reached, action, texts)


def _unbound(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """A boundary that is another, or none; on roles that have one."""
    removes = action == "iam:DeleteRolePermissionsBoundary"
    for role, new in itertools.product((NEW, MACHINE), [None] if removes else BOUNDS):
        told = BOUNDARY if removes else new
        context = {"iam:PermissionsBoundary": told} if told else {}
        if reached.may(action, role, context) and new not in texts:
            reached.roles[f"{role} in {new}"] = (EVERYTHING, None)
            yield f"{role} in {new}"


def _trust(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Another's role, by being let in; the cluster's own machines' roles are no gain."""
    for role in ROLES:
        if reached.may(action, role, {}):
            reached.roles[role] = (EVERYTHING, None)
            yield role


def _pass(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Another's role, on a machine, function or stack of the attacker's own."""
    for role, service in itertools.product(ROLES, ("ec2", "lambda", "cloudformation", "s3", "ssm", "autoscaling")):
        if reached.may(action, role, {"iam:PassedToService": f"{service}.amazonaws.com"}):
            reached.roles[role] = (EVERYTHING, None)
            yield role


def _policy(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """A policy of the account, rewritten: what it was attached to, or bounded, has all rights."""
    for arn in POLICIES:
        if reached.may(action, arn, {}):
            reached.rewritten.add(arn)
            yield arn


def _code(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Code on another's machine, which has its role: its user data, or a disk of it."""
    for kind in ("instance", "launch-template"):
        thing = ec2_arn(kind, "theirs")
        if reached.may(action, thing, OURS if thing in reached.things else THEIRS):
            reached.roles[ADMIN] = (EVERYTHING, None)
            yield ADMIN


def _tag(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Another's machine or template with the cluster's tag."""
    for kind in ("instance", "launch-template"):
        thing = ec2_arn(kind, "theirs")
        if reached.may(action, thing, THEIRS):
            reached.things.add(thing)
            yield thing


def _group(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
    """A machine that AWS starts with AWS's own right to pass any role: nobody asks what the attacker may pass.

    When a group takes what is newest of a template, only the template of its making was looked at; and a launch
    configuration was looked at when another made it.
    """
    group = f"arn:aws:autoscaling:eu-west-1:{ACCOUNT}:autoScalingGroup:x:autoScalingGroupName/sweepfleet-new"
    for context in (
        {"autoscaling:LaunchTemplateVersionSpecified": "false"},
        {"autoscaling:LaunchConfigurationName": "theirs"},
    ):
        if reached.may(action, group, context):
            reached.roles[ADMIN] = (EVERYTHING, None)
            yield ADMIN


def _other(*resources: str) -> Gain:
    """What should be nobody's: its rules, or what is in it."""

    def gain(reached: Reached, action: str, texts: Mapping[str, str]) -> Iterator[str]:
        for resource in resources:
            if reached.may(action, resource, {}):
                reached.others.add(f"{action} {resource}")
                yield f"{action} {resource}"

    return gain


ACCOUNT_STATE = f"{STATE}/.pulumi/stacks/sweepfleet-account/main.json"
GAINS: dict[str, Gain] = {
    "iam:AttachRolePolicy": _rights,
    "iam:CreatePolicyVersion": _policy,
    "iam:CreateRole": _own_role,
    "iam:DeletePolicy": _policy,
    "iam:DeletePolicyVersion": _policy,
    "iam:DeleteRolePermissionsBoundary": _unbound,
    "iam:DeleteRolePolicy": _rights,  # a policy that denies
    "iam:DetachRolePolicy": _rights,
    "iam:PassRole": _pass,
    "iam:PutRolePermissionsBoundary": _unbound,
    "iam:PutRolePolicy": _rights,
    "iam:SetDefaultPolicyVersion": _policy,
    "iam:TagRole": _trust,  # rights that go by tags
    "iam:UntagRole": _trust,
    "iam:UpdateAssumeRolePolicy": _trust,
    "iam:DeleteRole": _trust,  # and make it again
    "sts:AssumeRole": _trust,
    "ec2:CreateTags": _tag,
    "ec2:AttachVolume": _code,
    "ec2:CreateLaunchTemplateVersion": _code,
    "ec2:DetachVolume": _code,
    "ec2:ModifyInstanceAttribute": _code,
    "ec2:ModifyLaunchTemplate": _code,
    "ec2:GetConsoleOutput": _code,  # secrets
    "ec2:ModifyInstanceMetadataOptions": _code,
    "autoscaling:CreateAutoScalingGroup": _group,
    "autoscaling:UpdateAutoScalingGroup": _group,
    "s3:Put*": _other(f"{STATE}", ACCOUNT_STATE),
    "s3:PutObject": _other(f"{STATE}", ACCOUNT_STATE),
    "s3:PutBucketPolicy": _other(STATE),
    "s3:TagResource": _other(STATE),  # rights that go by tags
    "s3:UntagResource": _other(STATE),
    "s3:Delete*": _other(STATE, ACCOUNT_STATE),
    "s3:DeleteObject": _other(STATE, ACCOUNT_STATE),
    "kms:Decrypt": _other(f"{KEY}-of-others"),
    **{f"kms:{one}": _other(KEY) for one in ("PutKeyPolicy", "CreateGrant", "ScheduleKeyDeletion", "DisableKey")},
    **{f"lambda:{one}": _other(FUNCTION) for one in ("UpdateFunctionCode", "AddPermission", "InvokeFunction")},
    **{f"ssm:{one}": _other(ec2_arn("instance", "theirs")) for one in ("SendCommand", "StartSession")},
}
# What gives nobody a right: it reads, or makes, changes and deletes parts of networks, of clusters and their buckets.
# What of it harms others all the same is in docs/security.md.
NOTHING = (
    *("autoscaling:Describe*", "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "iam:Get*", "iam:List*"),
    *("pricing:GetProducts", "servicequotas:GetServiceQuota", "sts:GetCallerIdentity", "ssm:GetParameter"),
    *("tag:GetResources", "s3:Get*", "s3:GetObject", "s3:List*", "s3:ListBucket", "s3:GetBucket*"),
    *("s3:CreateBucket", "s3:AbortMultipartUpload"),
    *(f"iam:{verb}InstanceProfile" for verb in ("Create", "Delete", "Tag", "Untag")),  # empty, or with a role passed
    *("iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile"),  # asks for iam:PassRole
    *("iam:UpdateRole", "iam:CreateServiceLinkedRole"),
    *(f"ec2:{verb}Address" for verb in ("Allocate", "Associate", "Disassociate", "Release")),
    *(f"ec2:{verb}RouteTable" for verb in ("Associate", "Create", "Delete", "Disassociate")),
    *(f"ec2:{verb}Route" for verb in ("Create", "Delete", "Replace")),
    *(f"ec2:{verb}InternetGateway" for verb in ("Attach", "Create", "Delete", "Detach")),
    *(f"ec2:{verb}SecurityGroup{way}" for verb in ("Authorize", "Revoke") for way in ("Egress", "Ingress")),
    *(f"ec2:UpdateSecurityGroupRuleDescriptions{way}" for way in ("Egress", "Ingress")),
    *("ec2:ModifySecurityGroupRules", "ec2:ReplaceRouteTableAssociation", "ec2:DetachNetworkInterface"),
    *(f"ec2:{verb}{thing}" for verb in ("Create", "Delete") for thing in ("NatGateway", "SecurityGroup", "Subnet")),
    *(f"ec2:{verb}{thing}" for verb in ("Create", "Delete", "Modify") for thing in ("Volume", "VpcEndpoint*", "Vpc")),
    "ec2:ModifyNetworkInterfaceAttribute",  # its groups, as the rules of groups
    *("ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute", "ec2:ImportKeyPair", "ec2:DeleteKeyPair"),
    *("ec2:CreateLaunchTemplate", "ec2:RunInstances", "ec2:ReplaceIamInstanceProfileAssociation"),  # iam:PassRole
    *("ec2:DeleteLaunchTemplate", "ec2:DeleteLaunchTemplateVersions", "ec2:DeleteTags"),
    *("ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances", "ec2:ModifyInstanceCreditSpecification"),
    *("autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup", "autoscaling:DeleteTags"),
    *("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
    *("autoscaling:PutScheduledUpdateGroupAction", "autoscaling:DeleteScheduledAction"),
    *("autoscaling:SuspendProcesses", "autoscaling:ResumeProcesses"),
)
