"""Growing pauses between retries, up to a limit."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_S = 1.0
LONGEST_S = 60.0
_jitter = random.Random()  # noqa: S311 - it only spreads the tries of many workers


def pauses(*, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> Iterator[float]:
    """Pauses between tries in seconds: each up to twice the one before, up to a limit; half of it is chance."""
    pause_s = first_s
    while True:
        yield pause_s * _jitter.uniform(0.5, 1.0)
        pause_s = min(longest_s, 2 * pause_s)
