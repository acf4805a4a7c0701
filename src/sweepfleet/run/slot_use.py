"""Which slots a run may use while its driver works, and the slot time that it had of them."""

from __future__ import annotations

import time

from sweepfleet.run.engine_port import EnginePort
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.slot_time import SlotTime


class SlotUse:
    """Tracks a run's slots; other runs' use of them is asked for in a thread of its own."""

    def __init__(self, engine: EnginePort) -> None:
        """`begin` starts it."""
        self._engine = engine
        self._time = SlotTime()

    def begin(self, now_s: float, *, slots: int) -> None:
        """Count from now on, at the first bundle.

        Args:
            now_s: unix time.
            slots: that the run may use.
        """
        self._see(now_s, slots)
        if self._engine.sharing is not None:
            self._engine.sharing.begin()

    def change(self, *, slots: int) -> None:
        """Note how many slots the run may use from now on."""
        self._see(time.time(), slots)

    def add_up(self, progress: Progress, *, last: bool = False) -> None:
        """Write the slot time into the progress; `last` asks for other runs' use until now."""
        sharing = self._engine.sharing
        if progress.last_result_s is None:
            return
        if sharing is not None and (held := sharing.last() if last else sharing.news()) is not None:
            self._time.settle(time.time(), held)
        progress.slot_s = self._time.had(progress.last_result_s)

    def note(self, progress: Progress) -> None:
        """Write what its bundles had of a cluster's workers into the progress, as it is known now."""
        if self._engine.sharing is not None:
            progress.used_s = self._engine.sharing.used_s
            progress.workers, progress.threads = self._engine.sharing.fleet
            progress.lost_s = self._engine.lost_s

    def _see(self, now_s: float, slots: int) -> None:
        self._time.see(now_s, slots=slots, of=max(1, self._engine.slots))
