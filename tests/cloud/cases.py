"""For every resource type, inputs to make one from, and those to change in place."""
# ruff: noqa: ARG005 - every case is given the world, and some stand on nothing

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tests.cloud.world import ALLOW, DENY, TRUST, World

Inputs = dict[str, Any]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3sQ1kgxKjUZEb9r7zVbcNjYQ2Dqu7p0r1a2b3c4d5e me"
NAMED = {"tags": {"Name": "other"}}
SERVICE = "com.amazonaws.eu-west-1.s3"


def group(world: World, size: int = 0) -> Inputs:
    specification = {"launchTemplateId": world.template(), "version": "1"}
    return {
        "minSize": size,
        "maxSize": 3,
        "vpcZoneIdentifiers": [world.subnet()],
        "mixedInstancesPolicy": {
            "launchTemplate": {
                "launchTemplateSpecification": specification,
                "overrides": [{"instanceType": "t3.micro"}, {"instanceType": "t3a.micro"}],
            },
            "instancesDistribution": {
                "onDemandBaseCapacity": 0,
                "spotAllocationStrategy": "price-capacity-optimized",
            },
        },
    }


def machine(world: World) -> Inputs:
    return {
        "ami": world.ami(),
        "instanceType": "t3.micro",
        "subnetId": world.subnet(),
        "privateIp": "10.9.0.10",
        "userData": "#!/bin/sh\n",
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": {"encrypted": True, "volumeSize": 20},
    }


def template(world: World) -> Inputs:
    interface = {"deviceIndex": 0, "associatePublicIpAddress": "false", "securityGroups": [world.group()]}
    disk = {"volumeSize": 9, "encrypted": "true", "deleteOnTermination": "true"}
    return {
        "imageId": world.ami(),
        "instanceType": "t3.micro",
        "userData": base64.b64encode(b"#!/bin/sh").decode(),
        "metadataOptions": {"httpTokens": "required"},
        "networkInterfaces": [interface],
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": disk}],
        "tagSpecifications": [{"resourceType": "instance", "tags": {"role": "worker"}}],
    }


def lifecycle_rules(prefix: str) -> list[Inputs]:
    return [
        {"id": "old", "status": "Enabled", "filter": {"prefix": prefix}, "expiration": {"days": 9}},
        {"id": "parts", "status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1}},
        {"id": "past", "status": "Enabled", "noncurrentVersionExpiration": {"noncurrentDays": 3}},
    ]


def tagged(role: str, *, at_launch: bool) -> Inputs:
    return {"tags": [{"key": role, "value": "a", "propagateAtLaunch": at_launch}]}


# No change: nothing of it can change in place.
CASES: dict[str, Callable[[World], tuple[Inputs, Inputs]]] = {
    "aws:ec2/vpc:Vpc": lambda world: (
        {"cidrBlock": "10.8.0.0/16", "enableDnsHostnames": True},
        {"enableDnsHostnames": False, **NAMED},
    ),
    "aws:ec2/internetGateway:InternetGateway": lambda world: ({"vpcId": world.vpc()}, NAMED),
    "aws:ec2/subnet:Subnet": lambda world: (
        {"vpcId": world.vpc(), "cidrBlock": "10.9.7.0/24", "availabilityZone": "eu-west-1b"},
        {"mapPublicIpOnLaunch": True},
    ),
    "aws:ec2/routeTable:RouteTable": lambda world: ({"vpcId": world.vpc()}, NAMED),
    "aws:ec2/route:Route": lambda world: (
        {"routeTableId": world.table(), "destinationCidrBlock": "0.0.0.0/0", "gatewayId": world.gateway()},
        {"gatewayId": None, "natGatewayId": world.nat()},
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": lambda world: (
        {"subnetId": world.subnet(), "routeTableId": world.table()},
        {"routeTableId": world.make("aws:ec2/routeTable:RouteTable", vpcId=world.vpc()).id},
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": lambda world: (
        {"vpcId": world.vpc(), "serviceName": SERVICE, "vpcEndpointType": "Gateway", "policy": ALLOW},
        {"routeTableIds": [world.table()]},
    ),
    "aws:ec2/eip:Eip": lambda world: ({"domain": "vpc"}, NAMED),
    "aws:ec2/eipAssociation:EipAssociation": lambda world: (
        {"allocationId": world.address(), "instanceId": world.machine()},
        {},
    ),
    "aws:ec2/natGateway:NatGateway": lambda world: (
        {"allocationId": world.address(), "subnetId": world.subnet(), "connectivityType": "public"},
        NAMED,
    ),
    "aws:ec2/securityGroup:SecurityGroup": lambda world: ({"vpcId": world.vpc(), "description": "machines"}, NAMED),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": lambda world: (
        {
            "securityGroupId": world.group(),
            "ipProtocol": "tcp",
            "fromPort": 22,
            "toPort": 22,
            "cidrIpv4": "192.0.2.7/32",
        },
        {"cidrIpv4": "192.0.2.8/32", "fromPort": 23, "toPort": 24, "description": "me"},
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": lambda world: (
        {
            "securityGroupId": world.group(),
            "ipProtocol": "tcp",
            "fromPort": 1,
            "toPort": 2,
            "referencedSecurityGroupId": world.group(),
            "description": "each other",
        },
        {"description": "one another", **NAMED},
    ),
    "aws:ec2/keyPair:KeyPair": lambda world: ({"publicKey": KEY}, NAMED),
    "aws:s3/bucket:Bucket": lambda world: ({}, {"forceDestroy": True, **NAMED}),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": lambda world: (
        {"bucket": world.bucket(), "blockPublicAcls": True},
        {"blockPublicPolicy": True},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": lambda world: (
        {"bucket": world.bucket(), "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}, "bucketKeyEnabled": True}]},
    ),
    "aws:s3/bucketVersioning:BucketVersioning": lambda world: (
        {"bucket": world.bucket(), "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": lambda world: (
        {"bucket": world.bucket(), "rules": lifecycle_rules("runs/")},
        {"rules": lifecycle_rules("other/")},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": lambda world: (
        {"bucket": world.bucket(), "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": lambda world: ({"bucket": world.bucket(), "policy": ALLOW}, {"policy": DENY}),
    "aws:iam/role:Role": lambda world: (
        {
            "assumeRolePolicy": TRUST,
            "description": "a",
            "permissionsBoundary": "arn:aws:iam::aws:policy/PowerUserAccess",
            "maxSessionDuration": 3600,
        },
        {"description": "b", "permissionsBoundary": None, "maxSessionDuration": 7200, **NAMED},
    ),
    "aws:iam/rolePolicy:RolePolicy": lambda world: ({"role": world.role(), "policy": ALLOW}, {"policy": DENY}),
    "aws:iam/policy:Policy": lambda world: ({"description": "a", "policy": ALLOW}, {"policy": DENY, **NAMED}),
    "aws:iam/instanceProfile:InstanceProfile": lambda world: (
        {"role": world.role()},
        {"role": world.make("aws:iam/role:Role", assumeRolePolicy=TRUST).id},
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda world: (
        {"url": "https://token.example.org/ci", "clientIdLists": ["sts.amazonaws.com", "a"]},
        NAMED,
    ),
    "aws:kms/key:Key": lambda world: (
        {"description": "a", "enableKeyRotation": True, "deletionWindowInDays": 7},
        {"description": "b", "enableKeyRotation": False, **NAMED},
    ),
    "aws:kms/alias:Alias": lambda world: (
        {"name": "alias/secrets", "targetKeyId": world.make("aws:kms/key:Key", enableKeyRotation=True).id},
        {"targetKeyId": world.make("aws:kms/key:Key").id},
    ),
    "aws:ebs/volume:Volume": lambda world: (
        {"availabilityZone": "eu-west-1a", "size": 8, "type": "gp3", "encrypted": True, "throughput": 125},
        {"size": 16, **NAMED},
    ),
    "aws:ec2/volumeAttachment:VolumeAttachment": lambda world: (
        {"deviceName": "/dev/xvdf", "instanceId": world.machine(), "volumeId": world.volume()},
        {"stopInstanceBeforeDetaching": True},
    ),
    "aws:ec2/instance:Instance": lambda world: (
        machine(world),
        {
            "instanceType": "t3.large",
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2},
            "vpcSecurityGroupIds": [world.group()],
            "rootBlockDevice": {"encrypted": True, "volumeSize": 30, "deleteOnTermination": True},
            "iamInstanceProfile": world.profile(),
        },
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": lambda world: (
        template(world),
        {"instanceType": "t3.large", "updateDefaultVersion": True},
    ),
    "aws:autoscaling/group:Group": lambda world: (
        {**group(world), **tagged("role", at_launch=True)},
        {"maxSize": 5, "suspendedProcesses": ["AZRebalance"], **tagged("sort", at_launch=False)},
    ),
}
