"""What no plan may do, whoever asks for it: checks over the plan's resources. Pure.

A value that is known only when the resource has been made is none that can be relied on, so it fails a check like a
wrong one. Every resource of the plan is looked at, also those that it leaves as they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepfleet.infra.checks import WIDEST_SSH
from sweepfleet.pipeline.findings import BY_HAND, Found, listed
from sweepfleet.pipeline.plan import UNKNOWN, Plan, Step
from sweepfleet.pipeline.policy_bucket import bucket_encryption, bucket_private, bucket_tls

VOLUME = "aws:ebs/volume:Volume"
BUCKETS = frozenset({"aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"})
MACHINES = frozenset(
    {
        "aws:ec2/instance:Instance",
        "aws:ec2/launchConfiguration:LaunchConfiguration",
        "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
    }
)
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
KNOWN_PACKAGES = frozenset({"aws", "pulumi", "sweepfleet"})  # `aws-native` and others have rules under other names
READS = frozenset({"read", "read-replacement", "read-discard"})  # of what is not the stack's own
WIDEST_IPV6 = 16  # all that is in use on the internet is 2000::/3; no organisation has more than a /16

OPEN = "no port is open to the world"
ENCRYPTED = "disks are encrypted"
TOKENS = "instance metadata needs a token"
KEPT = "data is not lost"
JUDGED = "the policy knows every provider"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a plan would do and may not."""

    type: str
    name: str  # of the resource
    rule: str
    seen: str
    remedy: str


def check(plan: Plan) -> list[Violation]:
    """Everything in the plan that is not allowed; each thing once."""
    found: dict[Violation, None] = {}
    for step in plan.steps:
        if step.op in READS:
            continue
        for judge in _judges(step.type):
            for rule, seen, remedy in judge(step):
                found[Violation(step.type, step.name, rule, seen, remedy)] = None
    return list(found)


def _judges(kind: str) -> Sequence[Callable[[Step], Found]]:
    if _package(kind) not in KNOWN_PACKAGES:
        return (_unjudged,)
    if kind in RULES:
        return (RULES[kind],)
    if kind in MACHINES:
        return (_machine,)
    if kind in BUCKETS:
        return (_kept,)
    return ()


def _package(kind: str) -> str:
    return kind.rpartition(":")[2] if kind.startswith("pulumi:providers:") else kind.partition(":")[0]


def _unjudged(step: Step) -> Found:
    if step.new is not None:
        remedy = "Use pulumi_aws, or add to src/sweepfleet/pipeline/policy.py what is safe in it"
        yield JUDGED, f"it is of the package {_package(step.type)}", remedy


# Ports


def _ingress_rule(step: Step) -> Found:
    if step.new is not None:
        yield from _sources(step.new.inputs, cidrs=("cidrIpv4", "cidrIpv6"), lists=("prefixListId",))


def _group(step: Step) -> Found:
    if step.new is not None:
        yield from _inline(step.new.inputs.get("ingress"))


def _group_rule(step: Step) -> Found:
    if step.new is not None and step.new.inputs.get("type") != "egress":
        yield from _sources(step.new.inputs, cidrs=("cidrBlocks", "ipv6CidrBlocks"), lists=("prefixListIds",))


def _inline(rules: Any) -> Found:
    if rules is None:
        return
    if not isinstance(rules, list):
        yield _open("its rules are not known before they are made")
        return
    for rule in rules:
        if not isinstance(rule, dict):
            yield _open("a rule is not known before it is made")
        else:
            yield from _sources(rule, cidrs=("cidrBlocks", "ipv6CidrBlocks"), lists=("prefixListIds",))


def _sources(rule: Mapping[str, Any], *, cidrs: Sequence[str], lists: Sequence[str]) -> Found:
    ports = _ports(rule)
    for cidr in _values(rule, cidrs):
        if (said := _too_wide(cidr)) is not None:
            yield _open(f"{ports} from {said}")
    for _ in _values(rule, lists):
        yield _open(f"{ports} from a prefix list, whose addresses are not in the plan")


def _values(rule: Mapping[str, Any], keys: Sequence[str]) -> Iterator[Any]:
    for key in keys:
        value = rule.get(key)
        yield from value if isinstance(value, list) else [] if value in (None, "") else [value]


def _too_wide(cidr: Any) -> str | None:
    """What is said of a network that is the world, or may be; None for one that is not."""
    try:
        network = ipaddress.ip_network(cidr if isinstance(cidr, str) else "", strict=False)
    except ValueError:
        return "an address that is not known before it is made"
    least = WIDEST_SSH if network.version == 4 else WIDEST_IPV6
    return str(cidr) if network.prefixlen < least else None


def _ports(rule: Mapping[str, Any]) -> str:
    first, last = rule.get("fromPort"), rule.get("toPort")
    protocol = str(rule.get("ipProtocol") or rule.get("protocol") or "")
    if protocol in {"-1", "all"} or first is None or last is None:
        return "every port" if protocol in {"-1", "all", ""} else f"every {protocol} port"
    return f"port {first}" if first == last else f"ports {first} to {last}"


def _open(seen: str) -> tuple[str, str, str]:
    widths = f"none wider than /{WIDEST_SSH} (IPv6: /{WIDEST_IPV6})"
    places = "sshCidrs in the settings, the firewall in the program"
    return OPEN, seen, f"List the networks that may connect, {widths}: {places}"


# Disks and machines


def _volume(step: Step) -> Found:
    if step.new is not None:
        yield from _encrypted(step.new.inputs, "it")
    yield from _kept(step)


def _machine(step: Step) -> Found:
    if step.new is None:
        return
    inputs = step.new.inputs
    root = inputs.get("rootBlockDevice")
    yield from _encrypted(root if isinstance(root, dict) else {}, "its root disk")
    for disk in listed(inputs.get("ebsBlockDevices")):
        yield from _encrypted(disk, "a further disk of it")
    yield from _tokens(inputs)


def _template(step: Step) -> Found:
    if step.new is None:
        return
    disks = [
        disk.get("ebs", {})
        for disk in listed(step.new.inputs.get("blockDeviceMappings"))
        if not _is_set(disk.get("noDevice")) and not (_is_set(disk.get("virtualName")) and "ebs" not in disk)
    ]
    for disk in disks or [{}]:
        yield from _encrypted(disk if isinstance(disk, dict) else {}, "the disk of its instances")
    yield from _tokens(step.new.inputs)


def _is_set(value: Any) -> bool:
    return value not in (None, "", False, UNKNOWN)


def _encrypted(block: Mapping[str, Any], what: str) -> Found:
    value = block.get("encrypted")
    if value is True or value == "true":
        return
    seen = f"{what} is not encrypted" if value in (False, "false") else f"nothing says that {what} is encrypted"
    yield ENCRYPTED, seen, "Set encrypted=True, as a fixed value"


def _tokens(inputs: Mapping[str, Any]) -> Found:
    options = inputs.get("metadataOptions")
    value = options.get("httpTokens") if isinstance(options, dict) else None
    if value != "required":
        seen = "httpTokens is optional" if value == "optional" else "nothing says that httpTokens is required"
        yield (
            TOKENS,
            seen,
            "Set http_tokens to HTTP_TOKENS of sweepfleet.infra.machine_options in its metadata options",
        )


# The bucket, and what is not to be lost


def _kept(step: Step) -> Found:
    what = "volume" if step.type == VOLUME else "bucket"
    if step.op == "delete":
        yield KEPT, f"the {what} would be deleted", BY_HAND
    elif step.goes:
        why = f", since {', '.join(step.changed)} changes" if step.changed else ""
        yield KEPT, f"the {what} would be replaced by an empty one{why}", BY_HAND
    elif step.new is not None and not step.new.protect:
        yield KEPT, f"the {what} is not protected", "Set protect=True in its ResourceOptions"


RULES: dict[str, Callable[[Step], Found]] = {
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ingress_rule,
    "aws:ec2/securityGroup:SecurityGroup": _group,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _group,
    "aws:ec2/securityGroupRule:SecurityGroupRule": _group_rule,
    VOLUME: _volume,
    TEMPLATE: _template,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": bucket_encryption,
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2": bucket_encryption,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": bucket_private,
    "aws:s3/bucketPolicy:BucketPolicy": bucket_tls,
}
