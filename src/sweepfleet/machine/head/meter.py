"""What a run has cost so far: its share of the workers' time, at the price of each worker that was there.

The keeper looks at the group now and then; a run that begins or ends between two looks pays for that part of the
time, at its end by what the last look saw.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sweepfleet.machine.files import known
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
        return cls(**known(cls, said))

    def usd(self, job: Job) -> float | None:
        """What that cost; None when a price was unknown. Of an older release's meter: at the job's highest price."""
        if self.paid_usd is not None:
            return self.paid_usd
        return None if job.usd_per_worker_hour is None else self.worker_s / 3600 * job.usd_per_worker_hour

    @property
    def rate(self) -> float | None:
        """What it pays an hour now; None when that is unknown."""
        return None if self.usd_per_hour is None else self.share * self.usd_per_hour


def count(jobs: list[JobFolder], *, workers: int, now_s: float, usd_per_hour: float | None = None) -> float:
    """Count the workers' time since the last look for these jobs; mark those whose budget is spent.

    Time in which nobody looked counts, too: those that there were before ran on, until AWS's switch at the latest.

    Args:
        jobs: the active ones.
        workers: that are there.
        now_s: unix time.
        usd_per_hour: what these workers cost; None: unknown, and each counts at its job's highest price.

    Returns:
        seconds until the first of them will have cost its budget, if all goes on as now; infinity when none will.
    """
    next_s = math.inf
    before = [_begun(Reading.of(folder), folder, now_s) for folder in jobs]
    told = [folder.read_progress() for folder in jobs]
    lasted_s = [max(0.0, now_s - each.at) for each in before]
    since_s = max(lasted_s, default=0.0)
    capacity_s = max((_threads_each(each) for each in told), default=0.0) * workers * since_s
    uses = [_use(*each, since_s=since_s) for each in zip(before, told, lasted_s, strict=True)]
    parts = shares(uses, capacity_s=capacity_s)
    for place, folder in enumerate(jobs):
        job = Job.from_json(folder.job.read_text())
        rate = usd_per_hour
        if rate is None and job.usd_per_worker_hour is not None:
            rate = workers * job.usd_per_worker_hour
        now = _next(
            *(before[place], job, parts[place]),
            used_s=_used(told[place]),
            workers=workers,
            now_s=now_s,
            since_s=since_s,
            rate=rate,
        )
        _write(folder, now)
        if over_budget(job, now) and not folder.spent.exists():
            with contextlib.suppress(OSError):  # likewise; the next count says it again
                folder.spent.touch()
        next_s = min(next_s, _left_s(job, now))
    return next_s


def _left_s(job: Job, now: Reading) -> float:
    """Seconds until a job has cost its budget at what it pays now; infinity where that is unknown, or over."""
    usd, rate = now.usd(job), now.rate
    if usd is None or not rate or job.budget_usd is None or usd >= job.budget_usd:
        return math.inf
    return (job.budget_usd - usd) / rate * 3600


def settle(folder: JobFolder, *, now_s: float) -> Reading:
    """Count a job that ends, from the last look until now, as the keeper does no more; its reading then.

    One that the keeper has not seen yet pays for the workers that its driver knows, at its job's highest price.
    """
    seen = Reading.of(folder)
    before = _begun(seen, folder, now_s)
    lasted_s = min(max(0.0, now_s - before.at), UNSEEN_S)
    if seen.at:
        rate = before.rate
        paid = None if before.paid_usd is None or rate is None else before.paid_usd + lasted_s / 3600 * rate
        worker_s = before.workers * before.share * lasted_s
    else:
        paid = None
        worker_s = (folder.read_progress().get("progress") or {}).get("workers", 0) * lasted_s
    now = replace(before, worker_s=before.worker_s + worker_s, paid_usd=paid, at=now_s)
    _write(folder, now)
    return now


def _begun(reading: Reading, folder: JobFolder, now_s: float) -> Reading:
    """A job's reading; of one that has none yet, zero at the time at which it became active, a minute ago at most."""
    if reading.at:
        return reading
    began_s = now_s
    with contextlib.suppress(OSError):  # it has just ended
        began_s = folder.active.stat().st_mtime
    return replace(reading, at=min(now_s, max(began_s, now_s - UNSEEN_S)))


def _write(folder: JobFolder, now: Reading) -> None:
    try:
        folder.write(folder.meter, json.dumps(asdict(now)))
    except OSError as error:  # as when the volume is full: the budget holds all the same
        print(f"the cost of {folder.path.name} cannot be recorded: {error}", flush=True)


def over_budget(job: Job, now: Reading) -> bool:
    """Whether a job has cost what it may."""
    usd = now.usd(job)
    return usd is not None and job.budget_usd is not None and usd >= job.budget_usd


def _next(
    before: Reading,
    job: Job,
    part: Share,
    *,
    workers: int,
    now_s: float,
    since_s: float,
    rate: float | None,
    used_s: float,
) -> Reading:
    """A reading after a look; pure. `since_s`: of which `part` is a part."""
    worker_s = since_s * workers
    usd = None if rate is None else since_s / 3600 * rate
    if since_s > UNSEEN_S:
        unseen_s = min(since_s, SWITCH_AFTER_S)
        worker_s = max(worker_s, before.workers * unseen_s)
        if usd is not None:
            usd = max(usd, unseen_s / 3600 * (before.usd_per_hour or 0.0))
    paid = before.usd(job) if before.worker_s or before.paid_usd is not None else 0.0
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


def _use(before: Reading, said: Mapping[str, Any], lasted_s: float, *, since_s: float) -> Use:
    """What a run had since the last look; a driver that began anew counts from zero."""
    used_s = _used(said)
    news_s = used_s - before.used_s if used_s >= before.used_s else used_s
    lasted = lasted_s / since_s if since_s else 1.0
    return Use(before.carried_s + news_s, int(said.get("workers_needed", 1)), lasted)


def _used(said: Mapping[str, Any]) -> float:
    return float((said.get("progress") or {}).get("used_s", 0.0))


def _threads_each(said: Mapping[str, Any]) -> float:
    """The threads of a worker, as a driver knows them; 0: it does not."""
    progress = said.get("progress") or {}
    return progress.get("threads", 0) / progress["workers"] if progress.get("workers") else 0.0
