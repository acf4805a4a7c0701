"""The network itself: VPC, subnets and the door to the internet."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

from typing import Any

from tests.cloud.aws import ACCOUNT, Aws, ignoring, tag_map
from tests.cloud.handlers.base import Ec2Handler, Props, only, picked


class Vpc(Ec2Handler):
    token = "aws:ec2/vpc:Vpc"
    inputs = frozenset({"cidrBlock", "enableDnsHostnames", "enableDnsSupport"})
    replaces = frozenset({"cidrBlock"})
    resource_type = "vpc"

    def create(self, aws: Aws, props: Props) -> str:
        id_: str = aws.ec2.create_vpc(CidrBlock=props["cidrBlock"], **self.specification(props))["Vpc"]["VpcId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        # AWS takes one attribute a call, and hostnames only while DNS is on.
        aws.ec2.modify_vpc_attribute(VpcId=id_, EnableDnsSupport={"Value": props.get("enableDnsSupport", True)})
        aws.ec2.modify_vpc_attribute(VpcId=id_, EnableDnsHostnames={"Value": props.get("enableDnsHostnames", False)})

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("InvalidVpcID.NotFound"):
            found = aws.ec2.describe_vpcs(VpcIds=[id_])["Vpcs"]
        vpc = only(found)
        if not vpc:
            return None
        attribute = aws.ec2.describe_vpc_attribute
        mine = [{"Name": "vpc-id", "Values": [id_]}]
        groups = aws.ec2.describe_security_groups(Filters=[*mine, {"Name": "group-name", "Values": ["default"]}])
        tables = aws.ec2.describe_route_tables(Filters=[*mine, {"Name": "association.main", "Values": ["true"]}])
        return {
            "cidrBlock": vpc["CidrBlock"],
            "enableDnsSupport": attribute(VpcId=id_, Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"],
            "enableDnsHostnames": attribute(VpcId=id_, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"],
            "arn": aws.arn("ec2", f"vpc/{id_}"),
            "ownerId": ACCOUNT,
            "defaultSecurityGroupId": groups["SecurityGroups"][0]["GroupId"],
            "mainRouteTableId": tables["RouteTables"][0]["RouteTableId"],
            "defaultRouteTableId": tables["RouteTables"][0]["RouteTableId"],
            "tagsAll": tag_map(vpc.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self.finish(aws, id_, new)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_vpc(VpcId=id_)


class InternetGateway(Ec2Handler):
    token = "aws:ec2/internetGateway:InternetGateway"
    inputs = frozenset({"vpcId"})
    resource_type = "internet-gateway"

    def create(self, aws: Aws, props: Props) -> str:
        id_: str = aws.ec2.create_internet_gateway(**self.specification(props))["InternetGateway"][
            "InternetGatewayId"
        ]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        if props.get("vpcId") and self._vpc(aws, id_) != props["vpcId"]:
            aws.ec2.attach_internet_gateway(InternetGatewayId=id_, VpcId=props["vpcId"])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("InvalidInternetGatewayID.NotFound"):
            found = aws.ec2.describe_internet_gateways(InternetGatewayIds=[id_])["InternetGateways"]
        gateway = only(found)
        return gateway and {
            "vpcId": self._vpc(aws, id_),
            "arn": aws.arn("ec2", f"internet-gateway/{id_}"),
            "ownerId": ACCOUNT,
            "tagsAll": tag_map(gateway.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self._detach(aws, id_)
        self.finish(aws, id_, new)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        self._detach(aws, id_)
        aws.ec2.delete_internet_gateway(InternetGatewayId=id_)

    def _detach(self, aws: Aws, id_: str) -> None:
        if vpc := self._vpc(aws, id_):
            aws.ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=vpc)

    def _vpc(self, aws: Aws, id_: str) -> str | None:
        gateway = aws.ec2.describe_internet_gateways(InternetGatewayIds=[id_])["InternetGateways"][0]
        return gateway["Attachments"][0]["VpcId"] if gateway.get("Attachments") else None


class Subnet(Ec2Handler):
    token = "aws:ec2/subnet:Subnet"
    inputs = frozenset({"vpcId", "cidrBlock", "availabilityZone", "mapPublicIpOnLaunch"})
    replaces = frozenset({"vpcId", "cidrBlock", "availabilityZone"})
    resource_type = "subnet"

    def create(self, aws: Aws, props: Props) -> str:
        where = picked(props, vpcId="VpcId", cidrBlock="CidrBlock", availabilityZone="AvailabilityZone")
        id_: str = aws.ec2.create_subnet(**where, **self.specification(props))["Subnet"]["SubnetId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        public = props.get("mapPublicIpOnLaunch", False)
        aws.ec2.modify_subnet_attribute(SubnetId=id_, MapPublicIpOnLaunch={"Value": public})

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("InvalidSubnetID.NotFound"):
            found = aws.ec2.describe_subnets(SubnetIds=[id_])["Subnets"]
        subnet = only(found)
        return subnet and {
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet["AvailabilityZoneId"],
            "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
            "arn": subnet["SubnetArn"],
            "ownerId": ACCOUNT,
            "tagsAll": tag_map(subnet.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self.finish(aws, id_, new)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_subnet(SubnetId=id_)
