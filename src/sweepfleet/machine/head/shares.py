"""How runs share the workers' cost: by the slots that worked for each, and idle time by what each asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CARRIED = 20  # times what the workers can do between two looks, that is counted later at most


@dataclass(frozen=True, slots=True)
class Use:
    """What a run had of the workers since the last look."""

    worked_s: float  # of threads, for its bundles, and what was not counted before
    wanted: int  # workers that it asked for
    lasted: float = 1.0  # the part of that time in which it was active


@dataclass(frozen=True, slots=True)
class Share:
    """A run's part of the workers' time since the last look.

    All parts are 1 together, but that idle time is nobody's while no run wants workers, as when results are stored.
    """

    worked: float
    idle: float
    carried_s: float  # of threads: news that came late, and are more than the workers can have done since

    @property
    def whole(self) -> float:
        """All that it pays."""
        return self.worked + self.idle


def shares(uses: Sequence[Use], *, capacity_s: float) -> list[Share]:
    """The share of each run.

    Args:
        uses: of each run.
        capacity_s: thread-seconds that the workers had since the last look; 0: it is unknown.
    """
    worked_s = sum(use.worked_s for use in uses)
    busy = min(1.0, worked_s / capacity_s) if capacity_s > 0 else 0.0
    counted = busy * capacity_s / worked_s if worked_s else 0.0  # of each second that was worked
    wanted = sum(use.wanted * use.lasted for use in uses)
    found = []
    for use in uses:
        worked = use.worked_s / worked_s * busy if worked_s else 0.0
        idle = (1 - busy) * use.wanted * use.lasted / wanted if wanted else 0.0
        carried_s = min(use.worked_s * (1 - counted), CARRIED * capacity_s)
        found.append(Share(worked, idle, carried_s))
    return found
