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
        marked = [at_s for at_s, label in process.marks if label == "ready"]
        if not marked:
            continue
        # It says so once it has said with which code it computes.
        looks = [span.end_s for span in times(process, "look for new code") if span.begin_s >= marked[0]]
        ready_s = min(looks, default=marked[0])
        first = process
        while (above := by_pid.get(first.parent)) is not None and above.role == "supervisor":
            first = above
        imports = sum(span.took_s for span in times(process, "import the target"))
        found.append(ready_s - first.begin_s - imports)
    if not found:
        raise ValueError("no slot became ready")
    return max(found)
