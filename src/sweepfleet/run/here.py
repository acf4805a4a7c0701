"""The slots of this machine."""

from __future__ import annotations

import os

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep


def slots_here(sweep: Sweep, *, workers: int | None) -> int:
    """How many points this machine runs at once, by its cores and memory and the grid's `resources`."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: at least 1.")
    execution = sweep.execution
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = workers if workers is not None else max(1, cores // execution.cpus)
    if workers is None and execution.memory_bytes:
        import psutil

        slots = max(1, min(slots, psutil.virtual_memory().total // execution.memory_bytes))
    return min(slots, execution.max_parallel or slots)
