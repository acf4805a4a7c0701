"""A sweep's progress and why it stopped: counted by the driver, shown by bars, logs and summaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Why it stopped early: the user, a limit of theirs, money, years of work, a metric that nothing returns, one cause of
# all failures.
Stop = Literal["interrupted", "failed", "budget", "too long", "metric", "cause"]

# A run that is over sooner says nothing of how busy slots are: most of it was handing out and taking back.
EFFICIENCY_AFTER_S = 1.0


@dataclass
class Progress:
    """A sweep's progress; only committed points count."""

    total: int  # the plan's points, or an estimate
    exact: bool
    resumed: int  # found finished
    done: int = 0  # finished ones, the resumed included
    failed: int = 0  # failed ones, those of earlier commands included
    computed: int = 0  # ended by this command
    failed_now: int = 0  # of them failed
    retried: int = 0  # attempts that were or will be repeated
    losses: int = 0  # processes and machines taken away
    lost_s: float = 0.0  # slot time of bundles that were lost with their machine
    busy_s: float = 0.0  # of all attempts of this command, added up
    slots: int = 0  # that it may use now
    slot_s: float | None = None  # slot-seconds that it had, without what other runs held; None: slots times wall_s
    used_s: float = 0.0  # thread-seconds that its bundles had on a cluster, as far as its workers were asked
    workers: int = 0  # of the cluster, when they were asked
    threads: int = 0  # of all of them
    first_submit_s: float | None = None  # unix time, as the next two
    first_result_s: float | None = None
    last_result_s: float | None = None
    best: tuple[float, int, int] | None = None  # sign * mean, its first point's index, and how many points it is of
    best_of_all: bool = True  # whether all that has ended was looked at for it
    running: int = 0  # bundles that have a slot, while no result comes; 0 while results come
    longest_s: float = 0.0  # that one of them has had it
    waits: str = ""  # what finished points wait for before they count
    waits_since: float | None = None  # unix time
    paused: bool = False  # nothing runs, since nothing more can be written
    stopping: bool = False
    why: str = ""  # it stops early, where that is not the user's own limit

    @property
    def wall_s(self) -> float:
        """From the first bundle sent to the last result."""
        if self.first_submit_s is None or self.last_result_s is None:
            return 0.0
        return self.last_result_s - self.first_submit_s

    @property
    def mean_s(self) -> float:
        """Of an attempt of this command; 0 before the first."""
        attempts = self.computed + self.retried
        return self.busy_s / attempts if attempts else 0.0

    @property
    def left(self) -> int:
        """Points that have not ended, as far as they can be counted."""
        return max(0, self.total - self.done - self.failed)

    @property
    def left_s(self) -> float:
        """The time for them on these slots, if they are like those of this command."""
        return self.left * self.mean_s / max(1, self.slots)

    @property
    def mean_slots(self) -> float:
        """The average number of slots; a whole number where it was constant."""
        if self.slot_s is None or self.wall_s <= 0:
            return self.slots
        mean = round(self.slot_s / self.wall_s, 2)
        return int(mean) if mean == int(mean) else mean

    @property
    def efficiency(self) -> float | None:
        """The share of the run's slot time that points had; None before the first result."""
        available_s = self.slots * self.wall_s if self.slot_s is None else self.slot_s
        return min(1.0, self.busy_s / available_s) if available_s > 0 else None
