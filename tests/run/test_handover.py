"""Driver or scheduler dies, workers live: what they compute meanwhile is taken over, and no point begins twice."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dask_site import DaskSite
from tests.support import eventually

POINTS, WORKERS, SLOTS = 60, 2, 2
FIT = """
import os, pathlib, time

HERE = pathlib.Path(__file__).parent

def fit(a):
    (HERE / "begun" / f"{a}.{os.urandom(4).hex()}").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return {"twice": 2 * a}
"""
GRID = """
name: handed
run: fit:fit
parameters:
  a: {range: [0, POINTS, 1]}
execution: {order: ORDER}
"""
DRIVE = """\
import sys, time
from pathlib import Path
from sweepfleet.grid.load import load
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.progress import Silent
from sweepfleet.run.sweep import run_sweep
from sweepfleet.run.request import Request

here = Path(sys.argv[1])
request = Request(runs=here / "runs", root=here, command_line="test", born_s=time.time(), address=sys.argv[2])
try:
    summary, code = run_sweep(load(here / "grid.yaml"), request, Silent())
except ClusterError as error:
    print(error, file=sys.stderr)
    sys.exit(75)
sys.exit(code)
"""


class Site(DaskSite):
    """The same with a project, and with drivers."""

    def __init__(self, path: Path, *, order: str) -> None:
        (path / "begun").mkdir()
        (path / "fit.py").write_text(textwrap.dedent(FIT))
        (path / "grid.yaml").write_text(GRID.replace("POINTS", str(POINTS)).replace("ORDER", order))
        super().__init__(path, workers=WORKERS, slots=SLOTS)

    def start_driver(self) -> subprocess.Popen[bytes]:
        """Start a driver."""
        return self.start("-c", DRIVE, str(self.path), self.address)

    def begun(self) -> Counter[int]:
        """How often each point has begun."""
        return Counter(int(file.name.partition(".")[0]) for file in (self.path / "begun").iterdir())

    def rows(self) -> dict[int, tuple[int, int]]:
        """Each point's attempts and losses in the ledger."""
        ledger = self.path / "runs" / "handed" / "ledger.sqlite"
        if not ledger.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as opened:
            found = opened.execute(
                "SELECT point_index, attempts, infra_losses FROM points WHERE status = 0"
            ).fetchall()
        return {index: (attempts, losses) for index, attempts, losses in found}

    def mark(self) -> dict[str, Any]:
        """What the ledger says of drivers that have not come to their end."""
        ledger = self.path / "runs" / "handed" / "ledger.sqlite"
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(ledger)) as opened:
            found = opened.execute("SELECT value FROM meta WHERE key = 'drivers'").fetchall()
            return json.loads(found[0][0]) if found and found[0][0] else {}
        return {}

    def engines(self) -> list[str]:
        """The engines whose bundles the workers hold."""
        return list(self.mark().get("engines", []))

    def let_go(self) -> None:
        """Let points end."""
        (self.path / "go").touch()

    def ends(self, driver: subprocess.Popen[bytes]) -> None:
        """A driver ends well, with every point."""
        eventually(lambda: driver.poll() is not None, "the driver's end")
        assert driver.returncode == 0, (self.path / "log").read_text()
        assert set(self.rows()) == set(range(POINTS))


@contextlib.contextmanager
def site(path: Path, *, order: str) -> Iterator[Site]:
    """A site, ended afterwards."""
    made = Site(path, order=order)
    try:
        yield made
    finally:
        made.close()


def driver_dies(site: Site, driver: subprocess.Popen[bytes]) -> None:
    driver.kill()
    driver.wait()


def scheduler_dies(site: Site, driver: subprocess.Popen[bytes]) -> None:
    site.scheduler.kill()
    site.scheduler.wait()
    eventually(lambda: driver.poll() is not None, "the driver's end, whose scheduler is gone")
    assert driver.returncode == 75
    site.scheduler = site.start_scheduler()


def both_die(site: Site, driver: subprocess.Popen[bytes]) -> None:
    for process in (driver, site.scheduler):
        process.kill()
        process.wait()
    site.scheduler = site.start_scheduler()


@pytest.mark.parametrize(
    ("accident", "order", "meanwhile"),
    [
        (driver_dies, "given", False),
        (driver_dies, "shuffled", True),
        (scheduler_dies, "given", True),
        (both_die, "shuffled", False),
    ],
)
def test_no_point_of_a_worker_that_lives_begins_twice(
    tmp_path: Path,
    accident: Callable[[Site, subprocess.Popen[bytes]], None],
    order: str,
    *,
    meanwhile: bool,
) -> None:
    """Whether the points in flight end while nobody is there, or are active still when the next driver comes."""
    with site(tmp_path, order=order) as here:
        driver = here.start_driver()
        eventually(lambda: len(here.begun()) == WORKERS * SLOTS, "a point begun in each slot")
        accident(here, driver)
        if meanwhile:
            here.let_go()
        driver = here.start_driver()
        if not meanwhile:
            eventually(lambda: len(here.engines()) == 2, "the next driver's mark")
            here.let_go()
        here.ends(driver)
        assert set(here.begun().values()) == {1}
        assert set(here.rows().values()) == {(1, 0)}
        assert here.engines() == [], "the driver came to its end"


def test_what_was_lost_with_a_worker_runs_again_and_is_counted(tmp_path: Path) -> None:
    """Driver and a worker die at once; what the other worker has is taken over, in whose place soever it stands."""
    with site(tmp_path, order="given") as here:
        driver = here.start_driver()
        eventually(lambda: len(here.begun()) == WORKERS * SLOTS, "a point begun in each slot")
        first = set(here.begun())
        eventually(lambda: len(here.mark().get("begun", [])) == WORKERS * SLOTS, "that is written down")
        spans = here.mark()["begun"]
        driver_dies(here, driver)
        here.workers[0].kill()
        here.workers[0].wait()
        here.start_worker("another")
        driver = here.start_driver()
        eventually(lambda: len(here.begun()) == WORKERS * SLOTS and here.begun().total() == 6, "the lost ones")
        again = {point for point, times in here.begun().items() if times == 2}
        here.let_go()
        here.ends(driver)
        assert len(again) == SLOTS
        assert {point for point, times in here.begun().items() if times == 2} == again < first
        lost = {place for start, stop in spans if again & set(range(start, stop)) for place in range(start, stop)}
        assert {point for point, (_, losses) in here.rows().items() if losses} == lost
        assert json.loads((tmp_path / "runs" / "handed" / "summary.json").read_text())["infra_losses"] == len(lost)
