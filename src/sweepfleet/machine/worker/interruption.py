"""Spot instances' interruption notices, as the instance's own metadata service has them."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime

IMDS = "http://169.254.169.254/latest"
TOKEN_S = 21600
PROMISED_S = 120.0  # from the notice to the end


def notice() -> str | None:
    """The interruption notice of this instance; None when there is none, or the service does not answer.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    try:
        token = _ask("api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)})
        return _ask("meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token})
    except (urllib.error.URLError, OSError):
        return None


def seconds_left(notice: str) -> float:
    """How long AWS leaves the instance, as its notice says; what it promises where that cannot be read."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        at = datetime.fromisoformat(json.loads(notice)["time"])
        return (at - datetime.now(UTC)).total_seconds()
    return PROMISED_S


def _ask(path: str, *, method: str = "GET", headers: dict[str, str]) -> str:
    request = urllib.request.Request(f"{IMDS}/{path}", method=method, headers=headers)  # noqa: S310 - a fixed address
    with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
        return str(answer.read().decode())
