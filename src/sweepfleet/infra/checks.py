"""Checks of a stack's settings: pure, and all problems at once."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from sweepfleet.infra.durations import LEAST_IDLE_S, NEVER, idle_stop_s, patience_s
from sweepfleet.infra.layout import NARROWEST_VPC, WIDEST_VPC, ZONE_LETTERS, AddressPlan
from sweepfleet.infra.problems import Problem

EXAMPLE_CIDR = "203.0.113.7/32"  # of the addresses kept for documentation, RFC 5737
WIDEST_SSH = 8  # no organisation has more than a /8, and two halves of the world are the world
PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
# Family, generation and attributes, then the size:
# https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
INSTANCE_TYPE = re.compile(
    r"(?P<series>[a-z]+)(-?[0-9]+[a-z]*)??(?P<generation>\d+)(?P<attributes>[a-z]*(-[a-z0-9]+)*)"
    r"\.(nano|micro|small|medium|large|\d*xlarge|metal(-\d+xl)?)"
)
EGRESS = ("none", "public", "nat")
CREDITS = ("standard", "unlimited")  # the first by default
ADDRESSES = ("changes", "stays")  # likewise
BURSTABLE = ("t2", "t3", "t3a", "t4g")
MOST_WORKERS = 1000
MOST_TYPES = 40  # overrides that an autoscaling group takes
DISK_GB = (16, 16384)  # what system, code and environment need; the largest gp3 volume
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html: AWS's own policies have no account
NO_BOUNDARY = "none"  # as the value of permissionsBoundary
POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]{1,512}", re.ASCII)
AMI_ID = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
PUBLIC_KEY = re.compile(r"(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]+={0,3}( .*)?")  # what EC2 imports
STACK_NAME = re.compile(r"(?=.{1,24}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
TAG_VALUE = re.compile(r"[\w .:/=+\-@]{1,256}")


def unknown_key(name: str, known: Collection[str], *, listed: str = "Pulumi.example.yaml") -> Problem:
    """A key that no setting has: a typing mistake would otherwise pass for the default."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"{listed} lists all of them."
    return Problem(name, f"is not a setting of sweepfleet. {hint} To remove it: pulumi config rm {name}")


def stack_name(name: str) -> Iterator[Problem]:
    """A name that every part of the cluster can carry: S3 and IAM are the strictest, and each adds a few letters."""
    if not STACK_NAME.fullmatch(name):
        said = (
            f"`{name}` cannot be a cluster's name. Use at most 24 lowercase letters, digits and single "
            "hyphens, a letter first."
        )
        yield Problem("stack", f"{said} Rename it: pulumi stack rename NAME")


def check(found: Mapping[str, Any], *, region: str) -> Iterator[Problem]:
    """All that is wrong with these settings.

    Args:
        found: attributes of Settings with values of their types; an absent one has been reported already. Of
            `ssh_public_key`, the key's text.
        region: where the stack stands.
    """
    if "ssh_cidrs" in found:
        yield from ssh_cidrs(found["ssh_cidrs"])
    if "ssh_public_key" in found:
        yield from public_key(found["ssh_public_key"])
    if "vpc_cidr" in found:
        yield from vpc(found["vpc_cidr"], found.get("ssh_cidrs", ()), workers=found.get("max_workers", 1))
    if "zones" in found:
        yield from zones(found["zones"], region)
    yield from instance_types(found.get("worker_instance_types"), found.get("head_instance_type"))
    yield from numbers(found)
    yield from texts(found)


def head_at_rest(idle_stop: str, address: str) -> Iterator[Problem]:
    """When the head stops itself, and what address it has then."""
    try:
        idle_stop_s(idle_stop)
    except ValueError:
        said = f"`{idle_stop}` is not a time of at least {LEAST_IDLE_S} s. Use 30m, 2h, 1d or {NEVER}."
        yield Problem("headIdleStop", said, "2h")
    if address not in ADDRESSES:
        yield Problem("headAddress", f"`{address}` cannot be used. Use {' or '.join(ADDRESSES)}.", ADDRESSES[0])


def ssh_cidrs(cidrs: tuple[str, ...]) -> Iterator[Problem]:
    """Who may reach the head: IPv4 networks, none the world, none inside another."""
    key = "sshCidrs"
    if not cidrs:
        yield Problem(key, "is empty, so no one could reach the head. Set your own network.", (EXAMPLE_CIDR,))
    networks: list[ipaddress.IPv4Network] = []
    for place, cidr in enumerate(cidrs):
        try:
            network = ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            yield Problem(key, f"`{cidr}` is not a network, such as {EXAMPLE_CIDR}.", EXAMPLE_CIDR, place)
            continue
        if network.prefixlen == 0:
            said = f"`{cidr}` is the whole internet, and SSH is never open to it. Use your own network."
            yield Problem(key, said, EXAMPLE_CIDR, place)
        elif isinstance(network, ipaddress.IPv6Network):
            yield Problem(key, f"`{cidr}` is IPv6, and the head has an IPv4 address only.", EXAMPLE_CIDR, place)
        elif str(network) != cidr:
            yield Problem(
                key, f"`{cidr}` is an address within a network. Use the network: `{network}`.", str(network), place
            )
        elif network.prefixlen < WIDEST_SSH:
            said = (
                f"`{cidr}` is wider than /{WIDEST_SSH}, which is close to the whole internet. Use your own network."
            )
            yield Problem(key, said, EXAMPLE_CIDR, place)
        elif network in networks:
            yield Problem(key, f"`{cidr}` is listed twice.", place=place)
        else:
            for other in networks:
                if network.overlaps(other):
                    narrow, wide = (network, other) if network.subnet_of(other) else (other, network)
                    yield Problem(key, f"`{narrow}` lies within {wide}.", place=cidrs.index(str(narrow)))
            networks.append(network)


def public_key(text: str) -> Iterator[Problem]:
    """One public key of a kind that EC2 imports; never a private one."""
    key = "sshPublicKey"
    if "PRIVATE KEY" in text:
        yield Problem(
            key,
            "is a private key, which must never leave your machine. Use the public key. If its text was written "
            "to Pulumi's configuration, others can read it: make a new pair with ssh-keygen -t ed25519",
            "~/.ssh/id_ed25519.pub",
        )
    elif not PUBLIC_KEY.fullmatch(text):
        start = " ".join(text.split())[:40]
        yield Problem(
            key,
            (
                f"`{start}` is not a public key that EC2 accepts. Use one line that begins with ssh-ed25519 or "
                "ssh-rsa."
            ),
            "~/.ssh/id_ed25519.pub",
        )


def vpc(cidr: str, ssh: tuple[str, ...], *, workers: int) -> Iterator[Problem]:
    """The cluster's own network: private, apart from those that reach it, with room for all workers in any zone."""
    key = "vpcCidr"
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError:
        yield Problem(key, f"`{cidr}` is not an IPv4 network.", "10.42.0.0/16")
        return
    if not any(network.subnet_of(private) for private in PRIVATE):
        yield Problem(
            key, f"`{cidr}` is not private: the owners of its addresses could not be reached.", "10.42.0.0/16"
        )
        return
    if not WIDEST_VPC <= network.prefixlen <= NARROWEST_VPC:
        yield Problem(key, f"`{cidr}` is not between /{WIDEST_VPC} and /{NARROWEST_VPC}.", "10.42.0.0/16")
        return
    room = AddressPlan(cidr).workers_per_zone
    if room < workers <= MOST_WORKERS:
        prefix = next(
            p for p in range(network.prefixlen, 0, -1) if AddressPlan(f"10.0.0.0/{p}").workers_per_zone >= workers
        )
        yield Problem(
            key,
            f"`{cidr}` is too small: each zone's part has room for {room} worker{'' if room == 1 else 's'}, and "
            f"spot capacity may put all {workers} (maxWorkers) into one. Use a /{prefix}.",
            str(network.supernet(new_prefix=prefix)),
        )
    for one in ssh:
        try:
            other = ipaddress.ip_network(one, strict=False)
        except ValueError:
            continue
        if other.prefixlen and isinstance(other, ipaddress.IPv4Network) and other.overlaps(network):
            yield Problem(
                key,
                f"`{cidr}` overlaps with {one} in sshCidrs: workers could reach the head by SSH, and answers to your "
                "network would stay in the cluster.",
                "10.42.0.0/16" if not other.overlaps(ipaddress.IPv4Network("10.42.0.0/16")) else "172.20.0.0/16",
            )


def zones(names: tuple[str, ...], region: str) -> Iterator[Problem]:
    """Availability zones of the region, each once; none of them is a local zone."""
    for place, name in enumerate(names):
        if not re.fullmatch(f"{re.escape(region)}[{ZONE_LETTERS}]", name):
            yield Problem("zones", f"`{name}` is not an availability zone of {region}.", f"{region}a", place)
        elif name in names[:place]:
            yield Problem("zones", f"`{name}` is listed twice.", place=place)


def architecture(instance_type: str) -> str | None:
    """`amd64` or `arm64`, as its name tells: Graviton has a g among its attributes. None for no type's name."""
    match = INSTANCE_TYPE.fullmatch(instance_type)
    if match is None:
        return None
    return "arm64" if match["series"] == "a" or "g" in match["attributes"] else "amd64"


def burstable(instance_type: str) -> bool:
    """Whether a type earns CPU credits and uses them up under load; AWS names them t2, t3, t3a and t4g."""
    return instance_type.partition(".")[0] in BURSTABLE


def instance_types(workers: tuple[str, ...] | None, head: str | None) -> Iterator[Problem]:
    """Types that look like AWS's, all of one architecture: the head builds the environment that the workers run."""
    key, example = "workerInstanceTypes", ("c7i.xlarge", "c7a.xlarge")
    by_kind: dict[str, list[str]] = {}
    if workers is not None and not 1 <= len(workers) <= MOST_TYPES:
        yield Problem(key, f"has {len(workers)} types; an autoscaling group takes 1 to {MOST_TYPES}.", example)
    for place, name in enumerate(workers or ()):
        said = _no_type(name)
        if said:
            yield Problem(key, said, example[0], place)
        elif workers and name in workers[:place]:
            yield Problem(key, f"`{name}` is listed twice.", place=place)
        else:
            by_kind.setdefault(str(architecture(name)), []).append(name)
    if len(by_kind) > 1:
        named = " and ".join(f"{names[0]} ({kind})" for kind, names in sorted(by_kind.items()))
        said = (
            f"mixes {named}. All workers run one environment, which is built for one architecture. Use types of one."
        )
        yield Problem(key, said, example)
    if head is None:
        return
    said = _no_type(head)
    if said:
        yield Problem("headInstanceType", said, "t3.medium")
    elif len(by_kind) == 1 and architecture(head) not in by_kind:
        kind = next(iter(by_kind))
        yield Problem(
            "headInstanceType",
            f"`{head}` is {architecture(head)}, the workers are {kind}: the head builds the environment that they "
            "run, so both must be of one architecture.",
            "t4g.medium" if kind == "arm64" else "t3.medium",
        )


def _no_type(name: str) -> str:
    """Why a machine of ours cannot be of this type, as far as its name tells; nothing when it can."""
    if architecture(name) is None:
        return f"`{name}` does not look like an instance type: family, dot, size."
    return f"`{name}` is a Mac, which does not run Debian." if name.startswith("mac") else ""


def numbers(found: Mapping[str, Any]) -> Iterator[Problem]:
    """Every count, share and size in its range."""
    workers = found.get("max_workers", MOST_WORKERS)
    for attribute, key, least, most, example in (
        ("max_workers", "maxWorkers", 1, MOST_WORKERS, "10"),
        ("spot_percent", "spotPercent", 0, 100, "100"),
        ("on_demand_base", "onDemandBase", 0, max(workers, 0), "0"),
        ("data_volume_gb", "dataVolumeGb", 1, DISK_GB[1], "50"),
        ("worker_disk_gb", "workerDiskGb", *DISK_GB, "30"),
    ):
        value = found.get(attribute, least)
        if not least <= value <= most:
            yield Problem(key, f"{value} is not between {least} and {most}.", example)
    if found.get("budget_usd", 1) <= 0:
        yield Problem("budgetUsd", f"{found['budget_usd']} lets nothing run; it must be 1 or more.", "100")


def texts(found: Mapping[str, Any]) -> Iterator[Problem]:
    """Owner, egress, image, boundary and addresses."""
    owner = found.get("owner", "x")
    if not TAG_VALUE.fullmatch(owner):
        allowed = "1 to 256 letters, digits, spaces and . : / = + - @ _"
        yield Problem("owner", f"`{owner[:60]}` cannot be an AWS tag: {allowed}.", "ada@example.org")
    if found.get("worker_egress", "none") not in EGRESS:
        yield Problem(
            "workerEgress",
            f"`{found['worker_egress']}` is not an egress mode. Use `none`, `public` or `nat`.",
            "none",
        )
    yield from head_at_rest(found.get("head_idle_stop", "2h"), found.get("head_address", ADDRESSES[0]))
    credit = found.get("head_cpu_credits", CREDITS[0])
    if credit not in CREDITS:
        yield Problem("headCpuCredits", f"`{credit}` cannot be used. Use {' or '.join(CREDITS)}.", CREDITS[0])
    try:
        patience_s(patience := found.get("spot_patience", NEVER))
    except ValueError:
        yield Problem("spotPatience", f"`{patience}` is not a duration. Use one such as 10m, or `{NEVER}`.", "10m")
    if found.get("ami_id") and not AMI_ID.fullmatch(found["ami_id"]):
        yield Problem(
            "amiId", f"`{found['ami_id']}` is not an image id, which is ami- and 8 or 17 hexadecimal digits."
        )
    boundary = found.get("permissions_boundary")
    if boundary and boundary != NO_BOUNDARY and not POLICY_ARN.fullmatch(boundary):
        said = f"`{boundary[:80]}` is not the ARN of a policy. Use one, or `{NO_BOUNDARY}`."
        yield Problem("permissionsBoundary", said, "arn:aws:iam::123456789012:policy/boundary")
    yield from _url("packageIndex", found.get("package_index"), "https://pypi.org/simple")
    if found.get("endpoint_url"):
        yield from _url("endpointUrl", found["endpoint_url"], "http://localhost:4566")


def _url(key: str, url: str | None, example: str) -> Iterator[Problem]:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        usable = False
    if not usable or set(url) & set(" '\"\\`$"):
        yield Problem(key, f"`{url[:80]}` is not an http or https address.", example)
    elif parts.username or parts.password:
        seen = "contains a user name or password, which every machine could read. Remove it: see docs/environment.md."
        yield Problem(key, seen, example)
