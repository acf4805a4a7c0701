"""A run's slot time: that of all slots it may use, minus other runs' use of them. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Held(NamedTuple):
    """The time that bundles had slots, in slot-seconds since a run began, over all workers."""

    mine_s: float = 0.0
    others_s: float = 0.0  # by bundles of other runs


class SlotTime:
    """Adds up slot-seconds; times are unix times, or any others.

    A slot that nobody holds counts for each run that may use it. With one run, the result is slots times time.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._slots = self._all = 0
        self._offered = self._existed = 0.0  # until `_since_s`, slots that it may use and all of them
        self._settled = (0.0, 0.0)  # both of them when `settle` was called last
        self._held = Held()
        self._lost = 0.0  # of what was offered, what others held

    def see(self, now_s: float, *, slots: int, of: int) -> None:
        """Note how many slots the run may use from now on, and how many there are."""
        if self._since_s is None or (slots, of) != (self._slots, self._all):
            self._offered, self._existed = self._sums(now_s)
            self._since_s, self._slots, self._all = now_s, slots, of

    def settle(self, now_s: float, held: Held) -> None:
        """Add the slot time used until now."""
        offered, existed = self._sums(now_s)
        mine_s, others_s = held.mine_s - self._held.mine_s, held.others_s - self._held.others_s
        could_s, were_s = offered - self._settled[0], existed - self._settled[1]
        # What it held it had, also where the moments of two measurements differ.
        self._lost += could_s - min(could_s, max(were_s - others_s, mine_s))
        self._settled, self._held = (offered, existed), held

    def had(self, now_s: float) -> float:
        """The run's slot-seconds until now, as far as other runs' use is known."""
        return max(0.0, self._sums(now_s)[0] - self._lost)

    def _sums(self, now_s: float) -> tuple[float, float]:
        for_s = 0.0 if self._since_s is None else now_s - self._since_s
        return self._offered + self._slots * for_s, self._existed + self._all * for_s
