"""A scheduler and workers on loopback, each in a process of its own, as a cluster's machines start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.command import ROOT


class DaskSite:
    """All processes end with it. What they print is in `log`."""

    def __init__(self, path: Path, *, workers: int = 0, slots: int = 1) -> None:
        """Start a scheduler, and workers with so many slots each; `path` is a folder of its own."""
        self.path = path
        self.slots = slots
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.log = (path / "log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker(f"worker-{number}") for number in range(workers)]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a Python process."""
        env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000000"}
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=env, stdout=self.log, stderr=self.log)
        self.processes.append(process)
        return process

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start a scheduler, at the same address each time."""
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--dashboard-address", "127.0.0.1:0")
        return self.start("-m", "distributed.cli.dask_scheduler", *words)

    def start_worker(
        self, name: str, *, program: tuple[str, ...] = ("-m", "sweepfleet.machine.worker.dask_worker")
    ) -> subprocess.Popen[bytes]:
        """Start a worker; `program` takes what the project's takes."""
        scratch = str(self.path / name)
        words = ("--name", name, "--slots", str(self.slots), "--ports", "40000:49999", "--scratch", scratch)
        return self.start(*program, self.address, *words)

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()
