"""The kinds of EC2's resources that may carry a stack's tag: how each is listed, what it costs, what deletes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One of EC2's kinds: how to ask for it, and how to read the answer."""

    name: str
    arn: str  # what stands in an ARN for it
    call: str  # describe_...
    answer: str  # the key of the list in the answer
    id: str  # the key of what Pulumi takes for the id
    remedy: str  # of `aws ec2 ...`; {id} and, of a rule, {way} and {within}
    created: str = ""
    state: str = "State"


KINDS = (
    Kind("volume", "volume", "volumes", "Volumes", "VolumeId", "delete-volume --volume-id {id}", "CreateTime"),
    Kind(
        "snapshot",
        "snapshot",
        "snapshots",
        "Snapshots",
        "SnapshotId",
        "delete-snapshot --snapshot-id {id}",
        "StartTime",
    ),
    Kind("image", "image", "images", "Images", "ImageId", "deregister-image --image-id {id}", "CreationDate"),
    Kind("address", "elastic-ip", "addresses", "Addresses", "AllocationId", "release-address --allocation-id {id}"),
    Kind(
        "network interface",
        "network-interface",
        "network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        "delete-network-interface --network-interface-id {id}",
        state="Status",
    ),
    Kind(
        "NAT gateway",
        "natgateway",
        "nat_gateways",
        "NatGateways",
        "NatGatewayId",
        "delete-nat-gateway --nat-gateway-id {id}",
        "CreateTime",
    ),
    Kind(
        "endpoint",
        "vpc-endpoint",
        "vpc_endpoints",
        "VpcEndpoints",
        "VpcEndpointId",
        "delete-vpc-endpoints --vpc-endpoint-ids {id}",
        "CreationTimestamp",
    ),
    Kind(
        "launch template",
        "launch-template",
        "launch_templates",
        "LaunchTemplates",
        "LaunchTemplateId",
        "delete-launch-template --launch-template-id {id}",
        "CreateTime",
    ),
    Kind("key pair", "key-pair", "key_pairs", "KeyPairs", "KeyName", "delete-key-pair --key-name {id}", "CreateTime"),
    Kind(
        "security group rule",
        "security-group-rule",
        "security_group_rules",
        "SecurityGroupRules",
        "SecurityGroupRuleId",
        "revoke-security-group-{way} --group-id {within} --security-group-rule-ids {id}",
    ),
    Kind(
        "security group",
        "security-group",
        "security_groups",
        "SecurityGroups",
        "GroupId",
        "delete-security-group --group-id {id}",
    ),
    Kind(
        "route table",
        "route-table",
        "route_tables",
        "RouteTables",
        "RouteTableId",
        "delete-route-table --route-table-id {id}",
    ),
    Kind(
        "internet gateway",
        "internet-gateway",
        "internet_gateways",
        "InternetGateways",
        "InternetGatewayId",
        "delete-internet-gateway --internet-gateway-id {id}",
    ),
    Kind("subnet", "subnet", "subnets", "Subnets", "SubnetId", "delete-subnet --subnet-id {id}"),
    Kind("network", "vpc", "vpcs", "Vpcs", "VpcId", "delete-vpc --vpc-id {id}"),
)
# Of ours alone: whose they are else is a long list. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
OWNED = {"snapshots": {"OwnerIds": ["self"]}, "images": {"Owners": ["self"]}}
# What is asked for itself: the tagging API goes on naming it for a while when it is gone.
ASKED = frozenset({("ec2", "instance"), *(("ec2", kind.arn) for kind in KINDS)})
ASKED_SERVICES = frozenset({"iam", "autoscaling"})
