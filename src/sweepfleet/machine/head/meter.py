"""What a run has cost so far: the workers' time, shared by the runs that go on, at the price that the job says.

The head looks at the group's size now and then; what is counted is as exact as that, and counts instances alone.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from sweepfleet.machine.job import Job, JobFolder

SWITCH_AFTER_S = 7200.0  # from when the head was there last, until AWS itself empties the group
UNSEEN_S = 60.0  # between two looks, beyond which the head was away


@dataclass(frozen=True, slots=True)
class Reading:
    """A job's meter."""

    worker_s: float = 0.0  # workers' seconds
    at: float = 0.0  # unix time of the last count; 0 before the first
    workers: int = 0  # that there were then

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
        """What that cost; None when the price is not known."""
        return None if job.usd_per_worker_hour is None else self.worker_s / 3600 * job.usd_per_worker_hour


def count(jobs: list[JobFolder], *, workers: int, now_s: float) -> None:
    """Count the workers' time since the last look, in equal shares for these jobs; mark those whose budget is spent.

    Time in which nobody looked counts, too: those that there were before ran on, until AWS's switch at the latest.
    """
    for folder in jobs:
        before = Reading.of(folder)
        since_s = max(0.0, now_s - before.at) if before.at else 0.0
        worker_s = since_s * workers
        if since_s > UNSEEN_S:
            worker_s = max(worker_s, before.workers * min(since_s, SWITCH_AFTER_S))
        now = Reading(before.worker_s + worker_s / len(jobs), now_s, workers)
        try:
            folder.write(folder.meter, json.dumps(asdict(now)))
        except OSError as error:  # as when the volume is full: the budget holds all the same
            print(f"the cost of {folder.path.name} cannot be recorded: {error}", flush=True)
        if over_budget(folder, now) and not folder.spent.exists():
            with contextlib.suppress(OSError):  # likewise; the next count says it again
                folder.spent.touch()


def over_budget(folder: JobFolder, now: Reading) -> bool:
    """Whether a job has cost what it may."""
    job = Job.from_json(folder.job.read_text())
    usd = now.usd(job)
    return usd is not None and job.budget_usd is not None and usd >= job.budget_usd
