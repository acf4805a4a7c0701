"""Which clouds there are on this host, whose they are, and how what a dead one has left is cleared away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from tests.cloud.rehearsal.base import CACHE

PREFIX = "sweepfleet-"
CLOUDS = CACHE / "clouds"
# Where cgroups of version 2 are on a host that has only these, and on one that has version 1 too; and its cores'.
HIERARCHIES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/cpu"))
GONE_WITHIN_S = 10


@dataclass(frozen=True)
class Process:
    """A process, told from another one that gets its number later."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether it is still this process, and not only its remains."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@dataclass(frozen=True)
class Lease:
    """A cloud's entry: enough to use it, to see whether it is wanted, and to clear it away."""

    name: str
    root: str
    keep: bool  # the root is the owner's to delete
    owner: Process | None  # whose end is its end; None for one that runs on its own until `down`
    holder: Process | None = None  # outside its namespaces; they end with it

    @property
    def folder(self) -> Path:
        return CLOUDS / self.name

    @property
    def socket(self) -> Path:
        """Where the rig takes orders."""
        return self.folder / "orders"

    @property
    def alive(self) -> bool:
        """Whether its rig runs."""
        return self.holder is not None and self.holder.alive

    @property
    def wanted(self) -> bool:
        """Whether it should be left alone: it runs, or its owner is just starting it."""
        return self.owner.alive if self.owner else self.alive

    def write(self) -> None:
        """Enter it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / "lease.new"
        new.write_text(json.dumps(asdict(self)))
        new.rename(self.folder / "lease.json")

    def clear(self) -> None:
        """End what still runs, and remove what the kernel does not remove by itself."""
        if self.holder and self.holder.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.holder.pid, signal.SIGKILL)
            _wait(lambda: not self.alive)
        for hierarchy in HIERARCHIES:
            _remove_cgroups(hierarchy / self.name)
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def leases() -> list[Lease]:
    """Every cloud that is entered, dead ones too."""
    found = []
    for file in sorted(CLOUDS.glob(f"{PREFIX}*/lease.json")):
        values = json.loads(file.read_text())
        for key in ("owner", "holder"):
            values[key] = Process(**values[key]) if values[key] else None
        found.append(Lease(**values))
    return found


def sweep() -> list[str]:
    """Clear away what dead clouds have left; their names."""
    dead = [lease for lease in leases() if not lease.wanted]
    for lease in dead:
        lease.clear()
    return [lease.name for lease in dead]


def down(name: str | None = None) -> list[str]:
    """Clear away clouds, alive or dead: the one of this name, or all that belong to no running test; their names."""
    chosen = [
        lease
        for lease in leases()
        if lease.name == name or (name is None and not (lease.owner and lease.owner.alive))
    ]
    for lease in chosen:
        lease.clear()
    return [lease.name for lease in chosen]


def _remove_cgroups(folder: Path) -> None:
    if not folder.is_dir():
        return
    with contextlib.suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
    for each, _, _ in os.walk(folder, topdown=False):  # which minds nothing that somebody else removes meanwhile
        _wait(partial(_rmdir, Path(each)))


def _rmdir(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
