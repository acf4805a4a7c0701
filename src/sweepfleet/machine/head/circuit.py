"""A circuit breaker for launches: a group whose launches go on failing for one reason is asked less often. Pure.

AWS's group itself tries its other types and zones for each launch: one that fails has failed in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweepfleet.machine.launches import UNKNOWN, Activity, Reason, reason_of

FAILURES = 3  # looks that found launches failed for the same reason, and none that succeeded
WAITS_S = (120.0, 600.0)  # the first pause and the longest, for what goes by itself: capacity
FIXED_S = (300.0, 3600.0)  # for what somebody has to fix: a quota, a type, a role


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of a group's launches."""

    last: str  # the newest launch that was seen, as AWS writes times; older ones do not count
    failures: int = 0  # looks in a row that found failures for this reason
    reason: Reason = UNKNOWN
    said: str = ""  # AWS's words at the last failure; empty: the last launch succeeded
    opened: int = 0  # times in a row that it was opened
    until_s: float = float("-inf")  # nothing is asked for until then, on the clock of `now_s`

    def is_open(self, now_s: float) -> bool:
        """Whether to ask for nothing now."""
        return now_s < self.until_s

    def looked(self, launches: Sequence[Activity], *, now_s: float, patience_s: float | None = None) -> Circuit:
        """The same after a look at the group's launches.

        Args:
            launches: the last ones, in any order.
            now_s: time.monotonic().
            patience_s: how long missing capacity is waited for; None: for ever.
        """
        news = sorted((one for one in launches if one.ended and one.at > self.last), key=lambda one: one.at)
        if not news:
            return self
        newest = news[-1]
        if not newest.failed:
            return Circuit(newest.at)
        reason = reason_of(newest.said)
        if reason.name != self.reason.name or not self.said:
            return Circuit(newest.at, 1, reason, newest.said)
        same = replace(self, last=newest.at, failures=self.failures + 1, said=newest.said)
        if self.is_open(now_s) or same.failures < FAILURES:  # of a request from before it was opened
            return same
        return replace(same, opened=self.opened + 1, until_s=now_s + pause_s(reason, self.opened, patience_s))


def pause_s(reason: Reason, opened: int, patience_s: float | None = None) -> float:
    """For how long nothing is asked for, after the circuit was opened so often before.

    A short patience shortens the first pause for missing capacity.
    """
    first_s, longest_s = WAITS_S if reason.waits else FIXED_S
    if reason.waits and patience_s is not None:
        first_s = min(first_s, patience_s)
    return min(longest_s, first_s * 2.0 ** min(opened, 10))
