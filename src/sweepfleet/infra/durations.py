"""Durations in settings, such as `10m` or `never`, and as the head reads them: whole seconds in a group's tag.

Standard library only. The head reads the tags with the groups, so a changed duration replaces and restarts no head.
"""

from __future__ import annotations

import re

NEVER = "never"
LEAST_IDLE_S = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
IDLE_STOP = re.compile(r"(\d{1,6})([smhd])")
PATIENCE = re.compile(r"([1-9]\d{0,5})([smh])")


def idle_stop_s(text: str) -> float | None:
    """`headIdleStop` in seconds; None for `never`. Raises ValueError: it is no duration, or is too short."""
    found = _seconds(IDLE_STOP, text)
    if found is not None and found < LEAST_IDLE_S:
        raise ValueError(text)
    return found


def patience_s(text: str) -> float | None:
    """`spotPatience` in seconds; None for `never`. Raises ValueError: it is no duration."""
    return _seconds(PATIENCE, text)


def tag_value(seconds: float | None) -> str:
    """What a tag holds: whole seconds, or `never`."""
    return NEVER if seconds is None else f"{seconds:.0f}"


def _seconds(form: re.Pattern[str], text: str) -> float | None:
    if text == NEVER:
        return None
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return float(int(found[1]) * SECONDS[found[2]])
