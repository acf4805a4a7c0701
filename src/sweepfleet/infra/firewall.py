"""Who may talk to whom: two security groups, and each rule a resource of its own, so that a change touches one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.layout import SCHEDULER_PORT, SSH_PORT, WORKER_PORTS
from sweepfleet.infra.network import ANYWHERE, Network
from sweepfleet.infra.setup import Setup

HTTPS_PORT = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way that is open. `peer` is a CIDR, or one of `head`, `workers` and `s3`."""

    group: str  # head or workers
    inward: bool
    ports: tuple[int, int] | None  # TCP, first and last; None for everything
    peer: str
    why: str

    @property
    def name(self) -> str:
        """Unique among all rules, and the same for as long as the rule means the same."""
        ports = "all" if self.ports is None else "-".join(map(str, dict.fromkeys(self.ports)))
        return f"{self.group}-{'from' if self.inward else 'to'}-{self.peer.replace('/', '-')}-{ports}"


def rules(ssh_cidrs: tuple[str, ...], worker_egress: str) -> Iterator[Rule]:
    """Everything that is allowed; nothing else is. Pure."""
    for cidr in ssh_cidrs:
        yield Rule(group="head", inward=True, ports=(SSH_PORT,) * 2, peer=cidr, why="operators")
    yield Rule(group="head", inward=True, ports=(SCHEDULER_PORT,) * 2, peer="workers", why="the scheduler")
    yield Rule(group="head", inward=False, ports=None, peer=ANYWHERE, why="packages, AWS, its workers")
    yield Rule(group="workers", inward=True, ports=(SSH_PORT,) * 2, peer="head", why="operators, through the head")
    yield Rule(
        group="workers", inward=True, ports=WORKER_PORTS, peer="head", why="what the scheduler asks of workers"
    )
    yield Rule(
        group="workers", inward=True, ports=WORKER_PORTS, peer="workers", why="data that a dask client's tasks need"
    )
    if worker_egress == "none":
        yield Rule(group="workers", inward=False, ports=(SCHEDULER_PORT,) * 2, peer="head", why="the scheduler")
        yield Rule(group="workers", inward=False, ports=WORKER_PORTS, peer="workers", why="data of other workers")
        yield Rule(group="workers", inward=False, ports=(HTTPS_PORT,) * 2, peer="s3", why="releases and environments")
    else:
        yield Rule(group="workers", inward=False, ports=None, peer=ANYWHERE, why=f"workerEgress is {worker_egress}")


class Firewall(pulumi.ComponentResource):
    """The head's and the workers' security groups with their rules."""

    head_group_id: pulumi.Output[str]
    workers_group_id: pulumi.Output[str]

    def __init__(self, setup: Setup, network: Network) -> None:
        """Declare them."""
        settings, name = setup.settings, setup.name
        super().__init__("sweepfleet:infra:Firewall", name, None, setup.opts)
        children = pulumi.ResourceOptions(parent=self)
        groups = {
            part: aws.ec2.SecurityGroup(
                f"{name}-{part}",
                description=f"{name} {part}",  # AWS never changes it: a new text would be a new group
                vpc_id=network.vpc_id,
                tags={"Name": f"{name}-{part}"},
                opts=children,
            )
            for part in ("head", "workers")
        }
        for rule in rules(settings.ssh_cidrs, settings.worker_egress):
            kind = aws.vpc.SecurityGroupIngressRule if rule.inward else aws.vpc.SecurityGroupEgressRule
            kind(
                f"{name}-{rule.name}",
                security_group_id=groups[rule.group].id,
                ip_protocol="-1" if rule.ports is None else "tcp",
                from_port=rule.ports[0] if rule.ports else None,
                to_port=rule.ports[1] if rule.ports else None,
                cidr_ipv4=rule.peer if "/" in rule.peer else None,
                referenced_security_group_id=groups[rule.peer].id if rule.peer in groups else None,
                prefix_list_id=network.s3_prefix_list_id if rule.peer == "s3" else None,
                description=rule.why,
                tags={"Name": f"{name}-{rule.name}"},
                opts=children,
            )
        self.head_group_id = groups["head"].id
        self.workers_group_id = groups["workers"].id
        self.register_outputs({})
