"""Ways through the network: route tables, routes, and endpoints of AWS's services."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import json
import zlib
from typing import Any

from tests.cloud.aws import ACCOUNT, Aws, ignoring, tag_map
from tests.cloud.handlers.base import Ec2Handler, Handler, Props, only, picked


class RouteTable(Ec2Handler):
    token = "aws:ec2/routeTable:RouteTable"
    inputs = frozenset({"vpcId"})  # routes of its own would fight with Route resources
    replaces = frozenset({"vpcId"})
    resource_type = "route-table"

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.ec2.create_route_table(VpcId=props["vpcId"], **self.specification(props))
        id_: str = made["RouteTable"]["RouteTableId"]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        table = route_table(aws, id_)
        return table and {
            "vpcId": table["VpcId"],
            "arn": aws.arn("ec2", f"route-table/{id_}"),
            "ownerId": ACCOUNT,
            "tagsAll": tag_map(table.get("Tags")),
        }

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_route_table(RouteTableId=id_)


class Route(Handler):
    token = "aws:ec2/route:Route"
    inputs = frozenset({"routeTableId", "destinationCidrBlock", "gatewayId", "natGatewayId"})
    replaces = frozenset({"routeTableId", "destinationCidrBlock"})
    exclusive = (("gatewayId", "natGatewayId"),)

    def create(self, aws: Aws, props: Props) -> str:
        aws.ec2.create_route(**self._arguments(props))
        return f"r-{props['routeTableId']}{zlib.crc32(props['destinationCidrBlock'].encode())}"

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        table = route_table(aws, state["routeTableId"])
        routes = table["Routes"] if table else []
        route = only([each for each in routes if each.get("DestinationCidrBlock") == state["destinationCidrBlock"]])
        return route and {
            "gatewayId": route.get("GatewayId"),
            "natGatewayId": route.get("NatGatewayId"),
            "origin": route["Origin"],
            "state": route["State"],
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        aws.ec2.replace_route(**self._arguments(new))

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_route(
            **picked(state, routeTableId="RouteTableId", destinationCidrBlock="DestinationCidrBlock")
        )

    def _arguments(self, props: Props) -> dict[str, Any]:
        return picked(
            props,
            routeTableId="RouteTableId",
            destinationCidrBlock="DestinationCidrBlock",
            gatewayId="GatewayId",
            natGatewayId="NatGatewayId",
        )


class RouteTableAssociation(Handler):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    inputs = frozenset({"subnetId", "routeTableId"})
    replaces = frozenset({"subnetId"})

    def create(self, aws: Aws, props: Props) -> str:
        id_: str = aws.ec2.associate_route_table(SubnetId=props["subnetId"], RouteTableId=props["routeTableId"])[
            "AssociationId"
        ]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        current = self._current(aws, state)
        return current and {"subnetId": current["SubnetId"], "routeTableId": current["RouteTableId"]}

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        # AWS gives the replaced association a new id; the resource keeps its own, and finds it by its subnet.
        current = self._current(aws, old)
        aws.ec2.replace_route_table_association(
            AssociationId=current["RouteTableAssociationId"], RouteTableId=new["routeTableId"]
        )

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.disassociate_route_table(AssociationId=self._current(aws, state)["RouteTableAssociationId"])

    def _current(self, aws: Aws, state: Props) -> Any:
        mine = [{"Name": "association.subnet-id", "Values": [state["subnetId"]]}]
        tables = aws.ec2.describe_route_tables(Filters=mine)["RouteTables"]
        return only(
            [each for table in tables for each in table["Associations"] if each.get("SubnetId") == state["subnetId"]]
        )


class VpcEndpoint(Ec2Handler):
    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    inputs = frozenset({"vpcId", "serviceName", "vpcEndpointType", "routeTableIds", "policy"})
    replaces = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    sets = frozenset({"routeTableIds"})
    documents = frozenset({"policy"})
    resource_type = "vpc-endpoint"

    def create(self, aws: Aws, props: Props) -> str:
        arguments = picked(
            props,
            vpcId="VpcId",
            serviceName="ServiceName",
            vpcEndpointType="VpcEndpointType",
            routeTableIds="RouteTableIds",
            policy="PolicyDocument",
        )
        made = aws.ec2.create_vpc_endpoint(**arguments, **self.specification(props))
        id_: str = made["VpcEndpoint"]["VpcEndpointId"]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("InvalidVpcEndpointId.NotFound"):
            found = aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[id_])["VpcEndpoints"]
        endpoint = only([each for each in found if each["State"].lower() not in {"deleting", "deleted"}])
        if not endpoint:
            return None
        prefixes = aws.ec2.describe_managed_prefix_lists(
            Filters=[{"Name": "prefix-list-name", "Values": [endpoint["ServiceName"]]}]
        )["PrefixLists"]
        lists = [each["PrefixListId"] for each in prefixes if each["PrefixListName"] == endpoint["ServiceName"]]
        return {
            "vpcId": endpoint["VpcId"],
            "serviceName": endpoint["ServiceName"],
            "vpcEndpointType": endpoint.get("VpcEndpointType", "Gateway"),
            "routeTableIds": endpoint.get("RouteTableIds", []),
            "policy": _text(endpoint.get("PolicyDocument") or state.get("policy")),
            "prefixListId": only(lists),
            "state": endpoint["State"],
            "arn": aws.arn("ec2", f"vpc-endpoint/{id_}"),
            "ownerId": ACCOUNT,
            "tagsAll": tag_map(endpoint.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        was, will = set(old.get("routeTableIds", [])), set(new.get("routeTableIds", []))
        arguments = {"AddRouteTableIds": sorted(will - was), "RemoveRouteTableIds": sorted(was - will)}
        policy = {"PolicyDocument": new["policy"]} if new.get("policy") else {"ResetPolicy": True}
        aws.ec2.modify_vpc_endpoint(
            VpcEndpointId=id_,
            **{key: value for key, value in arguments.items() if value},
            **(policy if "policy" in changed else {}),
        )

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        with ignoring("InvalidRoute.NotFound"):
            aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[id_])
        left = self.read(aws, id_, state)
        if left:  # moto looks for a route in every table, and puts none into those that were added later
            aws.ec2.modify_vpc_endpoint(VpcEndpointId=id_, RemoveRouteTableIds=left["routeTableIds"])
            aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[id_])


def route_table(aws: Aws, id_: str) -> Any:
    found: list[Any] = []
    with ignoring("InvalidRouteTableID.NotFound"):
        found = aws.ec2.describe_route_tables(RouteTableIds=[id_])["RouteTables"]
    return only(found)


def _text(policy: Any) -> str | None:
    return policy if policy is None or isinstance(policy, str) else json.dumps(policy)
