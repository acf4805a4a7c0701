"""sweepfleet's side: whole commands in processes of their own, as a user gives them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.here import ROOT, Timed, timed
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.summary import Facts

SIDES = 10  # values of the two quickly varying parameters of a no-op grid


@dataclass(frozen=True, slots=True)
class Ran:
    """One `inv sweep --json` command; times in seconds."""

    summary: dict[str, Any]
    command_s: float  # the whole process, from its start to its end
    files_s: float  # from the first bundle sent until the last file is written
    first_result_s: float | None  # from the process's start to the first committed result
    cpu_s: float  # of all its processes

    @property
    def points_per_s(self) -> float:
        """Points a second until the last result."""
        return float(self.summary["points_per_s"])

    @property
    def files_per_s(self) -> float:
        """Points a second until Parquet, CSV, summary and report are there."""
        return float(self.summary["computed"]) / self.files_s

    @property
    def peak_mb(self) -> float:
        """The driver's peak memory."""
        return float(self.summary["peak_rss_mb"])


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with grid files and their runs."""

    path: Path
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def runs(self) -> Path:
        """The folder of all its runs."""
        return self.path / "runs"

    def inv(self, *words: str) -> Timed:
        """Run a command. Raises RuntimeError when it fails."""
        return timed([self.python, "-m", "invoke", *words], env={**self.env, "INVOKE_RUNS": str(self.runs)})

    def sweep(self, name: str, grid: str | Path, *options: str) -> Ran:
        """Run a grid, a file or a text, into the run `name`.

        Raises:
            RuntimeError: the command failed, or some of its points did.
        """
        folder = RunFolder(self.runs / name)
        file = grid if isinstance(grid, Path) else self.path / f"{name}.yaml"
        if isinstance(grid, str):
            file.write_text(grid)
        ran = self.inv("sweep", "--grid", str(file), "--name", name, "--json", "--local", *options)
        summary = json.loads(ran.out)
        # The manifest is written just before the first bundle is sent, the summary after everything else.
        sent_s, written_s = folder.manifest.stat().st_mtime, folder.summary.stat().st_mtime
        first_s = summary["first_result_s"]
        if first_s is not None:
            # The summary counts from where the command's own code begins, which is after Python's start.
            first_s += written_s - summary["total_s"] - ran.begun_s
        return Ran(summary, ran.wall_s, files_s=written_s - sent_s, first_result_s=first_s, cpu_s=ran.cpu_s)

    def write_files(self, name: str) -> tuple[float, float]:
        """Make a finished run's files once more, as the command does: in seconds, and in MB at the peak."""
        command = [sys.executable, "-m", "sweepfleet.run.files_process", str(self.runs / name)]
        with (self.path / "facts.json").open("w+") as facts, (self.path / "files.txt").open("w+") as said:
            facts.write(Facts(metric=None).to_json())
            facts.seek(0)
            begin_s = time.perf_counter()
            child = subprocess.Popen(command, cwd=ROOT, stdin=facts, stdout=said, stderr=said)
            _, status, usage = os.wait4(child.pid, 0)
            spent_s = time.perf_counter() - begin_s
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                said.seek(0)
                raise RuntimeError(f"{' '.join(command[1:])} ended with {child.returncode}:\n{said.read()}")
        return spent_s, usage.ru_maxrss / 1e6 * (1 if sys.platform == "darwin" else 1024)

    def copy(self, name: str, to: str) -> None:
        """A run once more, under another name."""
        shutil.copytree(self.runs / name, self.runs / to)

    def forget(self, name: str) -> None:
        """Delete a run: a million points are some hundred MB."""
        shutil.rmtree(self.runs / name)


def noop_grid(points: int, *, more: int = 0) -> str:
    """A grid of no-op points; with `more`, its quickest parameter has so many values more.

    Args:
        points: fewer than 100, or a multiple of 100.
        more: every value adds `points / 10` points, and moves the index of nearly every other.
    """
    side = SIDES if points >= SIDES**2 else 1
    return f"""
run: bench.points:noop
parameters:
  a: {{range: [0, {points // side**2}, 1]}}
  b: {{linspace: [0, 1, {side}]}}
  c: {{range: [0, {side + more}, 1]}}
"""


def busy_grid(points: int, *, ms: float, timeout: str | None = None) -> str:
    """A grid of points that each keep a core busy for `ms` milliseconds."""
    execution = f"execution: {{timeout: {timeout}}}" if timeout else ""
    return f"""
run: bench.points:busy
parameters:
  i: {{range: [0, {points}, 1]}}
  ms: {{value: {ms}}}
{execution}
"""
