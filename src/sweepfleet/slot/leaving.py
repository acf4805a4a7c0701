"""A machine that has to leave: how long its points have, and the signal that tells them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

# Names a file that appears when this machine has to leave, with the time.monotonic() of that: one clock for all of a
# machine's processes. A machine that nobody takes away has no such variable.
VARIABLE = "_SWEEPFLEET_LEAVING"


def announce(path: Path, until_s: float) -> None:
    """Tell every point of this machine that it has to leave.

    Args:
        path: as `VARIABLE` names it.
        until_s: on the clock of time.monotonic().
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(repr(until_s))
    new.replace(path)


def announced(path: Path) -> float | None:
    """When this machine has to leave, on the clock of time.monotonic(); None while it stays."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return None


def leaving() -> float | None:
    """The seconds that this machine has left for the running point; None while it stays, and on your own machine.

    Examples:
        >>> import sweepfleet as sf
        >>> def fit(steps, checkpoint_dir):
        ...     for step in range(steps):
        ...         if sf.leaving() is not None:
        ...             (checkpoint_dir / "step").write_text(str(step))
        ...             raise SystemExit("to be continued on another machine")
        ...     return steps
        >>> run = sf.sweep(fit, {"steps": [3]}, name="steps")
        >>> run.state
        'done'
    """
    path = os.environ.get(VARIABLE)
    until_s = announced(Path(path)) if path else None
    return None if until_s is None else max(0.0, until_s - time.monotonic())


def interrupt(pid: int, *, command: bool) -> None:
    """Send SIGTERM to the process that computes a point, where it has a handler: it has time to write its checkpoint.

    One without a handler is left alone, since it may still finish.

    Args:
        pid: of the runner child.
        command: whether it runs a command: then it is the program that is told. Where a single process stands above
            that, such as a shell, the first one that has a handler.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        told = psutil.Process(pid)
        if command:
            while len(below := told.children()) == 1:
                told = below[0]
                if _handles(told.pid):
                    break
        if _handles(told.pid):
            told.send_signal(signal.SIGTERM)


def _handles(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM; False where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False
