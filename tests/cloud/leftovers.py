"""What a stack could leave behind in an account, named one by one."""

from __future__ import annotations

from typing import Any

from tests.cloud.aws import ACCOUNT, Aws


def leftovers(aws: Aws) -> list[str]:
    """Everything that costs or clutters and that AWS did not make itself; empty in a new account."""
    return sorted([*_network(aws), *_machines(aws), *_identity(aws), *_storage(aws), *_keys(aws)])


def _network(aws: Aws) -> list[str]:
    ec2 = aws.ec2
    vpcs = {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]}
    left = [f"vpc {vpc}" for vpc in vpcs]
    left += [f"subnet {each['SubnetId']}" for each in _inside(ec2.describe_subnets()["Subnets"], vpcs)]
    left += [
        f"security group {each['GroupId']} {each['GroupName']}"
        for each in ec2.describe_security_groups()["SecurityGroups"]
        if each["GroupName"] != "default"
    ]
    left += [
        f"route table {each['RouteTableId']}"
        for each in ec2.describe_route_tables()["RouteTables"]
        if not any(association["Main"] for association in each["Associations"])
    ]
    left += [
        f"internet gateway {each['InternetGatewayId']}"
        for each in ec2.describe_internet_gateways()["InternetGateways"]
        if not each["Attachments"] or each["Attachments"][0]["VpcId"] in vpcs
    ]
    left += [
        f"NAT gateway {each['NatGatewayId']}"
        for each in ec2.describe_nat_gateways()["NatGateways"]
        if each["State"] not in {"deleted", "deleting"}
    ]
    left += [
        f"endpoint {each['VpcEndpointId']}"
        for each in ec2.describe_vpc_endpoints()["VpcEndpoints"]
        if each["State"].lower() not in {"deleted", "deleting"}
    ]
    left += [f"elastic address {each['AllocationId']}" for each in ec2.describe_addresses()["Addresses"]]
    left += [f"key pair {each['KeyName']}" for each in ec2.describe_key_pairs()["KeyPairs"]]
    return left


def _machines(aws: Aws) -> list[str]:
    ec2 = aws.ec2
    left = [
        f"instance {each['InstanceId']} {each['State']['Name']}"
        for reservation in ec2.describe_instances()["Reservations"]
        for each in reservation["Instances"]
        if each["State"]["Name"] != "terminated"
    ]
    left += [f"volume {each['VolumeId']}" for each in ec2.describe_volumes()["Volumes"]]
    left += [
        f"snapshot {each['SnapshotId']}"
        for each in ec2.describe_snapshots()["Snapshots"]
        if each["OwnerId"] == ACCOUNT  # moto does not heed OwnerIds
    ]
    left += [
        f"launch template {each['LaunchTemplateName']}" for each in ec2.describe_launch_templates()["LaunchTemplates"]
    ]
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return left + [f"autoscaling group {each['AutoScalingGroupName']}" for each in groups]


def _identity(aws: Aws) -> list[str]:
    roles = aws.iam.list_roles()["Roles"]
    profiles = aws.iam.list_instance_profiles()["InstanceProfiles"]
    providers = aws.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return [
        *(f"role {each['RoleName']}" for each in roles if not each["Path"].startswith("/aws-service-role/")),
        *(f"instance profile {each['InstanceProfileName']}" for each in profiles),
        *(f"identity provider {each['Arn']}" for each in providers),
    ]


def _storage(aws: Aws) -> list[str]:
    return [f"bucket {each['Name']}" for each in aws.s3.list_buckets()["Buckets"]]


def _keys(aws: Aws) -> list[str]:
    """A key that waits for its end costs nothing and goes by itself; those with an alias of AWS's are AWS's."""
    kms = aws.client("kms")
    aliases = kms.list_aliases()["Aliases"]
    of_aws = {one.get("TargetKeyId") for one in aliases if one["AliasName"].startswith("alias/aws/")}
    keys = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys()["Keys"]]
    return [
        *(f"key alias {one['AliasName']}" for one in aliases if not one["AliasName"].startswith("alias/aws/")),
        *(f"key {one['KeyId']}" for one in keys if one["KeyState"] == "Enabled" and one["KeyId"] not in of_aws),
    ]


def _inside(found: list[Any], vpcs: set[str]) -> list[Any]:
    return [each for each in found if each["VpcId"] in vpcs]
