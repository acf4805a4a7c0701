"""Measure the first seconds of a sweep, and short sweeps, against plain Python's ways, in one run.

    uv run inv bench --start [--quick]

Prints a table and writes bench/start.json. What is measured, and how to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers
from bench.bare import bare_environment
from bench.heavy import Heavy, known, scikit
from bench.here import ROOT, core_count, machine, scratch, tell, timed
from bench.ours import Project, Ran, busy_grid, noop_grid
from bench.shared import slots_mb
from bench.start_table import MILLISECONDS, table
from bench.table import finish
from bench.timeline.record import record
from bench.timeline.slots import slots_start_s
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.slot.cores import environment

RESULTS = ROOT / "bench" / "start.json"
DIABETES = ROOT / "examples" / "diabetes" / "grid.yaml"
TIMEOUT = "10s"
DEADLINE_S = 120.0
RUNS = 20  # that `inv runs` lists

Samples = defaultdict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    few_rounds: int  # of what has no limit, varies little, or takes long
    chosen: tuple[str, ...]  # of examples/diabetes: its --set
    busy_s: float  # of a core, that a heavy import takes
    megabytes: int  # that it leaves
    points_s: float  # how long a run of busy points should take
    many: int  # slots: more than cores
    warm: bool = True  # whether everything is run once before, and nothing left out that takes long


FULL = Sizes(rounds=5, few_rounds=3, chosen=(), busy_s=2.0, megabytes=300, points_s=3.0, many=16)
QUICK = Sizes(
    rounds=1, few_rounds=1, chosen=("fold=0", "model=ols,ridge"), busy_s=0.2, megabytes=30, points_s=0.3, many=4
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="inv bench --start", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fraction of it, once: does it run at all?")
    quick = parser.parse_args().quick
    sizes = QUICK if quick else FULL
    here = machine()
    begin_s = time.perf_counter()
    with scratch() as path:
        samples = Start(path, sizes).measure()
    rows = table(samples, cores=here["cores"], many=sizes.many)
    spent_s = time.perf_counter() - begin_s
    spent = f"{sizes.rounds} rounds, all compiled and warm, {spent_s / 60:.0f} min"
    title = f"{here['cores']} cores, {spent}"
    finish(rows, title=title, here=here, rounds=sizes.rounds, samples=samples, file=None if quick else RESULTS)
    if not quick:
        print("Into the README: uv run python -m bench.readme")


class Start:
    """A scratch project, and the samples taken in it."""

    def __init__(self, path: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self.cores = core_count()
        self.samples: Samples = defaultdict(list)
        # One numerical thread a process, for all alike; what a sweep sets for its points.
        env = {**os.environ, **environment(1), "XDG_CACHE_HOME": str(path / "cache")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        (path / "cache").mkdir(mode=0o700)
        self.project = Project(path, env=env)
        self.path = path
        self.points = path / "points.json"
        sweep = load(DIABETES, overrides=list(sizes.chosen))
        space = Space(sweep.plan)
        self.points.write_text(json.dumps([dict(point.params) for point in space.points(0, space.size)]))
        self.heavy: tuple[Heavy, ...] = (scikit(), known(busy_s=sizes.busy_s, megabytes=sizes.megabytes))
        for each in self.heavy:
            each.write(path)

    def measure(self) -> Samples:
        """Take all samples, ours and the others' by turns."""
        tell("warming up")
        self._warm_up(self.project, *self.heavy)
        for number in range(self.sizes.rounds):
            label = f"round {number + 1} of {self.sizes.rounds}"
            few = number < self.sizes.few_rounds
            tell(f"{label}: examples/diabetes")
            self._diabetes(self.project, "", ways=("pool", "joblib", "serial") if few else ("pool",))
            tell(f"{label}: heavy imports")
            for heavy in self.heavy:
                self._first(self.project, heavy, "")
                self._first_of_many(heavy)
            tell(f"{label}: two points, lists, short points")
            self._short()
            self._efficiency(joblib=few)
            if few and sys.platform == "linux":
                tell(f"{label}: memory")
                for slots in (1, self.sizes.many):
                    self.samples[f"memory {slots}"].append(self._memory(slots))
        tell("without compiled code: warming up")
        bare = self.path / "environment"
        env = {**self.project.env, "PYTHONDONTWRITEBYTECODE": "1", "VIRTUAL_ENV": str(bare)}
        project = Project(self.path, python=str(bare_environment(bare)), env=env)
        self._warm_up(project, self.heavy[0])
        for number in range(self.sizes.few_rounds):
            tell(f"without compiled code: round {number + 1} of {self.sizes.few_rounds}")
            self._diabetes(project, "bare ", ways=("pool",))
            if self.sizes.warm:
                self._first(project, self.heavy[0], "bare ")
        return self.samples

    def _warm_up(self, project: Project, *heavies: Heavy) -> None:
        """Once each, so that what keeps compiled code has it, and the disk's cache has the files."""
        if not self.sizes.warm:
            return
        self._diabetes(project, "warm ", ways=("pool",))
        for heavy in heavies:
            self._first(project, heavy, "warm ")

    def _sweep_diabetes(self, project: Project) -> Ran:
        chosen = [word for each in self.sizes.chosen for word in ("--set", each)]
        return project.sweep("diabetes", DIABETES, *chosen)

    def _script(self, project: Project, way: str) -> Any:
        command = [project.python, "-m", "bench.scripts", way, str(self.points), str(self.cores)]
        return timed(command, env=project.env)

    def _diabetes(self, project: Project, key: str, *, ways: tuple[str, ...]) -> None:
        ran = self._sweep_diabetes(project)
        project.forget("diabetes")
        self._add(f"{key}diabetes ours", ran.command_s, ran.cpu_s)
        for way in ways:
            done = self._script(project, way)
            found = len(json.loads(done.out))
            if found != ran.summary["done"]:
                raise RuntimeError(f"{found} points in a script of one's own ({way}), {ran.summary['done']} here")
            self._add(f"{key}diabetes {way}", done.wall_s, done.cpu_s)

    def _add(self, key: str, wall_s: float, cpu_s: float) -> None:
        self.samples[key].append(wall_s)
        self.samples[f"{key}, CPU s"].append(cpu_s)

    def _first(self, project: Project, heavy: Heavy, key: str) -> None:
        """The import alone, then how long a sweep takes to its first result: as many slots as cores."""
        alone = (
            f"import time; begin_s = time.perf_counter(); import {heavy.module}; print(time.perf_counter() - begin_s)"
        )
        done = timed([project.python, "-c", alone], cwd=self.path, env=project.env)
        self.samples[f"{key}{heavy.module} alone"].append(float(done.out))
        self.samples[f"{key}{heavy.module} first"].append(self._first_s(project, heavy))

    def _first_of_many(self, heavy: Heavy) -> None:
        first_s = self._first_s(self.project, heavy, "--workers", str(self.sizes.many))
        self.samples[f"{heavy.module} first of many"].append(first_s)

    def _first_s(self, project: Project, heavy: Heavy, *options: str) -> float:
        ran = project.sweep("heavy", heavy.grid(2 * self.sizes.many), *options)
        project.forget("heavy")
        return known_s(ran)

    def _short(self) -> None:
        """A sweep of two points that do nothing, and commands that run none."""
        ran = self.project.sweep("two", noop_grid(2))
        self.samples["two first"].append(known_s(ran))
        self._add("two command", ran.command_s, ran.cpu_s)
        listed = self.project.inv("--list")
        self._add("list", listed.wall_s, listed.cpu_s)
        names = [f"copy-{number}" for number in range(RUNS - 1)]
        for name in names:
            self.project.copy("two", name)
        listed = self.project.inv("runs")
        self._add("runs", listed.wall_s, listed.cpu_s)
        for name in ("two", *names):
            if name not in listed.out:
                raise RuntimeError(f"inv runs did not list {name}:\n{listed.out}")
            self.project.forget(name)

    def _efficiency(self, *, joblib: bool) -> None:
        start_s = self._start_s()
        self.samples["slots' start"].append(start_s)
        for ms in MILLISECONDS:
            points = round(self.sizes.points_s * 1000 / ms) * self.cores
            ran = self.project.sweep("busy", busy_grid(points, ms=ms, timeout=TIMEOUT))
            self.project.forget("busy")
            slots, wall_s = ran.summary["slots"], ran.summary["wall_s"]
            self.samples[f"ours {ms} ms"].append(ran.summary["busy_s"] / (slots * (wall_s + start_s)))
            self.samples[f"ours {ms} ms, without their start"].append(float(ran.summary["efficiency"]))
            if joblib:
                self.samples[f"joblib {ms} ms"].append(peers.sample("joblib_cold", self.cores, points, ms))

    def _start_s(self) -> float:
        """How long the slots' processes take to start, from a sweep of its own: recording it takes time, too."""
        grid = self.path / "start.yaml"
        grid.write_text(busy_grid(self.cores, ms=1, timeout=TIMEOUT))
        words = ["sweep", "--grid", str(grid), "--name", "start", "--local", "--json"]
        recording = record(
            [self.project.python, "-m", "invoke", *words],
            env={**self.project.env, "INVOKE_RUNS": str(self.project.runs)},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if recording.code:
            raise RuntimeError(f"{' '.join(words)} ended with {recording.code}")
        self.project.forget("start")
        return slots_start_s(recording.processes)

    def _memory(self, slots: int) -> float:
        """What the slots use together, in MB, while each computes a point after a heavy import."""
        told = self.path / f"told-{slots}"
        told.mkdir(exist_ok=True)
        for each in told.iterdir():
            each.unlink()
        grid = self.path / "memory.yaml"
        grid.write_text(self.heavy[1].using_grid(slots, told=told))
        words = ["sweep", "--grid", str(grid), "--name", "memory", "--local", "--json", "--workers", str(slots)]
        with tempfile.TemporaryFile("w+") as said:
            driver = subprocess.Popen(
                [self.project.python, "-m", "invoke", *words],
                cwd=ROOT,
                env={**self.project.env, "INVOKE_RUNS": str(self.project.runs)},
                stdout=said,
                stderr=said,
            )
            try:
                most = slots_mb(driver.pid, told=told, points=slots, deadline_s=DEADLINE_S)
            finally:
                code = driver.wait()
            if code:
                said.seek(0)
                raise RuntimeError(f"{' '.join(words)} ended with {code}:\n{said.read()}")
        self.project.forget("memory")
        return most


def known_s(ran: Ran) -> float:
    """When a new run had its first result."""
    if ran.first_result_s is None:
        raise RuntimeError("a new run had no first result")
    return ran.first_result_s


if __name__ == "__main__":
    main()
