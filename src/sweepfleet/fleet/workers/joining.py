"""Waits for workers: until they have joined, or it is known why they do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import rate_of
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.steps import Steps
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted

STAYS = "The request stays active. Cancel it: inv scale 0"
JOIN_S = 900
POLL_S = 2.0
LOOK_S = 10.0  # that the head itself waits for a change: to begin asking its scheduler takes a second of its time


def start(fleet: Fleet, count: int, *, deadline_s: float = JOIN_S, steps: Steps) -> int:
    """Start workers and wait until they have joined; returns their slots.

    Raises:
        UsageError: nothing was pushed yet, or the stack allows fewer.
        ClusterError: they cannot be started, or have not joined in time.
    """
    fleet.release()
    with fleet.head() as head:
        steps.step(f"Starting {counted(count, 'worker')}")
        try:
            rate = rate_of(fleet.outputs, fleet.cloud, count=count, cache=fleet.folder.prices_file)
            workers.scale(head, fleet.cloud, fleet.outputs, count, rates=rate.rates)
            return wait_for_workers(fleet, head, count, deadline_s=deadline_s, say=steps.say)
        except KeyboardInterrupt:
            steps.say(STAYS)
            raise


def wait_for_workers(
    fleet: Fleet, head: Host, count: int, *, deadline_s: float = JOIN_S, say: Callable[[str], None]
) -> int:
    """Wait until so many workers have joined the scheduler; returns their slots.

    Raises:
        ClusterError: they have not in time; with AWS's reason, or the last lines of the boot of one that did not.
    """
    began, since = time.monotonic(), datetime.now(UTC)
    before = -1
    joined: dict[str, int] = {}
    reason = silence = ""
    while True:
        asked_s = time.monotonic()
        left_s = max(0.0, began + deadline_s - asked_s)
        try:
            joined = workers.slots(head, known=before, within_s=min(LOOK_S, left_s))
            silence = ""
        except workers.SchedulerError as error:  # it may just be starting
            silence = f"{error}\n"
        if len(joined) != before:
            say(f"{len(joined)} of {counted(count, 'worker')} joined, {counted(sum(joined.values()), 'slot')}")
            before = len(joined)
        if len(joined) >= count:
            return sum(joined.values())
        now = workers.why_none(fleet.cloud, fleet.outputs, since=since)
        if now and now != reason:
            say(f"AWS says: {now}")
        reason = now or reason
        if time.monotonic() - began > deadline_s:
            why = f"{silence}{_cause(fleet, joined, reason)}"
            raise ClusterError(
                f"{len(joined)} of {counted(count, 'worker')} joined in {deadline_s:.0f} s. {why} {STAYS}"
            )
        time.sleep(max(0.0, asked_s + POLL_S - time.monotonic()))


def _cause(fleet: Fleet, joined: dict[str, int], reason: str) -> str:
    """Why workers have not joined: one's boot, where AWS has started one; else AWS's reason."""
    late = [one for one in workers.group(fleet.cloud, fleet.outputs).workers if one.instance_id not in joined]
    if not late:
        return f"AWS says: {reason}" if reason else "AWS has started no more. See: inv status."
    return "\n".join(filter(None, [f"AWS says: {reason}" if reason else "", boot_of(fleet, late[0]), ""]))


def boot_of(fleet: Fleet, worker: workers.Worker) -> str:
    """The last lines of a worker's boot: from itself, or from its console when it cannot be asked."""
    try:
        with fleet.worker(worker) as host:
            words = ["journalctl", "-n", "15", "--no-pager", "-o", "cat", "-u", "sweepfleet-*", "-u", "cloud-*"]
            last = host.run(*words, sudo=True).stdout.rstrip()
    except ClusterError as error:
        return f"The worker {worker.instance_id} does not answer: {error}"
    return f"The last lines of the worker {worker.instance_id}:\n{last}"
