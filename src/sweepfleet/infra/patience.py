"""How long spot instances are waited for before on-demand ones take their place: the setting `spotPatience`.

Standard library only. Its seconds are a tag of the on-demand group, which the head reads with the group: a change
takes effect with the next `inv up`, and no head is replaced for it.
"""

from __future__ import annotations

import re

PATIENCE_TAG = "sweepfleet:spot-patience-s"  # `machine.facts` has it, too
NEVER = "never"
UNITS = {"s": 1, "m": 60, "h": 3600}
DURATION = re.compile(r"(?P<count>[1-9]\d{0,5})(?P<unit>[smh])")


def seconds(text: str) -> float | None:
    """The duration in seconds; None for `never`, and for what `is_patience` refuses."""
    found = DURATION.fullmatch(text)
    return None if found is None else float(int(found["count"]) * UNITS[found["unit"]])


def is_patience(text: str) -> bool:
    """Whether a text is such a duration, or `never`."""
    return text == NEVER or seconds(text) is not None


def tag_value(text: str) -> str:
    """What the tag holds: whole seconds, or `never`."""
    found = seconds(text)
    return NEVER if found is None else f"{found:.0f}"
