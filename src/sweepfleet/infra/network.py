"""The cluster's network: a VPC with a public subnet for the head and a subnet in each zone for workers."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.layout import AddressPlan
from sweepfleet.infra.setup import Setup

ANYWHERE = "0.0.0.0/0"


class Network(pulumi.ComponentResource):
    """VPC, subnets and routes. Traffic to S3 goes through a gateway endpoint, which is free and needs no way out."""

    vpc_id: pulumi.Output[str]
    head_subnet: aws.ec2.Subnet
    worker_subnets: dict[str, aws.ec2.Subnet]  # by zone
    s3_prefix_list_id: pulumi.Output[str]
    head_route: aws.ec2.Route  # the head's way out

    def __init__(self, setup: Setup) -> None:
        """Declare it."""
        settings, placement, name = setup.settings, setup.placement, setup.name
        super().__init__("sweepfleet:infra:Network", name, None, setup.opts)
        self._name = name
        self._children = pulumi.ResourceOptions(parent=self)
        plan = AddressPlan(settings.vpc_cidr)

        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=settings.vpc_cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=self._children,
        )
        gateway = aws.ec2.InternetGateway(f"{name}-gateway", vpc_id=vpc.id, tags={"Name": name}, opts=self._children)

        self.head_subnet = aws.ec2.Subnet(
            f"{name}-head",
            vpc_id=vpc.id,
            cidr_block=plan.head_cidr,
            availability_zone=placement.head_zone,
            # Which the head asks for at its launch alone: with it, it has an address whenever it has no Elastic IP.
            map_public_ip_on_launch=True,
            tags={"Name": f"{name}-head"},
            # The data volume is in this zone and cannot move, so a changed list of zones moves neither.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["availabilityZone"]),
        )
        head_table = self._table("head", vpc, {f"{name}-head": self.head_subnet})
        self.head_route = self._way_out("head", head_table, gateway_id=gateway.id)

        self.worker_subnets = {
            zone: aws.ec2.Subnet(
                f"{name}-workers-{zone}",
                vpc_id=vpc.id,
                cidr_block=plan.workers_cidr(zone),
                availability_zone=zone,
                map_public_ip_on_launch=False,  # the launch template says who gets one
                tags={"Name": f"{name}-workers-{zone}"},
                opts=self._children,
            )
            for zone in placement.zones
        }
        worker_table = self._table(
            "workers", vpc, {f"{name}-workers-{zone}": subnet for zone, subnet in self.worker_subnets.items()}
        )
        if settings.worker_egress == "public":
            self._way_out("workers", worker_table, gateway_id=gateway.id)
        elif settings.worker_egress == "nat":
            address = aws.ec2.Eip(f"{name}-nat", domain="vpc", tags={"Name": f"{name}-nat"}, opts=self._children)
            nat = aws.ec2.NatGateway(
                f"{name}-nat",
                allocation_id=address.id,
                subnet_id=self.head_subnet.id,
                tags={"Name": f"{name}-nat"},
                opts=pulumi.ResourceOptions(parent=self, depends_on=[self.head_route]),
            )
            self._way_out("workers", worker_table, nat_gateway_id=nat.id)

        endpoint = aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{setup.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[head_table.id, worker_table.id],
            tags={"Name": f"{name}-s3"},
            opts=self._children,
        )
        self.vpc_id = vpc.id
        self.s3_prefix_list_id = endpoint.prefix_list_id
        self.register_outputs({"vpcId": self.vpc_id})

    def _table(self, part: str, vpc: aws.ec2.Vpc, subnets: Mapping[str, aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        """A route table of a part's subnets, which are given by name."""
        name = f"{self._name}-{part}"
        table = aws.ec2.RouteTable(name, vpc_id=vpc.id, tags={"Name": name}, opts=self._children)
        for place, subnet in subnets.items():
            aws.ec2.RouteTableAssociation(place, subnet_id=subnet.id, route_table_id=table.id, opts=self._children)
        return table

    def _way_out(
        self,
        part: str,
        table: aws.ec2.RouteTable,
        *,
        gateway_id: pulumi.Input[str] | None = None,
        nat_gateway_id: pulumi.Input[str] | None = None,
    ) -> aws.ec2.Route:
        """A route from a part's subnets to the internet."""
        return aws.ec2.Route(
            f"{self._name}-{part}-out",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=self._children,
        )
