"""What every measurement has around it: this machine, a scratch project's folder, whole commands and their times."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("distributed", "joblib", "numpy", "polars", "sweepfleet")


@dataclass(frozen=True, slots=True)
class Timed:
    """A command that has run."""

    wall_s: float  # from the start of its process to its end
    cpu_s: float  # of it and of all below it that was waited for
    out: str  # its standard output
    begun_s: float  # unix time at which it was started


def timed(command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Timed:
    """Run a command to its end. Raises RuntimeError when it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        begun_s, begin_s = time.time(), time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - begin_s
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command[1:])} ended with {child.returncode}:\n{said.read()}")
        return Timed(wall_s, usage.ru_utime + usage.ru_stime, out.read(), begun_s)


def core_count() -> int:
    """The cores that this process may use, as a sweep counts its slots."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": core_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "platform": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is deleted afterwards, on the disk that runs/ is on: a ledger's commits wait for the disk."""
    parent = ROOT / ".sweepfleet"
    parent.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if not any(parent.iterdir()):
            parent.rmdir()


def tell(text: str) -> None:
    """Say what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def tell_load(here: Mapping[str, Any]) -> None:
    """Say when other programs were running."""
    if here["load_before"] > here["cores"] / 4:
        print(
            f"Other programs were running (load {here['load_before']:.1f}): measure again when the machine is quiet."
        )
