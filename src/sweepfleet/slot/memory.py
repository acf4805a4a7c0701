"""Measures the memory of a point: its child's and that of all processes below it.

What a process that multiprocessing forks shares with its parent is there once, but is resident in both. So the sum
of what is resident is only an upper bound. Where that is above the limit, the kernel's proportional share (PSS: each
page divided by the number of processes that have it) decides; the kernel takes some milliseconds a gigabyte for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import NamedTuple

SHARE = 0.05  # of a core's time that looking may take
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """What processes use together."""

    used: int  # bytes
    processes: int

    def __str__(self) -> str:
        """The text for an error message."""
        where = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.used / 1e6:,.0f} MB{where}"


class Meter:
    """Measures all processes below one, itself excluded, as often as is cheap."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._next_s = 0.0
        self._last = Usage(0, 0)

    def usage(self, limit_bytes: int) -> Usage:
        """The usage now, or at the last measurement; exact where it is above the limit."""
        begin_s = time.monotonic()
        if begin_s >= self._next_s:
            self._last = usage(below(self._pid), limit_bytes)
            end_s = time.monotonic()
            self._next_s = end_s + (end_s - begin_s) * (1 / SHARE - 1)
        return self._last


def usage(pids: list[int], limit_bytes: int) -> Usage:
    """What these processes use; those that have ended use nothing."""
    resident = {pid: used for pid in pids if (used := _resident(pid))}
    total = sum(resident.values())
    if total > limit_bytes and len(resident) > 1:
        shares = {pid: _proportional(pid) for pid in resident}
        total = sum(used if (share := shares[pid]) is None else share for pid, used in resident.items())
    return Usage(total, len(resident))


def below(pid: int) -> list[int]:
    """All processes below one: children and theirs."""
    if sys.platform == "linux":
        with contextlib.suppress(FileNotFoundError):
            found: list[int] = []
            asked = [pid]
            while asked:
                new = _children(asked.pop())
                found += new
                asked += new
            return found
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


def _children(pid: int) -> list[int]:
    """The children of each of its threads. Raises FileNotFoundError where the kernel does not tell."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names
    except OSError:
        return []  # it has ended
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
        except FileNotFoundError:
            if os.path.exists(f"/proc/{pid}/task/{thread}"):  # noqa: PTH110 - else it has just ended
                raise
        except ProcessLookupError:
            continue
    return found


def _resident(pid: int) -> int:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
        return 0
    import psutil

    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int | None:
    """Its proportional set size; None where unknown: an older kernel, another system, another user's process."""
    with contextlib.suppress(OSError):
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def _read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123 - a kernel file, and often
        return file.read()
