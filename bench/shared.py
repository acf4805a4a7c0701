"""The memory of a sweep's slots, shared pages counted once: Linux's proportional set size."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

AGAIN_S = 0.1
LOOKS = 5
NOT_SLOTS = ("sweepfleet.run.files_process", "git")  # processes below the driver that run no points


def slots_mb(driver: int, *, told: Path, points: int, deadline_s: float) -> float:
    """What all processes below a driver use together while all points run, in MB (10^6 bytes), at most.

    Args:
        driver: its pid.
        told: where each point makes a file when it has begun; they end when there is one called `enough`.
        points: that run at once.
        deadline_s: for all of them to have begun.

    Raises:
        RuntimeError: they have not begun by then.
    """
    end_s = time.monotonic() + deadline_s
    try:
        while (begun := len(list(told.iterdir()))) < points:
            if time.monotonic() > end_s or not psutil.pid_exists(driver):
                raise RuntimeError(f"{begun} of {points} points have begun within {deadline_s} s")
            time.sleep(AGAIN_S)
        most = 0.0
        for _ in range(LOOKS):
            most = max(most, sum(map(_proportional_mb, _below(driver))))
            time.sleep(AGAIN_S)
        return most
    finally:
        (told / "enough").touch()


def _below(driver: int) -> list[int]:
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(driver).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if not any(name in " ".join(process.cmdline()) for name in NOT_SLOTS):
                    found.append(process.pid)
    return found


def _proportional_mb(pid: int) -> float:
    """Each page divided by the number of processes that have it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
