"""A user's dask client as a job of the head: workers while it has tasks, a meter and a budget, and an end.

The job begins before the client connects, and ends when it has gone. Nothing of it is stored: what a client has, its
user's process has.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path
from typing import Any, Protocol

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.head.client_use import Use, cancel_all, use_of
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.job import SETTLED, Job, JobFolder
from sweepfleet.run.run_progress import Progress

LOOK_S = 2.0
CONNECT_S = 120.0  # for the client to come
GONE_S = 10.0  # after which a client that is not connected has gone
IDLE_S = 1800.0  # for which results stay on workers after the last task


class Asks(Protocol):
    """What is used of dask's client."""

    def run_on_scheduler(self, function: Any, *words: Any, **how: Any) -> Any:
        """Call a function in the scheduler's event loop."""


def workers_for(use: Use, *, slots_each: int, most: int) -> int:
    """The number of workers that a client can use: for each task that could run a slot, and all that hold results."""
    slots = use.threads / use.workers if use.workers else slots_each
    return min(most, max(math.ceil(use.runnable / max(1.0, slots)), use.holders))


def run_client(folder: JobFolder, job: Job, facts: Facts, reporter: Reporter) -> str:
    """Look after a client until it has gone; returns why it was ended, empty where it left by itself.

    Raises:
        ClusterError: the scheduler went away.
    """
    os.environ.update(dask_command.environment(Data(Path(facts.data)).tls, "driver"))  # before dask reads them
    from distributed import Client

    from sweepfleet.machine.head.fair import Fair
    from sweepfleet.run.asking import asking, closing

    address = dask_command.address(facts.head_ip)
    with asking(), closing(Client(address, timeout="10s", name="sweepfleet-client-keeper")) as client:
        client.register_plugin(Fair())
        reporter.state("running", **{SETTLED: True})
        try:
            return _look_after(client, folder, job, reporter)
        except KeyboardInterrupt:
            if not folder.cancelled.exists():
                raise
            return _cancelled(client, job)


def _cancelled(client: Asks, job: Job) -> str:
    client.run_on_scheduler(cancel_all, job.name, why="It was cancelled: inv cancel")
    return "It was cancelled."


def _look_after(client: Asks, folder: JobFolder, job: Job, reporter: Reporter) -> str:
    ask = client.run_on_scheduler
    most = job.workers_needed
    seen_s = busy_s = time.monotonic()
    was_there = False
    while True:
        use: Use = ask(use_of, job.name, enough=most * 256)
        now_s = time.monotonic()
        if use.connected:
            was_there, seen_s = True, now_s
        elif now_s - seen_s > (GONE_S if was_there else CONNECT_S):
            return ""
        if folder.cancelled.exists():
            return _cancelled(client, job)
        if folder.spent.exists():
            ask(cancel_all, job.name, why="The client has cost its budget, the stack's budgetUsd")
            return "It has cost its budget."
        busy_s = now_s if use.unfinished or not was_there else busy_s
        if now_s - busy_s > IDLE_S and use.holders:
            minutes = IDLE_S / 60
            ask(cancel_all, job.name, why=f"Results stay on workers for {minutes:.0f} minutes after the last task")
            busy_s = now_s
        progress = Progress(
            total=use.ended + use.unfinished, exact=True, resumed=0, done=use.ended, computed=use.ended
        )
        more = {"used_s": use.used_s, "workers": use.workers, "threads": use.threads}
        reporter.state(
            "running",
            progress=dataclasses.asdict(progress) | more,
            workers_needed=workers_for(use, slots_each=job.slots_each, most=most),
        )
        time.sleep(LOOK_S)
