"""Fixed public addresses, and the NAT gateways that use them."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

from typing import Any

from tests.cloud.aws import WAIT, Aws, ignoring, tag_map
from tests.cloud.handlers.base import Ec2Handler, Handler, Props, only, picked


class Eip(Ec2Handler):
    token = "aws:ec2/eip:Eip"
    inputs = frozenset({"domain", "networkInterface", "instance", "address"})
    replaces = frozenset({"domain", "address"})
    exclusive = (("networkInterface", "instance"),)
    resource_type = "elastic-ip"

    def create(self, aws: Aws, props: Props) -> str:
        arguments = picked(props, address="Address")
        made = aws.ec2.allocate_address(Domain=props.get("domain", "vpc"), **arguments, **self.specification(props))
        id_: str = made["AllocationId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        target = picked(props, networkInterface="NetworkInterfaceId", instance="InstanceId")
        if target:
            aws.ec2.associate_address(AllocationId=id_, AllowReassociation=True, **target)

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        address = self._address(aws, id_)
        return address and {
            "domain": address["Domain"],
            "allocationId": id_,
            "publicIp": address["PublicIp"],
            "publicDns": f"ec2-{address['PublicIp'].replace('.', '-')}.{aws.region}.compute.amazonaws.com",
            "associationId": address.get("AssociationId"),
            "instance": address.get("InstanceId") or None,
            "networkInterface": address.get("NetworkInterfaceId") or None,
            "privateIp": address.get("PrivateIpAddress") or None,
            "arn": aws.arn("ec2", f"elastic-ip/{id_}"),
            "tagsAll": tag_map(address.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self._disassociate(aws, id_)
        self.finish(aws, id_, new)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        self._disassociate(aws, id_)
        aws.ec2.release_address(AllocationId=id_)

    def _disassociate(self, aws: Aws, id_: str) -> None:
        address = self._address(aws, id_)
        if address and address.get("AssociationId"):
            aws.ec2.disassociate_address(AssociationId=address["AssociationId"])

    def _address(self, aws: Aws, id_: str) -> Any:
        found: list[Any] = []
        with ignoring("InvalidAllocationID.NotFound"):
            found = aws.ec2.describe_addresses(AllocationIds=[id_])["Addresses"]
        return only(found)


class EipAssociation(Handler):
    token = "aws:ec2/eipAssociation:EipAssociation"
    inputs = frozenset({"allocationId", "instanceId"})
    replaces = inputs

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.ec2.associate_address(
            AllocationId=props["allocationId"], InstanceId=props["instanceId"], AllowReassociation=True
        )
        id_: str = made["AssociationId"]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        mine = [{"Name": "association-id", "Values": [id_]}]
        address = only(aws.ec2.describe_addresses(Filters=mine)["Addresses"])
        return address and {
            "allocationId": address["AllocationId"],
            "instanceId": address.get("InstanceId"),
            "networkInterfaceId": address.get("NetworkInterfaceId"),
            "privateIpAddress": address.get("PrivateIpAddress"),
            "publicIp": address["PublicIp"],
        }

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.disassociate_address(AssociationId=id_)


class NatGateway(Ec2Handler):
    token = "aws:ec2/natGateway:NatGateway"
    inputs = frozenset({"allocationId", "subnetId", "connectivityType"})
    replaces = inputs
    resource_type = "natgateway"

    def create(self, aws: Aws, props: Props) -> str:
        arguments = picked(
            props, allocationId="AllocationId", subnetId="SubnetId", connectivityType="ConnectivityType"
        )
        id_: str = aws.ec2.create_nat_gateway(**arguments, **self.specification(props))["NatGateway"]["NatGatewayId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        aws.wait("nat_gateway_available", NatGatewayIds=[id_])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("NatGatewayNotFound"):
            found = aws.ec2.describe_nat_gateways(NatGatewayIds=[id_])["NatGateways"]
        gateway = only([each for each in found if each["State"] not in {"deleting", "deleted"}])
        if not gateway:
            return None
        address = only(gateway.get("NatGatewayAddresses", [])) or {}
        return {
            "subnetId": gateway["SubnetId"],
            "connectivityType": gateway.get("ConnectivityType", "public"),
            "allocationId": address.get("AllocationId"),
            "publicIp": address.get("PublicIp"),
            "privateIp": address.get("PrivateIp"),
            "networkInterfaceId": address.get("NetworkInterfaceId"),
            "tagsAll": tag_map(gateway.get("Tags")),
        }

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_nat_gateway(NatGatewayId=id_)
        with ignoring("NatGatewayNotFound"):
            aws.ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[id_], WaiterConfig=WAIT)
