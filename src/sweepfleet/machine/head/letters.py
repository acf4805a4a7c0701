"""What stands in a letter to the head, and whether it is for this head, now; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MOST_BYTES = 65_536
EXPIRES_S = 86_400  # a head that was off for a night does it nonetheless
LONGEST_S = 7 * EXPIRES_S
AGAIN = {"push": "inv ci.deploy", "sweep": "inv ci.sweeps"}  # by what is asked for, the command that asks again
PLAIN = " or ".join(AGAIN.values())


class RefusedError(Exception):
    """A letter cannot be done as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter."""

    kind: str
    volume: str  # the data volume of the cluster that it is for
    expires_s: float  # from when S3 stored it
    asked: dict[str, Any]


def stamped(what: dict[str, Any], *, volume: str, now: datetime) -> dict[str, Any]:
    """A letter's text: what is asked for, for which cluster, when it was sent and how long it can be done."""
    sent = now.astimezone(UTC).isoformat(timespec="seconds")
    return {**what, "volume": volume, "sent": sent, "expires_s": EXPIRES_S}


def read(text: str) -> Letter:
    """A letter out of its text.

    Raises:
        RefusedError: it is none, or is one of an older version, which does not say for which cluster it is.
    """
    try:
        asked = json.loads(text)
        kind = str(asked["kind"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError(f"The request cannot be read: {error!r}. Send it again: {PLAIN}") from None
    volume, sent, expires_s = (asked.get(name) for name in ("volume", "sent", "expires_s"))
    number = isinstance(expires_s, int | float) and not isinstance(expires_s, bool)
    if not (isinstance(volume, str) and volume and isinstance(sent, str) and number):
        raise RefusedError(
            "The request does not say when it was sent, when it expires and for which data volume it is: an older "
            f"version sent it. Nothing was done. Update the checkout that sends it, then: {AGAIN.get(kind, PLAIN)}"
        )
    return Letter(kind, volume, float(max(min(expires_s, LONGEST_S), 0)), asked)


def check(letter: Letter, *, volume: str, stored: datetime, now: datetime) -> None:
    """Be sure that a letter is for the cluster with this data volume, and has not expired.

    Args:
        letter: it.
        volume: this head's.
        stored: when S3 stored it, by S3's own clock.
        now: by the same clock.

    Raises:
        RefusedError: it is not; says how to send it again.
    """
    again = f"Nothing was done. Send it again: {AGAIN.get(letter.kind, PLAIN)}"
    if letter.volume != volume:
        raise RefusedError(
            f"The request is for the cluster with the data volume {letter.volume}; this one has {volume}. {again}"
        )
    age_s = (now - stored).total_seconds()
    if not age_s <= letter.expires_s:
        hours = f"it was sent {age_s / 3600:,.1f} h ago and was valid for {letter.expires_s / 3600:,.1f} h"
        raise RefusedError(f"The request has expired: {hours}. {again}")
