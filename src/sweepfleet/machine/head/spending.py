"""What all workers of the stack have cost, by day: whoever used them, and those that nobody used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from sweepfleet.machine.files import known, write_whole
from sweepfleet.machine.head.meter import SWITCH_AFTER_S, UNSEEN_S

DAYS = 800  # that are kept


@dataclass(frozen=True, slots=True)
class Day:
    """The workers of one day, by UTC."""

    worker_s: float = 0.0
    usd: float = 0.0
    unused_usd: float = 0.0  # of it, while no run was active
    unpriced_s: float = 0.0  # workers' seconds of an unknown price, which are not in it
    head_s: float | None = None  # in which the head was up; None: of an older version, which let no head sleep


@dataclass(frozen=True, slots=True)
class Spending:
    """All days, and the last look."""

    days: dict[str, Day]  # by date, as ISO 8601 has it
    at: float = 0.0  # unix time of the last look; 0 before the first
    workers: int = 0  # that there were then
    usd_per_hour: float | None = None  # that they cost

    @classmethod
    def parse(cls, text: str) -> Spending:
        """Out of the file; empty when there is none, or half of one."""
        try:
            said = json.loads(text)
            days = {day: Day(**known(Day, one)) for day, one in said["days"].items()}
            return cls(days, said["at"], said["workers"], said["usd_per_hour"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls({})

    def to_json(self) -> str:
        """As `parse` reads it."""
        return json.dumps(asdict(self)) + "\n"


def looked(before: Spending, *, workers: int, usd_per_hour: float | None, used: bool, now_s: float) -> Spending:
    """The same after a look; pure. Time in which nobody looked counts as in `meter`.

    Args:
        before: after the look before.
        workers: that are there.
        usd_per_hour: that they cost; None: unknown.
        used: whether a run is active.
        now_s: unix time.
    """
    since_s = max(0.0, now_s - before.at) if before.at else 0.0
    worker_s, usd = since_s * workers, (usd_per_hour or 0.0) * since_s / 3600
    if since_s > UNSEEN_S:
        unseen_s = min(since_s, SWITCH_AFTER_S)
        worker_s = max(worker_s, before.workers * unseen_s)
        usd = max(usd, (before.usd_per_hour or 0.0) * unseen_s / 3600)
    date = datetime.fromtimestamp(now_s, UTC).date().isoformat()
    day = before.days.get(date, Day())
    day = replace(
        day,
        worker_s=day.worker_s + worker_s,
        usd=day.usd + usd,
        unused_usd=day.unused_usd + (0.0 if used else usd),
        unpriced_s=day.unpriced_s + (worker_s if usd_per_hour is None else 0.0),
        head_s=_head_s(before.days.get(date), since_s=min(since_s, UNSEEN_S)),
    )
    kept = sorted({**before.days, date: day}.items())[-DAYS:]
    return Spending(dict(kept), now_s, workers, usd_per_hour)


def _head_s(day: Day | None, *, since_s: float) -> float | None:
    """The time in which the head was up on a day, with the time since the look before."""
    if day is None:
        return since_s
    # A day that an older version has begun is counted whole by whoever reads it.
    return None if day.head_s is None else day.head_s + since_s


def head_hours(days: Mapping[str, Day], *, since: datetime, now: datetime) -> float:
    """The hours between two times in which the head was up; pure.

    Where nothing says so it was: before the first look, and on days of a version that let no head sleep.
    """
    first, found, date = min(days, default=""), 0.0, since.date()
    while date <= now.date():
        begin = datetime.combine(date, time.min, UTC)
        whole_s = (min(now, begin + timedelta(days=1)) - max(since, begin)).total_seconds()
        day = days.get(date.isoformat())
        if day is not None and day.head_s is not None:
            found += min(whole_s, day.head_s)
        elif day is not None or not first or date.isoformat() < first:
            found += whole_s
        date += timedelta(days=1)
    return found / 3600


def note(file: Path, *, workers: int, usd_per_hour: float | None, used: bool, now_s: float) -> None:
    """Add a look to the file; what cannot be written is said, and counted by the next look."""
    before = Spending.parse(file.read_text()) if file.exists() else Spending({})
    now = looked(before, workers=workers, usd_per_hour=usd_per_hour, used=used, now_s=now_s)
    try:
        write_whole(file, now.to_json())
    except OSError as error:
        print(f"what the workers cost cannot be recorded: {error}", flush=True)
