"""Waits for workers: until they have joined, or it is known why they do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from fleet import workers
from fleet.errors import ClusterError
from fleet.fleet import Fleet
from fleet.remote import Host

JOIN_S = 900
POLL_S = 2.0


def wait_for_workers(fleet: Fleet, head: Host, count: int, *, say: Callable[[str], None]) -> int:
    """Wait until so many workers have joined the scheduler; returns their slots.

    Raises:
        ClusterError: they have not in time; with AWS's reason, or the last lines of the boot of one that did not.
    """
    began, since = time.monotonic(), datetime.now(UTC)
    before = -1
    while True:
        joined = workers.slots(head)
        if len(joined) != before:
            say(f"{len(joined)} of {count} workers have joined, {sum(joined.values())} slots")
            before = len(joined)
        if len(joined) >= count:
            return sum(joined.values())
        reason = workers.why_none(fleet.cloud, fleet.outputs, since=since)
        if reason:
            say(f"AWS says: {reason}")
            since = datetime.now(UTC)
        if time.monotonic() - began > JOIN_S:
            raise ClusterError(
                f"{len(joined)} of {count} workers joined in {JOIN_S} s. {reason or boot_of_one(fleet, joined)}"
            )
        time.sleep(POLL_S)


def boot_of_one(fleet: Fleet, joined: dict[str, int]) -> str:
    """Why a worker that runs has not joined: the last lines of its boot."""
    late = [one for one in workers.group(fleet.cloud, fleet.outputs).workers if one.instance_id not in joined]
    if not late:
        return "AWS has started no others: inv status"
    one = late[0]
    try:
        with fleet.worker(one.instance_id) as host:
            last = host.run(
                "journalctl", "-n", "15", "--no-pager", "-o", "cat", "-u", "sweepfleet-*", "-u", "cloud-*", sudo=True
            )
    except ClusterError as error:
        return f"The worker {one.instance_id} cannot be asked why: {error}"
    return f"The last lines of the worker {one.instance_id}:\n{last.stdout.rstrip()}"
