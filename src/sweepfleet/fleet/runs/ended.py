"""The last runs that have ended on the cluster: how, when, and what each has cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweepfleet.fleet.money.cost import Cost, cost
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs.jobs import JOBS
from sweepfleet.grid.errors import printable
from sweepfleet.grid.wording import counted
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.job import Job
from sweepfleet.run.text import cut, duration

SHOWN = 5
ERROR_WIDTH = 100

# The folders of the jobs that have ended, the last ones first: `progress.json` says when, or else the removal of
# `active`, which changes the folder. `.new-NAME` is a job that is just being taken over.
LAST = """
import json, os, sys
from pathlib import Path

def text(file):
    return file.read_text() if file.exists() else ""

def said(folder):
    try:
        found = json.loads(text(folder / "progress.json") or "{}")
    except ValueError:
        found = {}
    at = found.get("at") if found.get("state") == "ended" else None
    return {"progress": found, "at": at or folder.stat().st_mtime}

jobs, most = Path(sys.argv[1]), int(sys.argv[2])
folders = [file.parent for file in jobs.glob("[!.]*/job.json") if not (file.parent / "active").exists()]
files = {"job": "job.json", "meter": "meter.json"}
found = [said(one) | {name: text(one / file) for name, file in files.items()} for one in folders]
found.sort(key=lambda one: one["at"], reverse=True)
print(json.dumps(found[:most]))
"""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run's end, as its folder on the head says it."""

    name: str
    state: str  # a summary's, or cancelled, refused, error
    at: datetime
    points: str  # how many it has, and how they ended; empty when it has none
    error: str
    cost: Cost

    @classmethod
    def of(cls, found: dict[str, Any]) -> EndedRun:
        """Out of what the head says of one."""
        job, said = Job.from_json(found["job"]), found["progress"]
        summary = said.get("summary") or {}
        reading = Reading.parse(found["meter"])
        return cls(
            name=job.name,
            state=_state(said),
            at=datetime.fromtimestamp(found["at"], UTC),
            points=_points(summary),
            error=next(iter(str(said.get("error") or "").strip().splitlines()), ""),
            cost=replace(cost(reading, job), budget_usd=None),
        )

    def line(self, now: datetime) -> str:
        """It for a person."""
        ago = duration(max(0.0, (now - self.at).total_seconds()))
        when = self.at.astimezone().strftime("%Y-%m-%d %H:%M")
        error = cut(printable(self.error), ERROR_WIDTH)
        parts = [f"{self.state}, ended {when} ({ago} ago)", self.points, f"cost {self.cost}", error]
        return f"{self.name}: {' · '.join(part for part in parts if part)}"


def _state(said: dict[str, Any]) -> str:
    """One word for how it ended."""
    if said.get("state") != "ended":
        return "cancelled"  # before its driver could say so
    if said.get("exit_code") == 2:
        return "refused"
    failed = said.get("exit_code") or said.get("error")
    return str((said.get("summary") or {}).get("state") or ("error" if failed else "done"))


def _points(summary: dict[str, Any]) -> str:
    if not summary:
        return ""
    if calls := summary.get("calls"):
        lost = f", {calls['failed']:,} failed" if calls["failed"] else ""
        return f"{counted(calls['done'], 'call')} done{lost}"
    failed = f", {summary['failed']:,} failed" if summary["failed"] else ""
    about = "" if summary["points_exact"] else "about "
    return f"{summary['done']:,} of {about}{counted(summary['points'], 'point')} done{failed}"


def ended_runs(head: Host, *, most: int = SHOWN) -> list[EndedRun]:
    """The runs that ended last, the last one first. Raises ClusterError when the head does not answer."""
    script = data_volume.needed('exec python3 -c "$1" "$2" "$3"')
    found = json.loads(head.ask("sh", "-c", script, "ended", LAST, JOBS, str(most)))
    return [EndedRun.of(one) for one in found]


def ended_lines(found: Sequence[EndedRun], now: datetime) -> Iterator[str]:
    """They for a person; nothing when there are none."""
    if found:
        yield "Ended runs, the last one first:"
    for one in found:
        yield f"  {one.line(now)}"
