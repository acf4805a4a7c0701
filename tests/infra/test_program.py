"""The Pulumi program, in process: everything it declares is really made in moto, and looked at there."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
import yaml

from sweepfleet.infra.cluster import Cluster, Setup
from sweepfleet.infra.durations import idle_stop_s, tag_value
from sweepfleet.infra.layout import IDLE_STOP_TAG, PATIENCE_TAG, BucketLayout
from sweepfleet.infra.outputs import NAMES, Outputs
from tests.cloud.inprocess import LEAST, declare, up
from tests.cloud.mocks import Mocks, Record
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows

OTHERWISE = {
    "sshCidrs": ["198.51.100.0/24", "203.0.113.7/32"],
    "owner": "ada@example.org",
    "vpcCidr": "172.20.0.0/20",
    "zones": ["eu-west-1b", "eu-west-1c"],
    "headInstanceType": "t4g.medium",
    "headCpuCredits": "unlimited",
    "headIdleStop": "never",
    "headAddress": "stays",
    "dataVolumeGb": 80,
    "workerInstanceTypes": ["c7g.large", "m7g.large"],
    "maxWorkers": 40,
    "spotPercent": 60,
    "onDemandBase": 2,
    "spotPatience": "never",
    "workerDiskGb": 60,
    "workerEgress": "nat",
    "budgetUsd": 7,
    "packageIndex": "https://pypi.example.org/simple",
}  # every setting but the image and the endpoint, which need a cloud to name


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server("eu-west-1") as moto:
        yield moto


def test_all_parts_in_one_line_are_those_that_the_program_lists(server: Moto) -> None:
    """A program of one's own may have the cluster whole."""
    found = []
    for program in (declare, lambda: Cluster.declare(Setup.read())):
        server.reset()
        mocks = Mocks(server.endpoint)
        outputs = up(mocks, program=program)
        found.append((mocks.components, [(record.type, record.name) for record in mocks.records], sorted(outputs)))
    listed, whole = ([sorted(each) for each in one] for one in found)
    assert listed == whole
    assert ("sweepfleet:infra:Head", "sweepfleet-dev") in listed[0]


class Made:
    """A stack that is up: what was recorded of it, its outputs, and AWS to look at."""

    def __init__(self, server: Moto, settings: dict[str, Any]) -> None:
        server.reset()
        self.server = server
        self.settings = settings
        self.mocks = Mocks(server.endpoint)
        self.values = up(self.mocks, settings)
        self.outputs = Outputs.from_json(json.dumps(self.values))
        self.ec2 = server.client("ec2")

    def of(self, *types: str) -> list[Record]:
        return [record for record in self.mocks.records if record.type in types]

    def one(self, token: str) -> Record:
        (found,) = self.of(token)
        return found

    @property
    def groups(self) -> list[Record]:
        return self.of("aws:autoscaling/group:Group")

    def user_data(self, which: str) -> str:
        if which == "head":
            return str(self.one("aws:ec2/instance:Instance").inputs["userData"])
        return base64.b64decode(self.one("aws:ec2/launchTemplate:LaunchTemplate").inputs["userData"]).decode()

    def policy(self, which: str) -> str:
        (found,) = (record for record in self.of("aws:iam/rolePolicy:RolePolicy") if f"-{which}-" in record.name)
        return str(found.inputs["policy"])


@pytest.fixture(scope="module", params=["defaults", "otherwise", "public"])
def made(server: Moto, request: pytest.FixtureRequest) -> Made:
    settings = {"defaults": {}, "otherwise": OTHERWISE, "public": {"workerEgress": "public"}}
    return Made(server, settings[request.param])


def rules(made: Made) -> list[dict[str, Any]]:
    """Every rule of every security group of the stack's network, as AWS has them."""
    groups = made.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [made.outputs.vpc_id]}])
    ids = [group["GroupId"] for group in groups["SecurityGroups"]]
    found = made.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": ids}])
    return list(found["SecurityGroupRules"])


def test_no_rule_admits_the_world_anywhere(made: Made) -> None:
    inward = [rule for rule in rules(made) if not rule["IsEgress"]]
    assert len(inward) >= 4
    for rule in inward:
        for cidr in filter(None, (rule.get("CidrIpv4"), rule.get("CidrIpv6"))):
            assert ipaddress.ip_network(cidr).prefixlen >= 8, rule
            assert (rule["FromPort"], rule["ToPort"]) == (22, 22), rule


def test_who_may_reach_whom_is_exactly_this(made: Made) -> None:
    """SSH from operators to the head, the scheduler for workers, workers for the head and each other; no more."""
    names = {one.id: one.name.rpartition("-")[2] for one in made.of("aws:ec2/securityGroup:SecurityGroup")}
    seen = set()
    for rule in rules(made):
        if rule["IsEgress"] or rule["GroupId"] not in names:
            continue
        peer = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        seen.add((names[rule["GroupId"]], rule["FromPort"], rule["ToPort"], names.get(peer, rule.get("CidrIpv4"))))
    ssh = {("head", 22, 22, cidr) for cidr in made.settings.get("sshCidrs", LEAST["sshCidrs"])}
    assert seen == ssh | {
        ("head", 8786, 8786, "workers"),
        ("workers", 22, 22, "head"),
        ("workers", 40000, 40127, "head"),
        ("workers", 40000, 40127, "workers"),
    }


def test_workers_reach_no_further_than_their_egress_says(made: Made) -> None:
    names = {one.id: one.name.rpartition("-")[2] for one in made.of("aws:ec2/securityGroup:SecurityGroup")}
    (group,) = (r for r in made.of("aws:ec2/securityGroup:SecurityGroup") if r.name.endswith("-workers"))
    out = [rule for rule in rules(made) if rule["IsEgress"] and rule["GroupId"] == group.id]
    (template,) = made.of("aws:ec2/launchTemplate:LaunchTemplate")
    public = template.inputs["networkInterfaces"][0]["associatePublicIpAddress"]
    ways_out = {record.name.removeprefix("sweepfleet-dev-") for record in made.of("aws:ec2/route:Route")}
    if made.outputs.worker_egress == "none":
        peers = [names.get(rule.get("ReferencedGroupInfo", {}).get("GroupId")) for rule in out]
        assert {
            (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], peer)
            for rule, peer in zip(out, peers, strict=True)
        } == {
            ("tcp", 8786, 8786, "head"),
            ("tcp", 40000, 40127, "workers"),
            ("tcp", 443, 443, None),  # the prefix list of S3
        }
        assert not any(rule.get("CidrIpv4") for rule in out)
        assert (public, ways_out) == ("false", {"head-out"})
    else:
        assert [rule["CidrIpv4"] for rule in out] == ["0.0.0.0/0"]
        assert ways_out == {"head-out", "workers-out"}
        assert public == ("true" if made.outputs.worker_egress == "public" else "false")
    assert bool(made.of("aws:ec2/natGateway:NatGateway")) == (made.outputs.worker_egress == "nat")
    subnets = made.of("aws:ec2/subnet:Subnet")
    assert [one.name for one in subnets if one.inputs["mapPublicIpOnLaunch"]] == ["sweepfleet-dev-head"]


def test_every_volume_is_encrypted(made: Made) -> None:
    head = made.one("aws:ec2/instance:Instance").inputs["rootBlockDevice"]
    data = made.one("aws:ebs/volume:Volume").inputs
    (worker,) = made.one("aws:ec2/launchTemplate:LaunchTemplate").inputs["blockDeviceMappings"]
    assert head["encrypted"] is True
    assert data["encrypted"] is True
    assert worker["ebs"]["encrypted"] == "true"
    (image,) = made.ec2.describe_images(ImageIds=[made.outputs.image_id])["Images"]
    assert worker["deviceName"] == image["RootDeviceName"]
    (volume,) = made.ec2.describe_volumes(VolumeIds=[made.outputs.data_volume_id])["Volumes"]
    assert volume["Encrypted"] is True
    assert volume["Size"] == made.outputs.data_volume_gb
    assert volume["Attachments"][0]["InstanceId"] == made.outputs.head_id


def test_every_machine_is_on_imdsv2_within_one_hop(made: Made) -> None:
    for record in made.of("aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"):
        assert record.inputs["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }


def test_no_private_key_and_no_secret_in_anything_that_is_recorded(made: Made) -> None:
    everything = json.dumps([[record.inputs, record.outputs] for record in made.mocks.records] + [made.values])
    everything += made.user_data("head") + made.user_data("worker")
    assert "PRIVATE KEY" not in everything
    assert "aws_secret" not in everything.lower()


def test_everything_that_takes_tags_says_whose_it_is(made: Made) -> None:
    """In AWS, not only in the program: also on what the group makes, and on the volumes of machines."""
    expected = {"sweepfleet:stack": "dev", "sweepfleet:owner": made.outputs.owner}
    taggable = [record for record in made.mocks.records if "tagsAll" in record.outputs]
    assert len(taggable) >= 25
    for record in taggable:
        assert expected.items() <= record.outputs["tagsAll"].items(), record.name
    template = made.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    assert {one["resourceType"] for one in template["tagSpecifications"]} == {
        "instance",
        "volume",
        "network-interface",
    }
    for one in template["tagSpecifications"]:
        assert expected.items() <= one["tags"].items()
    for group in made.groups:
        propagated = {one["key"]: one["value"] for one in group.inputs["tags"] if one["propagateAtLaunch"]}
        assert expected.items() <= propagated.items()
    assert expected.items() <= made.one("aws:ec2/instance:Instance").inputs["rootBlockDevice"]["tags"].items()


BUCKET = "arn:aws:s3:::"
ME, OTHER = "AROAME:i-1", "AROAME:i-2"


@pytest.mark.parametrize(
    ("action", "key", "may"),
    [
        ("s3:GetObject", "releases/current.json", True),
        ("s3:GetObject", "environments/abc.tar.gz", True),
        ("s3:GetObject", "tls/ca.pem", True),
        ("s3:GetObject", f"certificates/{ME}/cert.pem", True),
        ("s3:GetObject", f"certificates/{OTHER}/cert.pem", False),
        ("s3:GetObject", f"certificates/{ME}", False),
        ("s3:GetObject", f"hosts/{OTHER}/ssh_host_ed25519_key.pub", False),
        ("s3:GetObject", f"requests/{OTHER}/csr.pem", False),
        ("s3:GetObject", "runs/rates/ledger.sqlite", False),
        ("s3:PutObject", f"hosts/{ME}/ssh_host_ed25519_key.pub", True),
        ("s3:PutObject", f"requests/{ME}/csr.pem", True),
        ("s3:PutObject", f"hosts/{OTHER}/ssh_host_ed25519_key.pub", False),
        ("s3:PutObject", f"certificates/{ME}/cert.pem", False),
        ("s3:PutObject", "releases/current.json", False),
        ("s3:PutObject", "environments/abc.tar.gz", False),
        ("s3:PutObject", "tls/ca.pem", False),
        ("s3:PutObject", "runs/rates/artifacts/0123456789abcdef/plot.png", True),
        ("s3:PutObject", "runs/rates/ledger.sqlite", False),
        ("s3:PutObject", "checkpoints/rates/0123456789abcdef.tar", True),
        ("s3:GetObject", "checkpoints/rates/0123456789abcdef.tar", True),
        ("s3:DeleteObject", "checkpoints/rates/0123456789abcdef.tar", False),
        ("s3:PutObject", "inbox/letter.json", False),
        ("s3:PutObject", "outbox/letter.json", False),
        ("s3:GetObject", "inbox/letter.json", False),
        ("s3:DeleteObject", f"hosts/{ME}/ssh_host_ed25519_key.pub", False),
        ("s3:ListBucket", "", False),
    ],
)
def test_a_worker_reads_its_own_and_writes_under_its_own_name(
    made: Made, action: str, key: str, *, may: bool
) -> None:
    resource = f"{BUCKET}{made.outputs.bucket}" + (f"/{key}" if key else "")
    assert allows(made.policy("worker"), action, resource, userid=ME, context={}) is may


@pytest.mark.parametrize(
    ("prefix", "may"),
    [("checkpoints/", True), ("checkpoints/rates/", True), ("", False), ("runs/", False), ("checkpointsx/", False)],
)
def test_a_worker_lists_checkpoints_alone(made: Made, prefix: str, *, may: bool) -> None:
    resource = f"{BUCKET}{made.outputs.bucket}"
    assert allows(made.policy("worker"), "s3:ListBucket", resource, userid=ME, context={"s3:prefix": prefix}) is may


def test_a_worker_can_do_nothing_outside_the_bucket(made: Made) -> None:
    policy = made.policy("worker")
    for statement in json.loads(policy)["Statement"]:
        assert all(action.startswith("s3:") for action in statement["Action"])
        own = f"{BUCKET}{made.outputs.bucket}"
        assert all(one == own or one.startswith(f"{own}/") for one in statement["Resource"])
    assert not allows(
        policy, "s3:GetObject", f"{BUCKET}{made.outputs.bucket}-other/releases/x", userid=ME, context={}
    )


def test_the_head_changes_only_its_own_groups_and_bucket(made: Made) -> None:
    policy = made.policy("head")
    groups = made.server.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert len(groups) == 2
    for own in (group["AutoScalingGroupARN"] for group in groups):
        sizes = ("SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup", "DetachInstances")
        for action in (*sizes, "PutScheduledUpdateGroupAction"):
            assert allows(policy, f"autoscaling:{action}", own)
            assert not allows(policy, f"autoscaling:{action}", f"{own}-other")
    bucket = f"{BUCKET}{made.outputs.bucket}"
    assert allows(policy, "s3:PutObject", f"{bucket}/{BucketLayout().current}")
    assert allows(policy, "s3:GetObject", f"{bucket}/requests/{OTHER}/csr.pem")
    assert not allows(policy, "s3:PutObject", f"{bucket}/hosts/{OTHER}/ssh_host_ed25519_key.pub", userid=ME)
    assert allows(policy, "s3:PutObject", f"{bucket}/outbox/letter.json")
    assert not allows(policy, "s3:PutObject", f"{bucket}/inbox/letter.json")
    assert not allows(policy, "s3:PutObject", f"{bucket}-other/releases/x")
    assert not allows(policy, "s3:DeleteBucket", bucket)
    assert allows(policy, "s3:DeleteObject", f"{bucket}/checkpoints/rates/0123456789abcdef.tar")
    assert not allows(policy, "s3:DeleteObject", f"{bucket}/runs/rates/ledger.sqlite")
    part = f"{bucket}/stored/runs/rates/1/000000"
    assert allows(policy, "s3:PutObject", part)
    assert allows(policy, "s3:DeleteObject", part)
    assert allows(policy, "s3:PutObject", f"{bucket}/stored/head.json")
    assert not allows(policy, "s3:DeleteObject", f"{bucket}/stored/head.json")
    reading = ("Describe", "Get", "List")
    for statement in json.loads(policy)["Statement"]:
        if "*" in statement["Resource"]:
            assert all(action.partition(":")[2].startswith(reading) for action in statement["Action"])


def test_the_bucket_is_private_encrypted_versioned_and_kept(made: Made) -> None:
    s3, bucket = made.server.client("s3"), made.outputs.bucket
    closed = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert list(closed.values()) == [True] * 4
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (deny,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    expiring = {rule["ID"] for rule in lifecycle if "Expiration" in rule}
    assert expiring == {"requests", "certificates", "inbox", "outbox", "checkpoints"}, (
        "results, releases and environments must never expire, nor the host key of a head that stays up"
    )
    (checkpoints,) = (rule for rule in lifecycle if rule["ID"] == "checkpoints")
    assert checkpoints["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}, (
        "they are large, and often overwritten"
    )
    assert "forceDestroy" not in made.one("aws:s3/bucket:Bucket").inputs


def test_the_groups_are_empty_and_at_their_settings_one_mixed_and_one_on_demand_alone(made: Made) -> None:
    outputs = made.outputs
    mixed = {
        "onDemandBaseCapacity": outputs.on_demand_base,
        "onDemandPercentageAboveBaseCapacity": 100 - outputs.spot_percent,
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    on_demand = {
        "onDemandAllocationStrategy": "lowest-price",
        "onDemandBaseCapacity": 0,
        "onDemandPercentageAboveBaseCapacity": 100,
    }
    expected = {outputs.worker_group: mixed, outputs.on_demand_group: on_demand}
    assert list(expected) == list(outputs.worker_groups)
    groups = made.server.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert {group["AutoScalingGroupName"] for group in groups} == set(expected)
    for group in groups:
        assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (0, outputs.max_workers, 0)
        name = group["AutoScalingGroupName"]
        (inputs,) = (one.inputs for one in made.groups if name.startswith(one.name))
        (tag,) = [one for one in inputs["tags"] if one["key"] == PATIENCE_TAG] or [None]
        patience = "never" if "spotPatience" in made.settings else "600"
        expected_tag = {"key": PATIENCE_TAG, "value": patience, "propagateAtLaunch": False}
        assert tag == (expected_tag if name == outputs.on_demand_group else None), "the head reads it there"
        policy = inputs["mixedInstancesPolicy"]
        assert policy["instancesDistribution"] == expected[name]
        template = policy["launchTemplate"]
        assert template["launchTemplateSpecification"]["version"] == "1", "a concrete version"
        assert [one["instanceType"] for one in template["overrides"]] == list(outputs.worker_instance_types)
        zones = made.ec2.describe_subnets(SubnetIds=group["VPCZoneIdentifier"].split(","))["Subnets"]
        assert sorted(zone["AvailabilityZone"] for zone in zones) == sorted(outputs.worker_zones)


def test_the_head_reads_from_its_group_when_to_stop_itself(made: Made) -> None:
    scaling = made.server.client("autoscaling")
    [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[made.outputs.worker_group])[
        "AutoScalingGroups"
    ]
    [tag] = [each for each in group["Tags"] if each["Key"] == IDLE_STOP_TAG]
    assert tag["Value"] == tag_value(idle_stop_s(made.settings.get("headIdleStop", "2h")))
    assert tag["PropagateAtLaunch"] is False


def test_aws_ends_no_healthy_worker(made: Made) -> None:
    """Neither on a mere recommendation, nor to balance zones."""
    for group in made.server.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]:
        assert group["CapacityRebalance"] is False
        assert [each["ProcessName"] for each in group["SuspendedProcesses"]] == ["AZRebalance"]


def test_the_head_is_where_the_outputs_say(made: Made) -> None:
    (reservation,) = made.ec2.describe_instances(InstanceIds=[made.outputs.head_id])["Reservations"]
    (head,) = reservation["Instances"]
    assert head["PrivateIpAddress"] == made.outputs.head_private_ip
    assert head["InstanceType"] == made.outputs.head_instance_type
    assert head["ImageId"] == made.outputs.image_id
    [credit] = made.ec2.describe_instance_credit_specifications(InstanceIds=[made.outputs.head_id])[
        "InstanceCreditSpecifications"
    ]
    assert credit["CpuCredits"] == made.settings.get("headCpuCredits", "standard")
    if made.settings.get("headAddress") == "stays":
        (address,) = made.ec2.describe_addresses(PublicIps=[made.outputs.head_ip])["Addresses"]
        assert address["InstanceId"] == made.outputs.head_id
    else:
        assert made.outputs.head_ip == "", "an address that changes is no output: it would be a difference"
        assert head["PublicIpAddress"]
    stops = made.ec2.describe_instance_attribute(
        InstanceId=made.outputs.head_id, Attribute="instanceInitiatedShutdownBehavior"
    )
    assert stops["InstanceInitiatedShutdownBehavior"]["Value"] == "stop"
    (role,) = (role for role in made.of("aws:iam/role:Role") if "-head-" in role.name)
    assert made.outputs.head_identity == f"{role.outputs['uniqueId']}:{made.outputs.head_id}"
    profile = head["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    found = made.server.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    assert found["Roles"][0]["RoleName"] == role.id


def test_traffic_to_s3_takes_the_gateway_endpoint(made: Made) -> None:
    (endpoint,) = made.ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert sorted(endpoint["RouteTableIds"]) == sorted(one.id for one in made.of("aws:ec2/routeTable:RouteTable"))


@pytest.mark.parametrize("role", ["head", "worker"])
def test_machines_are_told_of_this_stack(made: Made, role: str) -> None:
    files = {one["path"]: one["content"] for one in yaml.safe_load(made.user_data(role))["write_files"]}
    facts = dict(line.split("=", 1) for line in files["/etc/sweepfleet/machine.env"].splitlines())
    assert facts["SWEEPFLEET_ROLE"] == role
    assert facts["SWEEPFLEET_BUCKET"] == made.outputs.bucket
    assert facts["SWEEPFLEET_HEAD"] == made.outputs.head_private_ip
    assert facts["SWEEPFLEET_PACKAGE_INDEX"] == made.outputs.package_index
    assert facts.get("SWEEPFLEET_DATA_VOLUME") == (made.outputs.data_volume_id if role == "head" else None)
    expected = made.outputs.worker_role_id if role == "worker" else made.outputs.head_identity.partition(":")[0]
    assert facts["SWEEPFLEET_ROLE_ID"] == expected


def test_the_outputs_are_exactly_the_dataclass(made: Made) -> None:
    assert tuple(made.values) == NAMES


def worker_cidrs(made: Made) -> dict[str, str]:
    subnets = [one.inputs for one in made.of("aws:ec2/subnet:Subnet") if "-workers-" in one.name]
    return {subnet["availabilityZone"]: subnet["cidrBlock"] for subnet in subnets}


def test_each_zone_has_the_subnet_of_its_letter(server: Moto) -> None:
    """So that another list of zones moves none of them."""
    before = worker_cidrs(Made(server, {"zones": ["eu-west-1a", "eu-west-1c"]}))
    after = worker_cidrs(Made(server, {"zones": ["eu-west-1c", "eu-west-1b", "eu-west-1a"]}))
    assert len(before) == 2
    assert before.items() <= after.items()


def test_an_image_of_ones_own_is_used_and_must_fit(server: Moto) -> None:
    server.reset()
    images = {one["Architecture"]: one["ImageId"] for one in server.client("ec2").describe_images()["Images"]}
    made = up(Mocks(server.endpoint), {"amiId": images["x86_64"]})
    assert made["image_id"] == images["x86_64"]
    with pytest.raises(pulumi.RunError, match="is an image for arm64, and the instance types are amd64"):
        up(Mocks(server.endpoint), {"amiId": images["arm64"]})


def test_settings_that_cannot_be_used_make_nothing(server: Moto) -> None:
    server.reset()
    mocks = Mocks(server.endpoint)
    with pytest.raises(pulumi.RunError, match="2 problems"):
        up(mocks, {"spotPercent": 300, "sshCidrs": ["0.0.0.0/0"]})
    assert mocks.records == []
    assert server.leftovers() == []


def test_an_endpoint_of_ones_own_is_used_for_every_service(server: Moto) -> None:
    server.reset()
    mocks = Mocks(server.endpoint)
    made = up(mocks, {"endpointUrl": server.endpoint})
    provider = mocks.named("sweepfleet-dev", "pulumi:providers:aws").inputs
    assert set(provider["endpoints"][0].values()) == {server.endpoint}
    assert provider["s3UsePathStyle"] is True
    assert f"AWS_ENDPOINT_URL={server.endpoint}" in mocks.of_type("aws:ec2/instance:Instance")[0].inputs["userData"]
    assert made["endpoint_url"] == server.endpoint


def test_what_is_taken_down_is_gone(server: Moto) -> None:
    made = Made(server, OTHERWISE)
    assert server.leftovers()
    made.mocks.destroy()
    assert server.leftovers() == []
