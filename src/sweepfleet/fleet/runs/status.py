"""What a cluster is doing: facts for programs, and lines for a person."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweepfleet.fleet.code.push import Pushed, current_release, fleet_release
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Cost, cost, metered
from sweepfleet.fleet.money.forecast import Forecast, forecast
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs.ended import EndedRun, ended_lines, ended_runs
from sweepfleet.fleet.runs.jobs import progress_of
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.facts import Data
from sweepfleet.machine.session import KINDS
from sweepfleet.run.text import duration

UNITS = ("scheduler", "signer", "keeper")
STORED = Data(Path(MachinePaths().data)).stored


@dataclass(frozen=True, slots=True)
class HeadStatus:
    """The head now."""

    address: str
    up_s: float
    units: Mapping[str, str]  # systemd's word for each service: active, failed ...
    free_gb: float  # of the data volume
    gb: float
    sessions: tuple[str, ...] = ()  # the active ones: console, notebook

    def line(self) -> str:
        """It for a person."""
        parts = ", ".join(f"{unit} {state}" for unit, state in self.units.items())
        free = f"{self.free_gb:.0f} of {self.gb:.0f} GB free for runs"
        return f"Head {self.address}: up {duration(self.up_s)}, {parts}, {free}"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker now."""

    instance_id: str
    instance_type: str
    zone: str
    spot: bool
    launched: datetime
    state: str  # EC2's: pending, running ...
    slots: int | None  # None: it has not joined the scheduler
    is_known: bool  # whether the scheduler could be asked

    def line(self, now: datetime) -> str:
        """It for a person."""
        kind = "spot" if self.spot else "on-demand"
        state = self.state
        if self.is_known:
            state = f"{state}, has not joined" if self.slots is None else counted(self.slots, "slot")
        up = _since(self.launched, now)
        return f"  {self.instance_id}  {self.instance_type} {kind}  {self.zone}  up {up}  {state}"


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
            yield f"  {self.waits}, for {_since(self.waits_since, now)}"
        yield f"  cost so far {self.cost}"
        for line in self.forecast.lines(budget_usd=self.cost.budget_usd):
            yield f"  {line}"
        if self.unstored:
            last = f"since {self.stored.astimezone():%Y-%m-%d %H:%M}" if self.stored else "yet"
            yield f"  not stored in the bucket {last}, tried again: {self.unstored}"


@dataclass(frozen=True, slots=True, repr=False)
class Status:
    """A cluster now; `str` says it as `inv status` does."""

    stack: str
    region: str
    at: datetime
    release: Pushed | None  # None: nothing was pushed yet
    running_release: Pushed | None  # an older one that scheduler and workers still run; None: the same
    workers: tuple[WorkerStatus, ...]
    desired: int  # number of workers
    most: int
    head: HeadStatus | None  # None: it does not answer; see `error`
    runs: tuple[RunStatus, ...] = ()
    ended: tuple[EndedRun, ...] = ()  # the last one first
    scheduler_error: str = ""
    error: ClusterError | None = None
    notes: tuple[str, ...] = ()  # what the keeper says of workers that AWS does not start
    words: Callable[[str], str] = field(default=str, compare=False)  # a line for a person, as that person types

    def lines(self) -> Iterator[str]:
        """It for a person."""
        yield f"Stack {self.stack} in {self.region}"
        if self.release is None:
            yield "Release: none yet. Push one: inv push"
        else:
            pushed = datetime.fromtimestamp(self.release.pushed, UTC)
            yield f"Release: {self.release.label}, pushed {_since(pushed, self.at)} ago"
            if self.running_release is not None:
                label = self.running_release.label
                yield f"  scheduler and workers run the code of {label} until the next run starts"
        yield f"Workers: {len(self.workers)} of {self.desired} requested, at most {self.most}"
        for worker in self.workers:
            yield worker.line(self.at)
        for note in self.notes:
            yield f"  {note}"
        if self.head is not None:
            yield self.head.line()
            for kind in self.head.sessions:
                yield f"{kind.capitalize()}: active · inv {kind} · inv {kind} --end"
        for run in self.runs:
            yield from run.lines(self.at)
        yield from ended_lines(self.ended, self.at)
        if self.scheduler_error:
            yield self.scheduler_error

    def __repr__(self) -> str:
        return self.words("\n".join([*self.lines(), *([str(self.error)] if self.error else [])]))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def look(fleet: Fleet) -> Status:
    """Look at everything; a part that cannot be reached is said, and the others are still looked at.

    Raises:
        DownError: the stack was taken down.
        ClusterError: AWS refuses.
    """
    out = fleet.outputs
    _require_stack(fleet)
    release = current_release(fleet.cloud, out)
    running = fleet_release(fleet.cloud, out) if release is not None else None
    if running is not None and release is not None and running.engine == release.engine:
        running = None
    group = workers.group(fleet.cloud, out)
    error: ClusterError | None = None
    joined: dict[str, int] | None = None
    head: HeadStatus | None = None
    active: tuple[RunStatus, ...] = ()
    ended: tuple[EndedRun, ...] = ()
    scheduler_error = ""
    notes: tuple[str, ...] = ()
    try:
        with fleet.head() as host:
            head = _head(host, out.head_ip)
            active = _active(host)
            ended = tuple(ended_runs(host))
            notes = launch_notes_of(host)
            try:
                joined = workers.slots(host) if group.workers else {}
            except workers.SchedulerError as silent:
                scheduler_error = str(silent)
    except ClusterError as lost:
        error = lost
    return Status(
        stack=out.stack,
        region=out.region,
        at=datetime.now(UTC),
        release=release,
        running_release=running,
        workers=tuple(_worker(one, joined) for one in group.workers),
        desired=group.desired,
        most=group.most,
        head=head,
        runs=active,
        ended=ended,
        scheduler_error=scheduler_error,
        error=error,
        notes=notes,
    )


def status(fleet: Fleet) -> Iterator[str]:
    """What `look` has found, as lines.

    Raises:
        ClusterError: AWS refuses; or at the end, when the head could not be reached.
    """
    found = look(fleet)
    yield from found.lines()
    if found.error is not None:
        raise found.error


def _require_stack(fleet: Fleet) -> None:
    """Stop at a stack that was taken down. One that only lost its head may have workers that cost money."""
    try:
        fleet.require_head()
    except DownError:
        raise
    except GoneError:
        pass


def _worker(one: workers.Worker, joined: dict[str, int] | None) -> WorkerStatus:
    """What a worker does, as the scheduler knows it; `joined` is None where nobody can say."""
    return WorkerStatus(
        instance_id=one.instance_id,
        instance_type=one.instance_type,
        zone=one.zone,
        spot=one.spot,
        launched=one.launched,
        state=one.state,
        slots=None if joined is None else joined.get(one.instance_id),
        is_known=joined is not None,
    )


def launch_notes_of(head: Host) -> tuple[str, ...]:
    """What the keeper says now of workers that AWS does not start. Raises ClusterError: the head does not answer."""
    said = head.run("cat", str(Data(Path(MachinePaths().data)).launches), sudo=True).stdout
    try:
        return tuple(map(str, json.loads(said or "[]")))
    except ValueError:
        return ()


def _head(host: Host, address: str) -> HeadStatus:
    asked = host.run("systemctl", "is-active", *(f"sweepfleet-{unit}" for unit in (*UNITS, *KINDS))).stdout.split()
    uptime = host.ask("ps", "-o", "etimes=", "-p", "1").strip()
    space = json.loads(host.ask("python3", "-c", SPACE))
    units = dict(zip(UNITS, asked, strict=False))
    sessions = tuple(kind for kind, state in zip(KINDS, asked[len(UNITS) :], strict=False) if state == "active")
    return HeadStatus(address, float(uptime), units, space["free_gb"], space["gb"], sessions)


def active_runs(fleet: Fleet) -> list[RunStatus]:
    """The active runs. Raises ClusterError: the head does not answer."""
    with fleet.head() as head:
        return list(_active(head))


def _active(host: Host) -> tuple[RunStatus, ...]:
    stored = host.ask("sh", "-c", data_volume.needed('cat "$1" 2>/dev/null || true'), "stored", str(STORED))
    return tuple(_run(host, name, _stored(stored, name)) for name in runs.names(host, active=True))


def _stored(text: str, name: str) -> dict[str, Any]:
    """What the head says of one run in the bucket; empty where it says nothing, or an older release runs there."""
    try:
        found = json.loads(text)["runs"][name]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _run(host: Host, name: str, stored: Mapping[str, Any]) -> RunStatus:
    now = runs.state(host, name)
    done = now.progress or {}
    calls = now.calls or {}
    if calls:
        ended = calls["done"] + calls["failed"]
        done = {"done": ended, "total": ended + calls["open"]}
    waits = str(done.get("waits") or "")
    reading, job = metered(host, name)
    left_s = None if job.deadline is None else job.deadline - (now.said or time.time())
    return RunStatus(
        name=name,
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


SPACE = f"""
import json, shutil
usage = shutil.disk_usage({MachinePaths().data!r})
print(json.dumps({{"gb": usage.total / 1e9, "free_gb": usage.free / 1e9}}))
"""


def _since(when: datetime, now: datetime) -> str:
    return duration(max(0.0, (now - when).total_seconds()))
