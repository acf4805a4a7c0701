"""How long the processes of a sweep's slots take to start; pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.timeline.events import Process
from bench.timeline.text import times


def slots_start_s(processes: Sequence[Process]) -> float:
    """From the birth of a slot's process until it is ready for its first bundle, without the target's import.

    It is that of the slot that took longest. A process that is forked after the import is born then; of one that
    imports the target itself, the time of that is taken off.

    Raises:
        ValueError: no slot became ready.
    """
    by_pid = {process.pid: process for process in processes}
    found = []
    for process in processes:
        ready = [at_s for at_s, label in process.marks if label == "ready"]
        if not ready:
            continue
        first = process
        while (above := by_pid.get(first.parent)) is not None and above.role == "supervisor":
            first = above
        imports = sum(span.took_s for span in times(process, "import the target"))
        found.append(ready[0] - first.begin_s - imports)
    if not found:
        raise ValueError("no slot became ready")
    return max(found)
