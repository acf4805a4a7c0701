"""One machine, as a test has it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cloud.rehearsal.inside import ENVIRONMENT, TIMEOUT_S, Done, Runner
from tests.cloud.rehearsal.machine import Disk

if TYPE_CHECKING:
    from tests.cloud.rehearsal.cloud import Cloud

POLL_S = 0.4
BOOTED_S = 90
UP = "/run/cloud-init/result.json"  # cloud-init writes it when it has ended


class MachineHandle:
    """A machine by its instance's id. What it does to the machine happens from outside, as fate does it."""

    def __init__(self, cloud: Cloud, instance_id: str) -> None:
        self._cloud = cloud
        self.instance_id = instance_id
        self.disk = Disk(Path(cloud.lease.root, "machines", instance_id))

    @property
    def boots(self) -> int:
        """How often it has been started."""
        return int(self._state["boots"])

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._state["leader"] is not None

    @property
    def exists(self) -> bool:
        """Whether there is such a machine, on or off."""
        return bool(self._state["known"])

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._cloud.order("state", instance_id=self.instance_id)
        return state

    @property
    def inside(self) -> Runner:
        """Programs in the machine, as root. ProcessLookupError when it is off."""
        leader = self._state["leader"]
        if leader is None:
            raise ProcessLookupError(f"{self.instance_id} is off")
        rig = ("nsenter", f"--target={self._cloud.rig_pid}", "--pid", "--mount", "--")
        return Runner((*rig, "nsenter", f"--target={leader}", "--all", "--"), ENVIRONMENT)

    def run(self, command: Sequence[str | Path], **options: Any) -> Done:
        """Run a program in the machine, as root; see `Runner.run`."""
        return self.inside.run(command, **options)

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in the machine, as root."""
        return self.inside.popen(command, **options)

    def wait_running(self, *, timeout_s: float = TIMEOUT_S) -> MachineHandle:
        """Until it has power."""
        return self._until(lambda: self.running, "has power", timeout_s)

    def wait_booted(self, *, timeout_s: float = BOOTED_S) -> MachineHandle:
        """Until cloud-init has ended, well or not, and systemd has nothing more to start."""
        return self._until(self._booted, "has booted", timeout_s)

    def _booted(self) -> bool:
        if not self.running:
            return False
        script = f"test -e {UP} && case $(systemctl is-system-running) in running|degraded) ;; *) exit 1;; esac"
        return self.run(["sh", "-c", script], check=False).returncode == 0

    def _until(self, condition: Any, what: str, timeout_s: float) -> MachineHandle:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.instance_id}: not within {timeout_s} s: {what}\n{self.console()[-4000:]}"
                )
            time.sleep(POLL_S)
        return self

    def kill(self) -> None:
        """Cut the power, and wait until EC2 knows. A group replaces the machine; one without is stopped: start it."""
        self._cloud.order("kill", instance_id=self.instance_id)
        self._until(lambda: not self._state["news"], "EC2 knows that its power is cut", TIMEOUT_S)

    def reboot(self) -> None:
        """Reboot in order, and wait until it has."""
        before = self.boots
        self._cloud.client("ec2").reboot_instances(InstanceIds=[self.instance_id])
        self._until(lambda: self.boots > before, "has rebooted", TIMEOUT_S)

    def partition(self) -> None:
        """Off the network, and not told."""
        self._cloud.order("cut", instance_id=self.instance_id)

    def heal(self) -> None:
        """On the network again."""
        self._cloud.order("mend", instance_id=self.instance_id)

    def imds_fault(self, *, status: int = 0, delay_s: float = 0) -> None:
        """Every request to its metadata service gets this status, after this long; without arguments, all is well."""
        self._cloud.order("imds", instance_id=self.instance_id, status=status, delay_s=delay_s)

    @property
    def used_s(self) -> float:
        """The processor time that it has used since it was switched on."""
        return float(self._cloud.order("used", instance_id=self.instance_id))

    def limit(self, cores: float) -> None:
        """Give it so many of this host's cores until it is switched off, e.g. 0.5; 0 for all of them."""
        self._cloud.order("limit", instance_id=self.instance_id, cores=cores)

    def console(self) -> str:
        """What has appeared on its console, of all boots; also after its end when the cloud's root is kept."""
        return self.disk.read_console()

    def journal(self, *arguments: str) -> str:
        """Its journal, with `journalctl`'s arguments; of a machine that is off, what is on its disk."""
        command = ["journalctl", "--no-pager", *arguments]
        if self.running:
            return self.run(command).stdout
        command += [f"--directory={self.disk.changes / 'var/log/journal'}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
