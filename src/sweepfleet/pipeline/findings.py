"""What a rule of the policy finds, and what rules share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BY_HAND = "If it is intended, run inv up from a laptop, after fetching what is to be kept"

Found = Iterator[tuple[str, str, str]]  # rule, what was seen, remedy


def listed(found: Any) -> list[dict[str, Any]]:
    """A list of blocks; one that is not known counts as a block that says nothing."""
    if found is None:
        return []
    return [one if isinstance(one, dict) else {} for one in found] if isinstance(found, list) else [{}]
