"""The workers that AWS takes back: the scheduler hears it from them and writes it down, the keeper reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sweepfleet.machine.files import write_whole

TOPIC = "sweepfleet-leaving"  # of events of dask: a worker says in how many seconds AWS takes its machine back
LEFT_S = "left_s"


def read(file: Path, *, now_s: float) -> dict[str, float]:
    """The workers that leave, and the unix time at which AWS ends each; those whose time is over are skipped."""
    try:
        said = json.loads(file.read_text())
        return {str(name): float(end_s) for name, end_s in said.items() if float(end_s) > now_s}
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or not this file
        return {}


def write(file: Path, workers: Mapping[str, float]) -> None:
    """Write it down, as `read` reads it. Raises OSError: the file is as it was."""
    write_whole(file, json.dumps(dict(workers)) + "\n")
