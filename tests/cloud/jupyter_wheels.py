"""The wheels of the head's Jupyter, as the closed network's package index serves them."""

from __future__ import annotations

from pathlib import Path

from packaging.markers import Marker

from sweepfleet.machine.environment.jupyter import LOCK
from sweepfleet.machine.environment.requirements import entries
from tests.cloud.rehearsal.wheels import ensure_wheels

DEBIAN_12 = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def jupyter_wheels() -> Path:
    """What a head installs of the lock: pip itself goes by the Python that it runs in."""
    lines = []
    for entry in entries(LOCK.read_text()):
        requirement, _, marker = entry.text.partition(" ; ")
        if not marker or Marker(marker).evaluate(DEBIAN_12):
            lines.append(" ".join((requirement, *entry.hashes)))
    return ensure_wheels("\n".join(lines))
