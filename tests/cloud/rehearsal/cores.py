"""A machine's processor time: how much it has used, and how much it may use."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cloud.rehearsal.host import run

OLD = Path("/run/cpu")  # where a rig finds control groups of version 1, if the host has the `cpu` controller there
PERIOD_US = 100_000


def used_s(cgroup: Path) -> float:
    """The processor time of everything that has run in a group."""
    lines = dict(line.split() for line in (cgroup / "cpu.stat").read_text().splitlines())
    return int(lines["usage_usec"]) / 1e6


def limit(cgroup: Path, cores: float) -> None:
    """Let a machine have this much of the host's processors, e.g. 0.5 of one core; 0 lifts the limit."""
    rig = cgroup.parent
    if "cpu" in (rig.parent / "cgroup.controllers").read_text().split():
        for group in (rig.parent, rig):
            (group / "cgroup.subtree_control").write_text("+cpu")
        (cgroup / "cpu.max").write_text(f"{round(cores * PERIOD_US) or 'max'} {PERIOD_US}")
        return
    if not OLD.is_mount():
        OLD.mkdir(exist_ok=True)
        run("mount", "-t", "cgroup", "-o", "cpu", "none", OLD)
    old = OLD / rig.name / cgroup.name
    old.mkdir(parents=True, exist_ok=True)
    (old / "cpu.cfs_period_us").write_text(str(PERIOD_US))
    (old / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US) or -1))
    while outside := _processes(cgroup) - _processes(old):  # what these start, starts inside
        for process in outside:
            _move(process, old)


def _processes(cgroup: Path) -> set[str]:
    return {pid for file in cgroup.rglob("cgroup.procs") for pid in file.read_text().split()}


def _move(process: str, group: Path) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        (group / "cgroup.procs").write_text(process)
