"""A night's look at whether a stack is still what its program says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.pulumi_state import Resource
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.pipeline.plan import Plan, parse
from sweepfleet.pipeline.stack import settled

GROUP = "aws:ec2/securityGroup:SecurityGroup"
RULES = frozenset(
    {
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    }
)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A rule of one of the stack's security groups that the stack's state does not have."""

    group: str  # ids
    rule: str
    opens: str  # what it lets through, for a person
    command: str  # that takes it away


@dataclass(frozen=True, slots=True)
class Drift:
    """In what a stack differs from its program."""

    plan: Plan  # what an update would do about it
    strangers: tuple[Stranger, ...]

    def __bool__(self) -> bool:
        return bool(self.plan.changes or self.strangers)


def drift(stack: Stack) -> Drift:
    """What has become of the stack; false when all is as it should be. Changes nothing.

    Pulumi sees what it has made, changed or gone. A rule that somebody adds to a security group is none of that, and
    opens it all the same, so rules are looked at beside it.

    Raises:
        UsageError: there is no such stack, or its settings cannot be used.
        ClusterError: Pulumi or AWS cannot tell.
    """
    settled(stack)
    said, nothing = stack.pulumi.drift(stack.full_name)
    plan = parse(said)
    if not nothing and not plan.changes:
        raise ClusterError(f"`pulumi preview --refresh` failed: {' '.join(plan.errors) or said.strip()[:500]}")
    cloud = stacks.cloud_of(stack.pulumi.config(stack.full_name))
    return Drift(plan, tuple(strangers(cloud, stack.pulumi.resources(stack.full_name))))


def strangers(cloud: Cloud, resources: list[Resource]) -> Iterator[Stranger]:
    """The rules in the stack's security groups that are not in its state.

    Raises:
        ClusterError: AWS refuses.
    """
    groups = sorted(one.id for one in resources if one.type == GROUP)
    known = {one.id for one in resources if one.type in RULES}
    if not groups:
        return
    with asking_aws("look at the rules of security groups"):
        pages = cloud.client("ec2").get_paginator("describe_security_group_rules")
        found = [
            rule
            for page in pages.paginate(Filters=[{"Name": "group-id", "Values": groups}])
            for rule in page["SecurityGroupRules"]
        ]
    for rule in sorted(found, key=lambda rule: (rule["GroupId"], rule["SecurityGroupRuleId"])):
        if rule["SecurityGroupRuleId"] not in known:
            yield _stranger(rule, cloud.region)


def _stranger(rule: Mapping[str, Any], region: str) -> Stranger:
    way = "egress" if rule["IsEgress"] else "ingress"
    peer = (
        rule.get("CidrIpv4")
        or rule.get("CidrIpv6")
        or rule.get("PrefixListId")
        or rule.get("ReferencedGroupInfo", {}).get("GroupId", "")
    )
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    ports = "every port" if first == -1 else f"port {first}" if first == last else f"ports {first} to {last}"
    return Stranger(
        group=rule["GroupId"],
        rule=rule["SecurityGroupRuleId"],
        opens=f"{ports} {'to' if rule['IsEgress'] else 'from'} {peer}",
        command=(
            f"aws ec2 revoke-security-group-{way} --region {region} --group-id {rule['GroupId']} "
            f"--security-group-rule-ids {rule['SecurityGroupRuleId']}"
        ),
    )
