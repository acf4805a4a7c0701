"""Security groups, enforced: each machine's namespace has a packet filter with the rules of its instance's groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from tests.cloud.rehearsal.host import run
from tests.cloud.rehearsal.network import METADATA, SERVICES, Link

ANYWHERE = "0.0.0.0/0"
HTTPS = 443  # where AWS's endpoints and the package index answer; here they do at `SERVICES`, on ports of their own
NAMED = {"icmp": "meta l4proto icmp", "-1": ""}
# Replies are let through, as a security group does; nobody can close the metadata service.
RULES = """\
table inet groups
delete table inet groups
table inet groups {{
  chain inward {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    {inward}
  }}
  chain outward {{
    type filter hook output priority filter; policy drop;
    ct state established,related accept
    oif lo accept
    ip daddr {metadata} accept
    {outward}
  }}
}}
"""


def ruleset(groups: Collection[Any], members: Callable[[str], Collection[str]]) -> str:
    """The filter, in nft's language, for a machine in these groups; `members` gives a group's addresses."""
    inward = [line for group in groups for rule in group.ingress_rules for line in _lines(rule, "saddr", members)]
    outward = [line for group in groups for rule in group.egress_rules for line in _lines(rule, "daddr", members)]
    indent = "\n    "
    return RULES.format(inward=indent.join(sorted(inward)), outward=indent.join(sorted(outward)), metadata=METADATA)


def apply(link: Link, text: str) -> None:
    """Replace a machine's filter in one step."""
    run("nsenter", f"--net={link.namespace}", "nft", "-f", "-", text=text)


def _lines(rule: Any, side: str, members: Callable[[str], Collection[str]]) -> Iterator[str]:
    protocol = str(rule.ip_protocol)
    ports = (
        ""
        if rule.from_port in {None, -1} or protocol == "icmp"
        else f"{protocol} dport {rule.from_port}-{rule.to_port}"
    )
    what = ports or NAMED.get(protocol, f"meta l4proto {protocol}")
    if rule.ip_range.get("CidrIp"):
        yield f"ip {side} {rule.ip_range['CidrIp']} {what} accept"
    if rule.source_group:
        addresses = ", ".join(sorted(members(rule.source_group["GroupId"])))
        if addresses:
            yield f"ip {side} {{ {addresses} }} {what} accept"
    endpoints = rule.prefix_list_id or rule.ip_range.get("CidrIp") == ANYWHERE
    if side == "daddr" and endpoints and (not ports or rule.from_port <= HTTPS <= rule.to_port):
        yield f"ip daddr {SERVICES} accept"
