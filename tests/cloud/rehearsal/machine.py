"""A machine: a Debian root of its own over the base, booted by systemd-nspawn in a network namespace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cloud.rehearsal import cores
from tests.cloud.rehearsal.host import HostError, run
from tests.cloud.rehearsal.network import Link

CGROUPS = Path("/sys/fs/cgroup")  # the rig's own view: version 2 only, as on Debian
REBOOT = 133  # nspawn's exit code for "boot it again"
HALT_SIGNAL, REBOOT_SIGNAL = signal.SIGRTMIN + 4, signal.SIGRTMIN + 5  # systemd's, to process 1: power off, reboot
START_TIMEOUT_S = 20
EMPTY_TIMEOUT_S = 5


@dataclass(frozen=True)
class Disk:
    """Where a machine's root disk and logs are on the host."""

    folder: Path

    @property
    def root(self) -> Path:
        """The machine's /, while it runs."""
        return self.folder / "root"

    @property
    def changes(self) -> Path:
        """What differs from the base, also while the machine is off."""
        return self.folder / "changes"

    @property
    def console(self) -> Path:
        """Everything that has appeared on its console, of all boots."""
        return self.folder / "console.log"

    def read_console(self) -> str:
        """Its text; empty before the first boot."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""


class Machine:
    """One machine's power switch. Its disk outlives its boots."""

    def __init__(self, name: str, *, folder: Path, base: Path, cgroup: Path) -> None:
        self.name = name
        self.disk = Disk(folder)
        self.boots = 0
        self._base = base
        self._cgroup = cgroup / name
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._lock = threading.Lock()

    def boot(self, link: Link) -> None:
        """Power on in a network namespace; returns when process 1 runs."""
        with self._lock:
            self._mount()
            self._cgroup.mkdir(parents=True, exist_ok=True)
            nspawn = [
                "systemd-nspawn",
                "--quiet",
                "--boot",
                f"--directory={self.disk.root}",
                f"--machine={self.name}",
            ]
            # No machined to register with, and cgroups of the rig's own. Its console goes to a file.
            nspawn += ["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
            nspawn += ["--console=read-only", "--", "systemd.show_status=1", "systemd.log_target=journal"]
            # `ip netns exec` would remount /sys, where nspawn then finds no cgroups.
            enter = f'echo $$ > {self._cgroup}/cgroup.procs; exec nsenter --net={link.namespace} "$@"'
            with self.disk.console.open("ab") as console:
                self._process = subprocess.Popen(
                    ["sh", "-c", enter, "sh", *nspawn], stdin=subprocess.DEVNULL, stdout=console, stderr=console
                )
            self._leader = self._find_leader(self._process)
            self.boots += 1

    @property
    def leader(self) -> int | None:
        """The process id, in the rig's view, of the machine's process 1; None when it is off."""
        return self._leader if self.running else None

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.poll() is None

    @property
    def wants_reboot(self) -> bool:
        """Whether it has ended because it reboots."""
        return self._process is not None and self._process.poll() == REBOOT

    @property
    def used_s(self) -> float:
        """The processor time that it has used since it was switched on."""
        return cores.used_s(self._cgroup)

    def limit(self, share: float) -> None:
        """Give it so many of the host's cores, until it is switched off; 0 for all."""
        cores.limit(self._cgroup, share)

    def signal(self, number: int) -> None:
        """Send a signal to its process 1, as a power button does."""
        if leader := self.leader:
            os.kill(leader, number)

    def power_off(self, *, within_s: float) -> None:
        """Shut down in order, and without it when that takes too long."""
        if self._process is None:
            return
        self.signal(HALT_SIGNAL)
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self.tidy()

    def kill(self) -> None:
        """Cut the power: every process in it dies at once."""
        if self._process is None:
            return
        (self._cgroup / "cgroup.kill").write_text("1")
        self._process.wait()

    def tidy(self) -> None:
        """Put away what a boot has left: its mount and cgroups. The disk stays."""
        with self._lock:
            for folder in sorted(self._cgroup.rglob("*/"), reverse=True):
                _remove(folder)
            if self.disk.root.is_mount():
                run("umount", self.disk.root)

    def forget(self) -> None:
        """Throw the disk away, but not what it has written to its console."""
        self.tidy()
        for folder in (self.disk.root, self.disk.changes, self._work):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _work(self) -> Path:
        return self.disk.folder / "work"

    def _mount(self) -> None:
        # `volatile` spares overlayfs the flushes; it refuses a work folder that has been used so before.
        shutil.rmtree(self._work, ignore_errors=True)
        for folder in (self.disk.root, self.disk.changes, self._work):
            folder.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self._base},upperdir={self.disk.changes},workdir={self._work},volatile"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.disk.root)

    def _find_leader(self, process: subprocess.Popen[bytes]) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            for child in _children(process.pid):
                if Path(f"/proc/{child}/root/run/systemd/system").exists():
                    return child
            time.sleep(0.02)
        raise HostError(f"{self.name} did not start: {self.disk.read_console()[-2000:]}")


def _remove(cgroup: Path) -> None:
    """Remove a control group once the last of its processes is gone: they are killed, but it takes them a moment."""
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while True:
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []
