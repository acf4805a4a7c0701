"""The dead-man's switch: a scheduled scale-to-zero that AWS itself carries out, whatever becomes of the head.

Whoever raises the number of workers sets it first; while runs are active, the keeper moves it ahead. Its time is
counted from AWS's own clock: one of this machine that is wrong could put it into the past, or years ahead.
"""

from __future__ import annotations

import http.client
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from sweepfleet.machine.head import meter

SWITCH = "sweepfleet-dead-man"
SWITCH_AFTER = timedelta(seconds=meter.SWITCH_AFTER_S)
LOOK_S = 20  # for AWS to say what time it is


def switch_time(date: str) -> datetime:
    """When the switch acts, from the `Date` header of an answer of AWS; pure.

    Raises:
        ValueError: that is no time.
    """
    return time_of(date) + SWITCH_AFTER


def time_of(date: str) -> datetime:
    """The time in a `Date` header; pure.

    Raises:
        ValueError: that is no time.
    """
    now = parsedate_to_datetime(date)
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).astimezone(UTC)


def date_of(url: str) -> str:
    """The `Date` header that a server sends, with whatever else it answers; "" when it sends none.

    Raises:
        OSError, http.client.HTTPException: it does not answer.
    """
    place = urlsplit(url)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.netloc, timeout=LOOK_S)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().headers.get("Date", "")
    finally:
        connection.close()
