"""The closed network: machines on one bridge, the operator's laptop behind a router, and no way out.

Used inside the rig's own network namespace, which is the router: it has no other interface than these.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.rehearsal.host import run

BRIDGE = "cloud"
# Its own: else it takes the lowest of its ports', another one when a machine comes or goes, and for half a minute no
# answer of a machine finds the way.
BRIDGE_MAC = "02:00:00:00:00:01"
SERVICES = "10.99.0.1"  # where the cloud's own services answer: AWS's endpoints, the package index
METADATA = "169.254.169.254"
INTERNET = "198.51.100.0/24"  # the laptop's side: https://www.rfc-editor.org/rfc/rfc5737
GATEWAY, LAPTOP = "198.51.100.1", "198.51.100.10"
PUBLIC = "203.0.113."  # Elastic IPs and other public addresses
LAPTOP_NAME = "laptop"
NAMESPACES = Path("/run/netns")

# An internet gateway translates public addresses into private ones and back; machines know only the latter.
NAT = """\
table ip rehearsal {
  map machines { type ipv4_addr : ipv4_addr; }
  chain inward { type nat hook prerouting priority dstnat; dnat to ip daddr map @machines; }
}
"""


@dataclass(frozen=True, slots=True)
class Link:
    """One machine's place in the network."""

    name: str  # of its namespace
    device: str  # the bridge's end of its cable
    address: str

    @property
    def namespace(self) -> Path:
        """The file to enter its namespace by."""
        return NAMESPACES / self.name


class Network:
    """The bridge, the router and the laptop's namespace; machines are plugged in and out."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._published: dict[str, str] = {}

    def up(self) -> None:
        """Make what every rig has."""
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        _ip(
            "link set lo up",
            f"link add {BRIDGE} address {BRIDGE_MAC} type bridge forward_delay 0",
            f"link set {BRIDGE} up",
            f"address add {SERVICES}/32 dev {BRIDGE}",
            f"address add {METADATA}/32 dev {BRIDGE}",
            f"netns add {LAPTOP_NAME}",
            f"link add {LAPTOP_NAME} type veth peer name eth0 netns {LAPTOP_NAME}",
            f"address add {GATEWAY}/24 dev {LAPTOP_NAME}",
            f"link set {LAPTOP_NAME} up",
        )
        _ip(
            "link set lo up",
            "link set eth0 up",
            f"address add {LAPTOP}/24 dev eth0",
            f"route add {SERVICES}/32 via {GATEWAY}",
            f"route add {PUBLIC}0/24 via {GATEWAY}",
            namespace=LAPTOP_NAME,
        )
        run("nft", "-f", "-", text=NAT)

    def plug_in(self, name: str, *, address: str, vpc_cidr: str, mac: str) -> Link:
        """A namespace for a machine, with its private address on the bridge."""
        link = Link(name, f"machine{next(self._numbers)}", address)
        _ip(
            f"netns add {name}",
            f"link add {link.device} type veth peer name eth0 address {mac} netns {name}",
            f"link set {link.device} master {BRIDGE} up",
            f"route replace {address}/32 dev {BRIDGE}",
        )
        _ip(
            "link set lo up",
            "link set eth0 up",
            f"address add {address}/32 dev eth0",
            f"route add {vpc_cidr} dev eth0 src {address}",
            f"route add {SERVICES}/32 dev eth0 src {address}",
            f"route add {METADATA}/32 dev eth0 src {address}",
            f"route add {INTERNET} via {SERVICES} dev eth0 src {address}",
            namespace=name,
        )
        return link

    def unplug(self, link: Link) -> None:
        """Take a machine's namespace away, with its cable."""
        _ip(f"netns delete {link.name}")

    def cut(self, link: Link) -> None:
        """Nothing goes to or from the machine any more; it is not told."""
        _ip(f"link set {link.device} down")

    def mend(self, link: Link) -> None:
        """Undo `cut`."""
        _ip(f"link set {link.device} up", f"route replace {link.address}/32 dev {BRIDGE}")

    def publish(self, addresses: dict[str, str]) -> None:
        """Public addresses lead to these private ones, and no others do."""
        if addresses == self._published:
            return
        pairs = ", ".join(f"{public} : {private}" for public, private in addresses.items())
        elements = f"add element ip rehearsal machines {{ {pairs} }}\n" if pairs else ""
        run("nft", "-f", "-", text=f"flush map ip rehearsal machines\n{elements}")
        self._published = dict(addresses)


def _ip(*lines: str, namespace: str = "") -> None:
    run("ip", *(["-netns", namespace] if namespace else []), "-batch", "-", text="\n".join(lines))
