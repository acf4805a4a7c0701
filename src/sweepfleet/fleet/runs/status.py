"""What a cluster is doing, as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from sweepfleet.fleet.code.push import current_release, fleet_release
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import cost_of
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs.ended import ended_lines
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.run.text import duration


def status(fleet: Fleet) -> Iterator[str]:
    """Look at everything; a part that cannot be reached is said, and the others are still looked at.

    Raises:
        ClusterError: at the end, when the head could not be reached.
    """
    out = fleet.outputs
    _require_stack(fleet)
    yield f"Stack {out.stack} in {out.region}"
    now = current_release(fleet.cloud, out)
    if now is None:
        yield "Release: none yet. Push one: inv push"
    else:
        pushed = datetime.fromtimestamp(now.pushed, UTC)
        yield f"Release: {now.label}, pushed {_ago(pushed)} ago"
        running = fleet_release(fleet.cloud, out)
        if running is not None and running.engine != now.engine:
            yield f"  scheduler and workers run the code of {running.label} until the next run starts"
    found = workers.group(fleet.cloud, out)
    yield f"Workers: {len(found.workers)} of {found.desired} requested, at most {found.most}"
    lost: ClusterError | None = None
    joined: dict[str, int] | None = None
    lines: list[str] = []
    try:
        with fleet.head() as head:
            lines = list(_head_lines(head, out.head_ip))
            try:
                joined = workers.slots(head) if found.workers else {}
            except workers.SchedulerError as error:
                lines.append(str(error))
    except ClusterError as error:
        lost = error
    for one in found.workers:
        state = _state(one, joined)
        kind = "spot" if one.spot else "on-demand"
        yield f"  {one.instance_id}  {one.instance_type} {kind}  {one.zone}  up {_ago(one.launched)}  {state}"
    yield from lines
    if lost is not None:
        raise lost


def _require_stack(fleet: Fleet) -> None:
    """Stop at a stack that was taken down. One that only lost its head may have workers that cost money."""
    try:
        fleet.require_head()
    except DownError:
        raise
    except GoneError:
        pass


def _state(worker: workers.Worker, joined: dict[str, int] | None) -> str:
    """What a worker does, as the scheduler knows it; `joined` is None where nobody can say."""
    if joined is None:
        return worker.state
    slots = joined.get(worker.instance_id)
    return f"{worker.state}, has not joined" if slots is None else counted(slots, "slot")


def _head_lines(head: Host, address: str) -> Iterator[str]:
    units = ("scheduler", "signer", "keeper")
    asked = head.run("systemctl", "is-active", *(f"sweepfleet-{unit}" for unit in units)).stdout.split()
    parts = ", ".join(f"{unit} {state}" for unit, state in zip(units, asked, strict=False))
    uptime = head.ask("ps", "-o", "etimes=", "-p", "1").strip()
    space = json.loads(head.ask("python3", "-c", SPACE))
    free = f"{space['free_gb']:.0f} of {space['gb']:.0f} GB free for runs"
    yield f"Head {address}: up {duration(float(uptime))}, {parts}, {free}"
    for name in runs.names(head, active=True):
        now = runs.state(head, name)
        done = now.progress or {}
        count = f"{done.get('done', 0):,} of {counted(done.get('total', 0), 'point')}" if done else now.waiting_for
        yield f"Run {name}: {now.state}{f', {count}' if count else ''} · inv attach --name {name}"
        if done.get("waits"):
            yield f"  {done['waits']}, for {_ago(datetime.fromtimestamp(done['waits_since'], UTC))}"
        yield f"  cost so far {cost_of(head, name)}"
    yield from ended_lines(head, datetime.now(UTC))


SPACE = f"""
import json, shutil
usage = shutil.disk_usage({MachinePaths().data!r})
print(json.dumps({{"gb": usage.total / 1e9, "free_gb": usage.free / 1e9}}))
"""


def _ago(when: datetime) -> str:
    return duration(max(0.0, (datetime.now(UTC) - when).total_seconds()))
