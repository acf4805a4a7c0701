"""What an active run pays now, what it will have cost at its end, and what was paid for nothing; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sweepfleet.machine.head.meter import Reading
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.text import about_dollars, dollars, duration


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run's money from here on; None: unknown."""

    usd_per_hour: float | None = None  # that it pays now
    left_s: float | None = None  # until its end, on the slots that it has
    end_usd: float | None = None  # that it will have cost then
    idle_usd: float = 0.0  # paid for slots that had nothing to do
    lost_usd: float = 0.0  # paid for work that was lost with its machine
    deadline_s: float | None = None  # until its deadline, which may be over; None: it has none

    def lines(self, *, budget_usd: float | None) -> Iterator[str]:
        """It for a person."""
        said = [] if self.usd_per_hour is None else [f"now {dollars(self.usd_per_hour)} USD an hour"]
        if self.end_usd is not None and self.left_s is not None:
            over = budget_usd is not None and self.end_usd > budget_usd
            more = ", more than its budget: it stops there" if over else ""
            said.append(f"{about_dollars(self.end_usd)} USD at its end, in about {duration(self.left_s)}{more}")
        if said:
            yield " · ".join(said)
        if self.deadline_s is not None:
            yield f"deadline {self._until()}"
        nothing = [("idle slots", self.idle_usd), ("interruptions", self.lost_usd)]
        if any(usd > 0 for _, usd in nothing):
            yield f"of it for {' and '.join(f'{what} {dollars(usd)} USD' for what, usd in nothing if usd > 0)}"

    def _until(self) -> str:
        """Whether the deadline is met, on the slots that the run has."""
        if self.deadline_s is None or self.deadline_s <= 0:
            return "over: the run has as many workers as it can use"
        said = f"in {duration(self.deadline_s)}"
        if self.left_s is None:
            return said
        late_s = self.left_s - self.deadline_s
        return f"{said}: {'met' if late_s <= 0 else f'missed by about {duration(late_s)} with the workers of now'}"


def forecast(reading: Reading, progress: Progress | None, *, deadline_s: float | None = None) -> Forecast:
    """The forecast of a run, by its meter and its driver's last words; `deadline_s`: until its deadline."""
    rate = reading.rate
    if progress is None:
        return Forecast(rate, idle_usd=reading.idle_usd, deadline_s=deadline_s)
    left_s = progress.left_s if progress.mean_s and progress.slots else None
    spent = reading.paid_usd
    end = None if None in (left_s, rate, spent) else (spent or 0.0) + (left_s or 0.0) / 3600 * (rate or 0.0)
    slot_usd = 0.0 if rate is None else rate / max(1, progress.slots)
    lost_usd = min(progress.lost_s / 3600 * slot_usd, spent or 0.0)
    return Forecast(rate, left_s, end, reading.idle_usd, lost_usd, deadline_s)
