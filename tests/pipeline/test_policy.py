"""What no plan may do: each violation planted in a plan is caught, and what is next to it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from sweepfleet.infra.policies import bucket_policy
from sweepfleet.pipeline.plan import parse
from sweepfleet.pipeline.policy import ENCRYPTED, JUDGED, KEPT, OPEN, TOKENS, Violation, check
from sweepfleet.pipeline.policy_bucket import BUCKET_ENCRYPTED, BUCKET_PRIVATE, BUCKET_TLS
from tests.plans import UNKNOWN, preview, step

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
VOLUME = "aws:ebs/volume:Volume"
INSTANCE = "aws:ec2/instance:Instance"
CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
BUCKET = "aws:s3/bucket:Bucket"
SSE = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"


def judged(*steps: Mapping[str, Any]) -> list[Violation]:
    return check(parse(preview(*steps)))


def made(kind: str, inputs: Mapping[str, Any]) -> list[Violation]:
    """What is said of a new resource, and of the same when it is there already and stays: the same."""
    new = judged(step("create", kind, new=inputs))
    assert judged(step("same", kind, old=inputs, new=inputs)) == new
    return new


def rules(found: list[Violation]) -> list[str]:
    return [one.rule for one in found]


SSH = {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22}
INLINE = {"protocol": "tcp", "fromPort": 22, "toPort": 22}


@pytest.mark.parametrize(
    "cidr",
    ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "64.0.0.0/7", "2000::/3", "0.0.0.0/00", UNKNOWN, "[secret]", 7],
)
def test_a_port_open_to_the_world_is_caught_wherever_a_rule_may_stand(cidr: Any) -> None:
    """And so is half of the world, and an address that nobody knows yet."""
    assert rules(made(INGRESS, SSH | {"cidrIpv4": cidr})) == [OPEN]
    assert rules(made(INGRESS, SSH | {"cidrIpv6": cidr})) == [OPEN]
    for kind in (GROUP, DEFAULT_GROUP):
        assert rules(made(kind, {"ingress": [INLINE | {"cidrBlocks": ["10.0.0.0/16", cidr]}]})) == [OPEN]
        assert rules(made(kind, {"ingress": [INLINE | {"ipv6CidrBlocks": [cidr]}]})) == [OPEN]
    assert rules(made(GROUP_RULE, INLINE | {"type": "ingress", "cidrBlocks": [cidr]})) == [OPEN]
    assert rules(made(GROUP_RULE, INLINE | {"type": "ingress", "ipv6CidrBlocks": [cidr]})) == [OPEN]


def test_rules_that_nobody_knows_before_they_are_made_are_open() -> None:
    assert rules(made(GROUP, {"ingress": UNKNOWN})) == [OPEN]
    assert rules(made(GROUP, {"ingress": [UNKNOWN]})) == [OPEN]
    assert rules(made(GROUP, {"ingress": [INLINE | {"cidrBlocks": UNKNOWN}]})) == [OPEN]
    assert rules(made(GROUP_RULE, INLINE | {"type": UNKNOWN, "cidrBlocks": ["0.0.0.0/0"]})) == [OPEN]
    assert rules(made(INGRESS, SSH | {"prefixListId": "pl-1"})) == [OPEN], "its addresses are elsewhere"


def test_a_rule_for_a_network_or_another_group_is_none() -> None:
    """Nor is a way out to the world."""
    assert made(INGRESS, SSH | {"cidrIpv4": "203.0.113.7/32"}) == []
    assert made(INGRESS, SSH | {"cidrIpv4": "10.0.0.0/8", "cidrIpv6": "2a00::/16"}) == []
    assert made(INGRESS, SSH | {"referencedSecurityGroupId": UNKNOWN}) == []
    assert made(GROUP, {"ingress": [INLINE | {"cidrBlocks": [], "self": True}]}) == []
    assert made(GROUP, {"description": "no rules"}) == []
    assert made(GROUP, {"egress": [INLINE | {"cidrBlocks": ["0.0.0.0/0"]}]}) == []
    assert made(GROUP_RULE, INLINE | {"type": "egress", "cidrBlocks": ["0.0.0.0/0"]}) == []
    assert made(EGRESS, SSH | {"cidrIpv4": "0.0.0.0/0"}) == []


def test_a_rule_that_goes_is_no_rule() -> None:
    assert judged(step("delete", INGRESS, old=SSH | {"cidrIpv4": "0.0.0.0/0"})) == []


def test_what_is_open_is_named_with_its_port_and_a_remedy() -> None:
    (one,) = made(INGRESS, SSH | {"cidrIpv4": "0.0.0.0/0"})
    assert (one.name, one.seen) == ("it", "port 22 from 0.0.0.0/0")
    assert "sshCidrs" in one.remedy
    (one,) = made(INGRESS, {"ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"})
    assert one.seen == "every port from 0.0.0.0/0"
    (one,) = made(GROUP, {"ingress": [{"protocol": "tcp", "fromPort": 1, "toPort": 9, "cidrBlocks": ["::/0"]}]})
    assert one.seen == "ports 1 to 9 from ::/0"


OFF = [False, "false", None, UNKNOWN, "[secret]", 1, "yes"]
TOKEN = {"metadataOptions": {"httpTokens": "required"}}
SAFE = {"encrypted": True}


@pytest.mark.parametrize("value", OFF)
def test_a_disk_that_is_not_surely_encrypted_is_caught(value: Any) -> None:
    off = {"encrypted": value}
    assert rules(made(VOLUME, off)) == [ENCRYPTED]
    for kind in (INSTANCE, CONFIGURATION):
        assert rules(made(kind, TOKEN | {"rootBlockDevice": off})) == [ENCRYPTED]
        assert rules(made(kind, TOKEN | {"rootBlockDevice": SAFE, "ebsBlockDevices": [SAFE, off]})) == [ENCRYPTED]
    mapped = [{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true"}}, {"deviceName": "/dev/xvdb", "ebs": off}]
    assert rules(made(TEMPLATE, TOKEN | {"blockDeviceMappings": mapped})) == [ENCRYPTED]


def test_a_machine_that_takes_the_images_disks_as_they_are_is_caught() -> None:
    assert rules(made(VOLUME, {"size": 3})) == [ENCRYPTED]
    assert rules(made(INSTANCE, TOKEN)) == [ENCRYPTED]
    assert rules(made(INSTANCE, TOKEN | {"rootBlockDevice": UNKNOWN})) == [ENCRYPTED]
    assert rules(made(INSTANCE, TOKEN | {"rootBlockDevice": SAFE, "ebsBlockDevices": UNKNOWN})) == [ENCRYPTED]
    assert rules(made(TEMPLATE, TOKEN)) == [ENCRYPTED]
    assert rules(made(TEMPLATE, TOKEN | {"blockDeviceMappings": UNKNOWN})) == [ENCRYPTED]
    assert rules(made(TEMPLATE, TOKEN | {"blockDeviceMappings": [{"ebs": UNKNOWN}]})) == [ENCRYPTED]


def test_encrypted_disks_are_fine() -> None:
    """In launch templates AWS has the value as a text; a disk of the machine's own, or none, has nothing to say."""
    assert made(VOLUME, SAFE) == []
    assert made(INSTANCE, TOKEN | {"rootBlockDevice": SAFE, "ebsBlockDevices": [SAFE]}) == []
    mapped = [
        {"ebs": {"encrypted": "true"}},
        {"deviceName": "/dev/sdb", "virtualName": "ephemeral0"},
        {"deviceName": "/dev/sdc", "noDevice": "true"},
    ]
    assert made(TEMPLATE, TOKEN | {"blockDeviceMappings": mapped}) == []


@pytest.mark.parametrize("options", [{"httpTokens": "optional"}, {"httpTokens": UNKNOWN}, {}, UNKNOWN, None])
def test_a_machine_whose_metadata_needs_no_token_is_caught(options: Any) -> None:
    loose = {"metadataOptions": options}
    assert rules(made(INSTANCE, loose | {"rootBlockDevice": SAFE})) == [TOKENS]
    assert rules(made(TEMPLATE, loose | {"blockDeviceMappings": [{"ebs": SAFE}]})) == [TOKENS]


@pytest.mark.parametrize(("kind", "inputs", "what"), [(VOLUME, SAFE, "volume"), (BUCKET, {}, "bucket")])
def test_data_that_would_be_lost_is_caught(kind: str, inputs: Mapping[str, Any], what: str) -> None:
    (one,) = judged(step("delete", kind, old=inputs))
    assert (one.rule, one.seen) == (KEPT, f"the {what} would be deleted")
    assert "laptop" in one.remedy
    replaced = (
        step("create-replacement", kind, old=inputs, new=inputs, changed=["availabilityZone"]),
        step("replace", kind, old=inputs, new=inputs, changed=["availabilityZone"]),
        step("delete-replaced", kind, old=inputs),
    )
    (one,) = judged(*replaced)
    assert one.seen == f"the {what} would be replaced by an empty one, since availabilityZone changes"
    (one,) = judged(step("same", kind, old=inputs, new=inputs, protect=False))
    assert one.seen == f"the {what} is not protected"


@pytest.mark.parametrize(("kind", "inputs"), [(VOLUME, SAFE), (BUCKET, {})])
def test_data_that_stays_is_fine_also_when_it_grows(kind: str, inputs: Mapping[str, Any]) -> None:
    assert made(kind, inputs) == []
    assert judged(step("update", kind, old=inputs, new={**inputs, "size": 80}, was=False, changed=["size"])) == []
    assert judged(step("read", kind, new=inputs, protect=False)) == [], "it is not the stack's own"


def encryption(algorithm: Any) -> dict[str, Any]:
    return {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm}}]}


def test_a_bucket_whose_encryption_goes_or_gets_weaker_is_caught() -> None:
    assert rules(judged(step("delete", SSE, old=encryption("AES256")))) == [BUCKET_ENCRYPTED]
    for loose in (encryption(UNKNOWN), encryption(None), {"rules": []}, {"rules": UNKNOWN}, {}, {"rules": [{}]}):
        assert rules(made(SSE, loose)) == [BUCKET_ENCRYPTED]
    weaker = judged(step("update", SSE, old=encryption("aws:kms"), new=encryption("AES256")))
    assert rules(weaker) == [BUCKET_ENCRYPTED]


def test_a_bucket_that_is_encrypted_or_gets_a_stronger_way_is_fine() -> None:
    assert made(SSE, encryption("AES256")) == []
    assert judged(step("update", SSE, old=encryption("AES256"), new=encryption("aws:kms"))) == []
    replaced = step("delete-replaced", SSE, old=encryption("AES256"))
    assert judged(step("replace", SSE, old=encryption("AES256"), new=encryption("AES256")), replaced) == []


FOUR = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("value", [False, None, UNKNOWN, "true"])
def test_a_bucket_that_may_become_public_is_caught(name: str, value: Any) -> None:
    assert rules(made(BLOCK, FOUR | {name: value})) == [BUCKET_PRIVATE]


def test_a_public_access_block_that_goes_is_caught_and_a_whole_one_is_fine() -> None:
    assert rules(judged(step("delete", BLOCK, old=FOUR))) == [BUCKET_PRIVATE]
    assert made(BLOCK, FOUR) == []


TLS = bucket_policy(bucket_arn="arn:aws:s3:::b")
DENY = json.loads(TLS)["Statement"][0]


def with_statement(**changes: Any) -> str:
    return json.dumps({"Statement": [{**DENY, **changes}]})


@pytest.mark.parametrize(
    "policy",
    [
        json.dumps({"Statement": []}),
        json.dumps({}),
        "no JSON",
        None,
        "[secret]",
        with_statement(Effect="Allow"),
        with_statement(Principal={"AWS": "arn:aws:iam::1:root"}),
        with_statement(Action="s3:PutObject"),
        with_statement(Resource="arn:aws:s3:::b/*"),
        with_statement(Resource=["arn:aws:s3:::b"]),
        with_statement(Condition={"Bool": {"aws:SecureTransport": "true"}}),
        with_statement(Condition={}),
        with_statement(Condition=DENY["Condition"] | {"StringEquals": {"aws:PrincipalTag/x": "y"}}),
        with_statement(Condition={"Bool": {"aws:SecureTransport": "false", "aws:MultiFactorAuthPresent": "false"}}),
    ],
)
def test_a_bucket_that_can_be_reached_without_tls_is_caught(policy: Any) -> None:
    assert rules(made(POLICY, {"policy": policy})) == [BUCKET_TLS]
    assert rules(judged(step("update", POLICY, old={"policy": TLS}, new={"policy": policy}))) == [BUCKET_TLS]


def test_a_policy_that_goes_or_that_nobody_knows_is_caught() -> None:
    assert rules(judged(step("delete", POLICY, old={"policy": TLS}))) == [BUCKET_TLS]
    assert rules(judged(step("update", POLICY, old={"policy": TLS}, new={"policy": UNKNOWN}))) == [BUCKET_TLS]


def test_a_policy_with_the_statement_and_others_is_fine() -> None:
    """So is a new stack's, which names a bucket that is made with it."""
    assert made(POLICY, {"policy": TLS}) == []
    more = json.dumps({"Statement": [{"Effect": "Allow"}, DENY]})
    assert judged(step("update", POLICY, old={"policy": TLS}, new={"policy": more})) == []
    assert made(POLICY, {"policy": json.dumps({"Statement": DENY})}) == []
    assert judged(step("create", POLICY, new={"policy": UNKNOWN})) == []


def test_a_provider_that_the_policy_does_not_know_is_caught() -> None:
    """It may have rules and disks under names of its own."""
    native = judged(step("create", "aws-native:ec2:SecurityGroup", new={}))
    assert rules(native) == [JUDGED]
    assert rules(judged(step("create", "pulumi:providers:aws-native", new={}))) == [JUDGED]
    assert judged(step("delete", "aws-native:ec2:SecurityGroup", old={})) == []
    for known in ("pulumi:providers:aws", "pulumi:pulumi:Stack", "sweepfleet:infra:Head", "aws:ec2/vpc:Vpc"):
        assert judged(step("create", known, new={})) == []


def test_everything_is_said_at_once() -> None:
    found = judged(
        step("create", INGRESS, name="a", new=SSH | {"cidrIpv4": "0.0.0.0/0", "cidrIpv6": "::/0"}),
        step("update", VOLUME, name="b", old=SAFE, new={"encrypted": False}, protect=False),
    )
    assert [(one.name, one.rule) for one in found] == [("a", OPEN), ("a", OPEN), ("b", ENCRYPTED), ("b", KEPT)]
