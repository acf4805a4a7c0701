"""Follows a job for somebody far away: `follow JOB` prints its progress as JSON lines, and ends when it has ended."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from sweepfleet.machine.head import launch_notes
from sweepfleet.machine.job import JobFolder

POLL_S = 0.5
ALIVE_S = 10.0  # a line at least this often, so that the other side knows of a broken connection


def follow(folder: JobFolder) -> None:
    """Print progress whenever it changes, until the job is no longer active; `now` is this machine's clock.

    Raises:
        SystemExit: the job is not there: the machine goes down or comes up, and its data volume is not mounted.
    """
    last, said_s = None, 0.0
    while True:
        there = folder.job.exists()  # asked before and after: without the volume nothing would seem active
        active = folder.active.exists()  # before the progress, so that what is said last is what it ended with
        notes = [one["text"] for one in launch_notes.read(folder.notes)]
        found = folder.read_progress() | {"ended": not active} | ({"notes": notes} if notes else {})
        if not (there and folder.job.exists()):
            sys.exit(f"{folder.path} does not exist: the machine is starting or shutting down")
        if found != last or time.monotonic() - said_s > ALIVE_S:
            print(json.dumps(found | {"now": time.time()}), flush=True)
            last, said_s = found, time.monotonic()
        if not active:
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    follow(JobFolder(Path(sys.argv[1])))
