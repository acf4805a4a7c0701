"""This machine's address as the internet sees it: whom SSH is opened to when nobody said whom."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request

from sweepfleet.fleet.errors import ClusterError

CHECKIP_URL = "https://checkip.amazonaws.com"  # AWS's own: answers with the caller's address as a line of text
DEADLINE_S = 10


def own_cidr(url: str = CHECKIP_URL) -> str:
    """The caller's own address as a network of one, e.g. 203.0.113.7/32.

    Raises:
        ClusterError: there is no answer, or it is no public IPv4 address.
    """
    remedy = "Set your network yourself: pulumi config set --path 'sshCidrs[0]' 203.0.113.7/32"
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310 - the address is ours or the user's
            said = answer.read(100).decode("ascii", "replace").strip()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ClusterError(
            f"The public address of this machine is unknown: {url} did not answer ({error}). {remedy}"
        ) from None
    try:
        address = ipaddress.IPv4Address(said)
    except ValueError:
        raise ClusterError(f"{url} answered {said[:60]!r}, which is not an IPv4 address. {remedy}") from None
    if not address.is_global:
        raise ClusterError(f"{url} answered {address}, which is not a public address. {remedy}")
    return f"{address}/32"
