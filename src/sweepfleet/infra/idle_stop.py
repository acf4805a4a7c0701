"""`headIdleStop`: after what time without a use the head stops itself. Standard library only."""

from __future__ import annotations

import re

NEVER = "never"
LEAST_S = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"(\d{1,6})([smhd])")


def as_tag(text: str) -> str:
    """The setting as the head reads it from the tag of its group: whole seconds, or `never`."""
    seconds = idle_stop_s(text)
    return NEVER if seconds is None else f"{seconds:.0f}"


def idle_stop_s(text: str) -> float | None:
    """The setting in seconds; None for `never`. Raises ValueError: it is no duration, or is too short."""
    if text == NEVER:
        return None
    found = DURATION.fullmatch(text)
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if seconds < LEAST_S:
        raise ValueError(text)
    return float(seconds)
