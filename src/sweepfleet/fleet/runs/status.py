"""What a cluster is doing: facts for programs, and lines for a person."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sweepfleet.fleet.code.push import Pushed, current_release, fleet_release
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.rest_prices import at_rest
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs.active import RunStatus as RunStatus  # noqa: PLC0414 - a part of `Status`
from sweepfleet.fleet.runs.active import active, since
from sweepfleet.fleet.runs.answers import answers
from sweepfleet.fleet.runs.ended import SHOWN, EndedRun, ended_lines, ended_runs
from sweepfleet.fleet.stack.awake import HeadState
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.facts import Data
from sweepfleet.machine.session import KINDS
from sweepfleet.run.text import duration

UNITS = ("scheduler", "signer", "keeper")


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
        up = since(self.launched, now)
        return f"  {self.instance_id}  {self.instance_type} {kind}  {self.zone}  up {up}  {state}"


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
    head: HeadStatus | None  # None: it is asleep, or does not answer; see `asleep` and `error`
    runs: tuple[RunStatus, ...] = ()
    ended: tuple[EndedRun, ...] = ()  # the last one first
    scheduler_error: str = ""
    error: ClusterError | None = None
    notes: tuple[str, ...] = ()  # what the keeper says of workers that AWS does not start
    asleep: HeadState | None = None  # the head, where it is asleep; runs are then as of `stored`
    rest: str = ""  # what the stack costs while it is
    stored: datetime | None = None  # when the head stored in the bucket what it knew; None: it is awake
    words: Callable[[str], str] = field(default=str, compare=False)  # a line for a person, as that person types

    def lines(self) -> Iterator[str]:
        """It for a person."""
        yield f"Stack {self.stack} in {self.region}"
        if self.release is None:
            yield "Release: none yet. Push one: inv push"
        else:
            pushed = datetime.fromtimestamp(self.release.pushed, UTC)
            yield f"Release: {self.release.label}, pushed {since(pushed, self.at)} ago"
            if self.running_release is not None:
                label = self.running_release.label
                yield f"  scheduler and workers run the code of {label} until the next run starts"
        yield f"Workers: {len(self.workers)} of {self.desired} requested, at most {self.most}"
        for worker in self.workers:
            yield worker.line(self.at)
        for note in self.notes:
            yield f"  {note}"
        if self.asleep is not None:
            yield f"{self.asleep.line(self.at)}. A sweep wakes it, and inv ssh"
            yield f"  costs at rest: {self.rest}"
        if self.stored is not None:
            yield f"As of {self.stored:%Y-%m-%d %H:%M} UTC, when the head last stored what it knew:"
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
    state = _require_stack(fleet)
    release = current_release(fleet.cloud, out)
    running = fleet_release(fleet.cloud, out) if release is not None else None
    if running is not None and release is not None and running.engine == release.engine:
        running = None
    group = workers.group(fleet.cloud, out)
    if state is not None and state.is_asleep:
        seen = _asleep(fleet, state)
    else:
        seen = _awake(fleet, state, has_workers=bool(group.workers))
    return Status(
        stack=out.stack,
        region=out.region,
        at=datetime.now(UTC),
        release=release,
        running_release=running,
        workers=tuple(_worker(one, seen.joined) for one in group.workers),
        desired=group.desired,
        most=group.most,
        head=seen.head,
        runs=seen.active,
        ended=seen.ended,
        scheduler_error=seen.scheduler_error,
        error=seen.error,
        asleep=seen.asleep,
        rest=at_rest(out),
        stored=seen.stored,
        notes=seen.notes,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the head says, or the bucket in its place."""

    head: HeadStatus | None = None
    joined: dict[str, int] | None = None  # None: nobody can say
    active: tuple[RunStatus, ...] = ()
    ended: tuple[EndedRun, ...] = ()
    scheduler_error: str = ""
    error: ClusterError | None = None
    notes: tuple[str, ...] = ()
    asleep: HeadState | None = None
    stored: datetime | None = None


def _awake(fleet: Fleet, state: HeadState | None, *, has_workers: bool) -> _Seen:
    seen = _Seen()
    out = fleet.outputs if state is None else state.reached(fleet.outputs)
    try:
        with fleet.awake_head() as host:
            seen = replace(seen, head=_head(host, out.head_ip), active=active(host), ended=tuple(ended_runs(host)))
            seen = replace(seen, notes=launch_notes_of(host))
            try:
                joined = workers.slots(host) if has_workers else {}
            except workers.SchedulerError as silent:
                return replace(seen, scheduler_error=str(silent))
            return replace(seen, joined=joined)
    except ClusterError as lost:
        return replace(seen, error=lost)


def _asleep(fleet: Fleet, state: HeadState) -> _Seen:
    try:
        known = answers(fleet, state)
    except ClusterError as missing:
        return _Seen(error=missing, asleep=state)
    return _Seen(active=known.active, ended=known.ended[:SHOWN], asleep=state, stored=known.at)


def status(fleet: Fleet) -> Iterator[str]:
    """What `look` has found, as lines.

    Raises:
        ClusterError: AWS refuses; or at the end, when the head could not be reached.
    """
    found = look(fleet)
    yield from found.lines()
    if found.error is not None:
        raise found.error


def _require_stack(fleet: Fleet) -> HeadState | None:
    """Stop at a stack that was taken down. One that only lost its head may have workers that cost money."""
    try:
        return fleet.require_head()
    except DownError:
        raise
    except GoneError:
        return None


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


SPACE = f"""
import json, shutil
usage = shutil.disk_usage({MachinePaths().data!r})
print(json.dumps({{"gb": usage.total / 1e9, "free_gb": usage.free / 1e9}}))
"""
