"""Every resource type and function that the stand-in provider knows, by Pulumi's token for it."""

from __future__ import annotations

from tests.cloud.handlers import (
    addresses,
    disks,
    functions,
    group,
    identity,
    keys,
    machine,
    network,
    routes,
    security,
    storage,
)
from tests.cloud.handlers.base import Handler
from tests.cloud.handlers.functions import Function

_TYPES: tuple[type[Handler], ...] = (
    network.Vpc, network.InternetGateway, network.Subnet, routes.RouteTable, routes.Route,
    routes.RouteTableAssociation, routes.VpcEndpoint, addresses.Eip, addresses.EipAssociation, addresses.NatGateway,
    security.SecurityGroup, security.SecurityGroupIngressRule, security.SecurityGroupEgressRule, security.KeyPair,
    storage.Bucket, storage.BucketPublicAccessBlock, storage.BucketServerSideEncryptionConfiguration,
    storage.BucketVersioning, storage.BucketLifecycleConfiguration, storage.BucketOwnershipControls,
    storage.BucketPolicy,
    identity.Role, identity.RolePolicy, identity.Policy, identity.InstanceProfile, identity.OpenIdConnectProvider,
    keys.Key, keys.Alias,
    disks.Volume, disks.VolumeAttachment,
    machine.Instance,
    group.LaunchTemplate, group.Group,
)  # fmt: skip

RESOURCES: dict[str, Handler] = {each.token: each() for each in _TYPES}
FUNCTIONS: dict[str, Function] = {each.token: each for each in functions.ALL}
