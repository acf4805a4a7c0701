"""What a run has cost so far: its share of the workers' time, at the price of each worker that was there.

The head looks at the group now and then; what is counted is as exact as that.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sweepfleet.machine.head.shares import Share, Use, shares
from sweepfleet.machine.job import Job, JobFolder

SWITCH_AFTER_S = 7200.0  # from when the head was there last, until AWS itself empties the group
UNSEEN_S = 60.0  # between two looks, beyond which the head was away


@dataclass(frozen=True, slots=True)
class Reading:
    """A job's meter."""

    worker_s: float = 0.0  # workers' seconds
    at: float = 0.0  # unix time of the last count; 0 before the first
    workers: int = 0  # that there were then
    paid_usd: float | None = None  # None: a price was unknown, or an older release counted
    idle_usd: float = 0.0  # of it, for time in which slots had nothing to do
    usd_per_hour: float | None = None  # of all workers that there were at the last count
    share: float = 0.0  # of them, that it paid then
    used_s: float = 0.0  # thread-seconds of its bundles at the last count, as its driver says
    carried_s: float = 0.0  # of them, not counted yet

    @classmethod
    def of(cls, folder: JobFolder) -> Reading:
        """A job's reading; zero when there is none."""
        return cls.parse(folder.meter.read_text()) if folder.meter.exists() else cls()

    @classmethod
    def parse(cls, text: str) -> Reading:
        """Out of the meter's file, which may be another release's; zero when it is empty."""
        said = json.loads(text) if text.strip() else {}
        return cls(**{name: value for name, value in said.items() if name in cls.__dataclass_fields__})

    def usd(self, job: Job) -> float | None:
        """What that cost; None when a price was unknown. Of an older release's meter: at the job's highest price."""
        if self.paid_usd is not None:
            return self.paid_usd
        return None if job.usd_per_worker_hour is None else self.worker_s / 3600 * job.usd_per_worker_hour

    @property
    def rate(self) -> float | None:
        """What it pays an hour now; None when that is unknown."""
        return None if self.usd_per_hour is None else self.share * self.usd_per_hour


def count(jobs: list[JobFolder], *, workers: int, now_s: float, usd_per_hour: float | None = None) -> None:
    """Count the workers' time since the last look for these jobs; mark those whose budget is spent.

    Time in which nobody looked counts, too: those that there were before ran on, until AWS's switch at the latest.

    Args:
        jobs: the active ones.
        workers: that are there.
        now_s: unix time.
        usd_per_hour: what these workers cost; None: unknown, and each counts at its job's highest price.
    """
    before = [Reading.of(folder) for folder in jobs]
    told = [folder.read_progress() for folder in jobs]
    since_s = max((_since(each, now_s) for each in before), default=0.0)
    capacity_s = max((_threads_each(each) for each in told), default=0.0) * workers * since_s
    old = [place for place, reading in enumerate(before) if reading.at]  # a new one has not had anything yet
    parts = dict(zip(old, shares([_use(before[one], told[one]) for one in old], capacity_s=capacity_s), strict=True))
    for place, folder in enumerate(jobs):
        part = parts.get(place, Share(0.0, 0.0, 0.0))
        job = Job.from_json(folder.job.read_text())
        rate = usd_per_hour
        if rate is None and job.usd_per_worker_hour is not None:
            rate = workers * job.usd_per_worker_hour
        now = _next(before[place], job, part, used_s=_used(told[place]), workers=workers, now_s=now_s, rate=rate)
        try:
            folder.write(folder.meter, json.dumps(asdict(now)))
        except OSError as error:  # as when the volume is full: the budget holds all the same
            print(f"the cost of {folder.path.name} cannot be recorded: {error}", flush=True)
        if over_budget(job, now) and not folder.spent.exists():
            with contextlib.suppress(OSError):  # likewise; the next count says it again
                folder.spent.touch()


def over_budget(job: Job, now: Reading) -> bool:
    """Whether a job has cost what it may."""
    usd = now.usd(job)
    return usd is not None and job.budget_usd is not None and usd >= job.budget_usd


def _next(
    before: Reading, job: Job, part: Share, *, workers: int, now_s: float, rate: float | None, used_s: float
) -> Reading:
    """A reading after a look; pure."""
    since_s = _since(before, now_s)
    worker_s = since_s * workers
    usd = None if rate is None else since_s / 3600 * rate
    if since_s > UNSEEN_S:
        unseen_s = min(since_s, SWITCH_AFTER_S)
        worker_s = max(worker_s, before.workers * unseen_s)
        if usd is not None:
            usd = max(usd, unseen_s / 3600 * (before.usd_per_hour or 0.0))
    paid = before.usd(job) if before.at else 0.0
    return Reading(
        worker_s=before.worker_s + worker_s * part.whole,
        at=now_s,
        workers=workers,
        paid_usd=None if usd is None or paid is None else paid + usd * part.whole,
        idle_usd=before.idle_usd + (usd or 0.0) * part.idle,
        usd_per_hour=rate,
        share=part.whole,
        used_s=used_s,
        carried_s=part.carried_s,
    )


def _since(before: Reading, now_s: float) -> float:
    """Seconds since the last count; 0 before the first, and where the clock went back."""
    return max(0.0, now_s - before.at) if before.at else 0.0


def _use(before: Reading, said: Mapping[str, Any]) -> Use:
    """What a run had since the last look; a driver that began anew counts from zero."""
    used_s = _used(said)
    news_s = used_s - before.used_s if used_s >= before.used_s else used_s
    return Use(before.carried_s + news_s, int(said.get("workers_needed", 1)))


def _used(said: Mapping[str, Any]) -> float:
    return float((said.get("progress") or {}).get("used_s", 0.0))


def _threads_each(said: Mapping[str, Any]) -> float:
    """The threads of a worker, as a driver knows them; 0: it does not."""
    progress = said.get("progress") or {}
    return progress.get("threads", 0) / progress["workers"] if progress.get("workers") else 0.0
