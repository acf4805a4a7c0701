"""The active runs: how far each is, what it waits for, what it costs, and whether the bucket has it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweepfleet.fleet.money.cost import Cost, cost, metered
from sweepfleet.fleet.money.forecast import Forecast, forecast
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs.jobs import State, progress_of
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.job import Job
from sweepfleet.run.text import duration

STORED = Data(Path(MachinePaths().data)).stored


@dataclass(frozen=True, slots=True)
class RunStatus:
    """An active run now."""

    name: str
    state: str  # starting, waiting, running
    done: int | None  # points, or an Executor's calls; None before it has begun
    total: int | None
    waiting_for: str
    waits: str  # what finished points wait for; empty: nothing
    waits_since: datetime | None
    cost: Cost  # so far
    forecast: Forecast = field(default_factory=Forecast)  # from here on
    unit: str = "point"  # or call
    unstored: str = ""  # why what it has cannot be stored in the bucket now; empty: it can
    stored: datetime | None = None  # of when the bucket has it; None: it has nothing yet

    def lines(self, now: datetime) -> Iterator[str]:
        """It for a person."""
        count = self.waiting_for
        if self.done is not None and self.total is not None:
            count = f"{self.done:,} of {counted(self.total, self.unit)}"
        watch = f" · inv attach --name {self.name}" if self.unit == "point" else ""
        yield f"Run {self.name}: {self.state}{f', {count}' if count else ''}{watch}"
        if self.waits and self.waits_since:
            yield f"  {self.waits}, for {since(self.waits_since, now)}"
        yield f"  cost so far {self.cost}"
        for line in self.forecast.lines(budget_usd=self.cost.budget_usd):
            yield f"  {line}"
        if self.unstored:
            last = f"since {self.stored.astimezone():%Y-%m-%d %H:%M}" if self.stored else "yet"
            yield f"  not stored in the bucket {last}, tried again: {self.unstored}"


def active(host: Host) -> tuple[RunStatus, ...]:
    """The active runs. Raises ClusterError: the head does not answer."""
    text = host.ask("sh", "-c", data_volume.needed('cat "$1" 2>/dev/null || true'), "stored", str(STORED))
    return tuple(
        run_status(runs.state(host, name), *metered(host, name), stored=_stored(text, name))
        for name in runs.names(host, active=True)
    )


def _stored(text: str, name: str) -> Mapping[str, Any]:
    """What the head says of one run in the bucket; empty where it says nothing, or an older release runs there."""
    try:
        found = json.loads(text)["runs"][name]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def run_status(now: State, reading: Reading, job: Job, *, stored: Mapping[str, Any]) -> RunStatus:
    """An active run, out of what its folder on the head says.

    Args:
        now: its state.
        reading: its meter.
        job: it, as it was submitted.
        stored: when it was stored in the bucket last, and why it cannot be.
    """
    done = now.progress or {}
    calls = now.calls or {}
    if calls:
        ended = calls["done"] + calls["failed"]
        done = {"done": ended, "total": ended + calls["open"]}
    waits = str(done.get("waits") or "")
    left_s = None if job.deadline is None else job.deadline - (now.said or time.time())
    return RunStatus(
        name=job.name,
        state=now.state,
        done=int(done.get("done", 0)) if done else None,
        total=int(done.get("total", 0)) if done else None,
        waiting_for=now.waiting_for,
        waits=waits,
        waits_since=datetime.fromtimestamp(done["waits_since"], UTC) if waits else None,
        cost=cost(reading, job),
        forecast=forecast(reading, progress_of(now) if now.progress else None, deadline_s=left_s),
        unit="call" if calls else "point",
        unstored=str(stored.get("error") or ""),
        stored=datetime.fromtimestamp(stored["at"], UTC) if stored.get("at") else None,
    )


def since(when: datetime, now: datetime) -> str:
    """How long ago a moment is, for a person."""
    return duration(max(0.0, (now - when).total_seconds()))
