"""What a run in the rehearsal cloud has come to: the text of an assertion that waited for it in vain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsed import Laptop

LINES = "30"
JOURNAL = ("journalctl", "--no-pager", "--output=short-iso", f"--lines={LINES}")
DRIVER, OTHERS = "sweepfleet-run@{}.service", ("sweepfleet-scheduler.service", "sweepfleet-keeper.service")
PYTHON = "/opt/sweepfleet/environment/bin/python"
ROWS = """
import sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(dict(ledger.execute("SELECT status, count(*) FROM points GROUP BY status").fetchall()), "points by status")
print(*ledger.execute("SELECT key, substr(value, 1, 300) FROM meta WHERE key = 'drivers'").fetchall())
"""
# As root on the head, in the release's code: the scheduler's workers and tasks, as it sees them.
DASK = """
import os, subprocess
from pathlib import Path
told = subprocess.run(["sh", "-c", "set -a; . /etc/sweepfleet/machine.env; env -0"], capture_output=True, text=True)
facts = dict(line.split("=", 1) for line in told.stdout.split("\\0") if "=" in line)
from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data
os.environ.update(dask_command.environment(Data(Path(facts["SWEEPFLEET_DATA"])).tls, "driver"))
from distributed import Client

def seen(dask_scheduler):
    lines = [f"worker {one.name} {address} {one.status.name}" for address, one in dask_scheduler.workers.items()]
    for key, one in dask_scheduler.tasks.items():
        where = one.processing_on.address if one.processing_on else [each.address for each in one.who_has or ()]
        lines.append(f"task {key} {one.state} {where}")
    return lines

with Client(dask_command.address(facts["SWEEPFLEET_HEAD"]), timeout="10s") as client:
    print(*client.run_on_scheduler(seen), sep="\\n")
"""


def of_run(laptop: Laptop, name: str) -> str:
    """The run's driver, rows and tasks, and all machines with the last lines of what they say."""
    return "\n".join(_lines(laptop, name))


def _lines(laptop: Laptop, name: str) -> Iterator[str]:
    head_id = laptop.outputs.head_id
    machines = laptop.cloud.machines()
    yield f"machines: {json.dumps({one: bool(leader) for one, leader in machines.items()})} head: {head_id}"
    head = laptop.cloud.machine(head_id)
    yield from _said(head, "systemctl", "list-units", "--no-pager", "--no-legend", "sweepfleet-*")
    yield from _said(head, "python3", "-c", ROWS, f"/srv/sweepfleet/runs/{name}/ledger.sqlite")
    yield from _said(head, "cat", f"/srv/sweepfleet/jobs/{name}/progress.json")
    code = "/opt/sweepfleet/current/.sweepfleet/code"
    yield from _said(head, "env", f"PYTHONPATH={code}", PYTHON, "-c", DASK)
    for unit in (DRIVER.format(name), *OTHERS):
        yield from _said(head, *JOURNAL, f"--unit={unit}")
    for machine in sorted(set(machines) - {head_id}):
        yield from _said(laptop.cloud.machine(machine), *JOURNAL)


def _said(machine: MachineHandle, *command: str) -> Iterator[str]:
    """What a program says there; why not, where it cannot be asked: what failed before is what is to be shown."""
    yield f"--- {machine.instance_id}: {' '.join(_short(command))}"
    try:
        done = machine.run(command, check=False, timeout_s=30)
    except (AssertionError, OSError) as error:  # it is off, or does not answer
        yield f"{type(error).__name__}: {error}"
    else:
        yield f"{done.stdout}{done.stderr}".strip("\0\n ")


def _short(command: Sequence[str]) -> Iterator[str]:
    return (word if "\n" not in word else "..." for word in command)
