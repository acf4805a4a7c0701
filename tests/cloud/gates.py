"""Points of a sweep in the rehearsal cloud that a test holds back and lets go: files on the workers."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from tests.cloud import evidence
from tests.cloud.rehearsal.cloud import until
from tests.cloud.rehearsed import Laptop


def open_gates(laptop: Laptop, gate: str, process: subprocess.Popen[str], *, run: str, timeout_s: float) -> None:
    """Have this file on every worker, also on one that comes later, until the process has ended.

    Args:
        laptop: whose cluster it is.
        gate: the file's path there.
        process: which waits for the sweep; its output is read by now, or fits into the pipe.
        run: the sweep's name.
        timeout_s: for it to end.

    Raises:
        AssertionError: it did not; with what the run has come to.
    """

    def ended() -> bool:
        for name, leader in laptop.cloud.machines().items():
            if leader and name != laptop.outputs.head_id:
                with suppress(AssertionError, ProcessLookupError):  # it is going
                    laptop.cloud.machine(name).run(["touch", gate])
        return process.poll() is not None

    until(ended, what="the run ends", timeout_s=timeout_s, tell=lambda: evidence.of_run(laptop, run))
