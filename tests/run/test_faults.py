"""Real processes killed at random: no point lost, none counted twice, none that had finished run again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.command import ROOT, Project
from tests.support import eventually

POINTS = 2000
GRID = f"name: killed\nrun: fit:fit\nparameters:\n  a: {{range: [0, {POINTS}, 1]}}\n"
# Each point notes that it ran in a file that outlives every process: a line is one write, so none is torn.
CODE = """\
import os, time
from pathlib import Path

LOG = os.open(Path(__file__).with_name("ran.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def fit(a, seed):
    time.sleep(0.008)
    os.write(LOG, f"{a}\\n".encode())
    return {"twice": 2 * a, "seed": seed}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path).write(GRID, CODE)


def ran(project: Project) -> list[int]:
    log = project.path / "ran.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def children(pid: int, word: str) -> list[psutil.Process]:
    """Descendants of a process whose command line has a word."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def recorded(project: Project) -> int:
    rows = project.ledger("killed")
    return rows[0][0] if rows else 0


def kill_one(pids: list[psutil.Process], chance: random.Random) -> None:
    victim = chance.choice(pids)
    victim.kill()


def check(project: Project, before: dict[int, float], ran_before: int) -> None:
    rows = project.ledger("killed", "SELECT point_index, id, started, status FROM points")
    assert len(rows) == POINTS
    assert len({id_ for _, id_, _, _ in rows}) == POINTS
    assert {status for *_, status in rows} == {0}
    started = {index: at for index, _, at, _ in rows}
    assert {index: started[index] for index in before} == before, "a finished point's row was replaced"
    again = set(ran(project)[ran_before:]) & set(before)
    assert not again, f"finished points ran again: {sorted(again)[:10]}"
    table = project.table("killed")
    assert table["metric.twice"].to_list() == [2 * a for a in range(POINTS)]


def test_runners_and_the_driver_are_killed_and_nothing_is_lost(project: Project) -> None:
    """Six runner children and then the driver die by SIGKILL; the same command finishes the sweep."""
    chance = random.Random(20)
    driver = project.start("sweep", "--grid", str(project.grid))
    for number in range(1, 7):
        goal = number * POINTS // 10
        eventually(lambda goal=goal: recorded(project) >= goal, f"{goal} points")
        kill_one(eventually(lambda: children(driver.pid, "sweepfleet.slot.child"), "a runner child"), chance)
    eventually(lambda: recorded(project) >= POINTS * 7 // 10, "enough points")
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.communicate()
    eventually(lambda: not psutil.wait_procs(family, timeout=0)[1], "the end of everything that the driver started")
    before = dict(project.ledger("killed", "SELECT point_index, started FROM points WHERE status = 0"))
    assert 0 < len(before) < POINTS
    ran_before = len(ran(project))
    summary = json.loads(project.sweep("--json").stdout)
    assert (summary["done"], summary["failed"], summary["resumed"]) == (POINTS, 0, len(before))
    check(project, before, ran_before)
    # Only what was in flight at a kill may have run twice: a few bundles, not the sweep.
    twice = sum(count - 1 for count in Counter(ran(project)).values())
    assert twice < POINTS // 2


DRIVE = """\
import sys, time
from pathlib import Path
from sweepfleet.grid.load import load
from sweepfleet.run.progress import Silent
from sweepfleet.run.sweep import run_sweep
from sweepfleet.run.request import Request

here = Path(sys.argv[1])
request = Request(runs=here / "runs", root=here, command_line="test", born_s=time.time(), address=sys.argv[2])
summary, code = run_sweep(load(here / "grid.yaml"), request, Silent())
sys.exit(code)
"""


class Cluster:
    """A scheduler and workers of dask's own, in processes of their own, as on a cluster."""

    def __init__(self, path: Path, workers: int) -> None:
        self._address = path / "scheduler.json"
        env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000000"}
        cli = [sys.executable, "-m", "dask"]
        local = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self._address)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env, "cwd": ROOT}
        self.scheduler = subprocess.Popen(
            [*cli, "scheduler", *local, "--port", "0"],
            **quiet,
        )
        self.nannies = [
            subprocess.Popen(
                [*cli, "worker", *local, "--nthreads", "1", "--local-directory", str(path)],
                **quiet,
            )
            for _ in range(workers)
        ]

    def address(self) -> str:
        eventually(lambda: self._address.exists() and self._address.read_text().strip(), "the scheduler's address")
        eventually(lambda: all(children(nanny.pid, "spawn_main") for nanny in self.nannies), "the workers")
        return str(json.loads(self._address.read_text())["address"])

    def processes(self, word: str) -> list[psutil.Process]:
        """Those below any of the nannies with a word on the command line: "spawn_main" is dask's worker."""
        return [one for nanny in self.nannies for one in children(nanny.pid, word)]

    def close(self) -> None:
        for process in (*self.nannies, self.scheduler):
            process.terminate()
        for process in (*self.nannies, self.scheduler):
            process.wait(timeout=60)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, workers=2)
    try:
        yield cluster
    finally:
        cluster.close()


def test_workers_runners_and_the_driver_are_killed_on_a_cluster(project: Project, cluster: Cluster) -> None:
    """Three dask workers, three runner children and then the driver die by SIGKILL; the rest goes on."""
    chance = random.Random(21)
    command = [sys.executable, "-c", DRIVE, str(project.path), cluster.address()]
    driver = subprocess.Popen(command, cwd=ROOT)
    for number in range(1, 7):
        goal = number * POINTS // 10
        eventually(lambda goal=goal: recorded(project) >= goal, f"{goal} points")
        # Of any nanny: one whose worker has just died may have none before the others have done the rest.
        word = "spawn_main" if number % 2 else "sweepfleet.slot.child"
        kill_one(eventually(lambda word=word: cluster.processes(word), word), chance)
    eventually(lambda: recorded(project) >= POINTS * 7 // 10, "enough points")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # The workers finish what they hold, for nobody, and end its processes with the next sweep's start.
    before = dict(project.ledger("killed", "SELECT point_index, started FROM points WHERE status = 0"))
    assert 0 < len(before) < POINTS
    eventually(lambda: _quiet(project), "the end of what the dead driver had sent out")
    ran_before = len(ran(project))
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    check(project, before, ran_before)


def _quiet(project: Project) -> bool:
    """Whether no point runs for a second."""
    log = project.path / "ran.log"
    before = log.stat().st_size
    time.sleep(1.0)
    return log.stat().st_size == before
