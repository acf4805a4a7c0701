"""Keeps machines as moto says: one for each instance that runs, with its volumes, addresses and security groups."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cloud.rehearsal import amazon, firewall, group
from tests.cloud.rehearsal.imds import Metadata, MetadataService
from tests.cloud.rehearsal.instance import ROOT_DEVICES, Facts, mac, security_groups
from tests.cloud.rehearsal.machine import REBOOT_SIGNAL, Disk, Machine
from tests.cloud.rehearsal.network import Link, Network
from tests.cloud.rehearsal.volumes import Volume, put_device, take_device

POLL_S = 0.25
STOP_S, TERMINATE_S = 30, 10  # how long a machine may take to shut down before its power is cut
AT_ONCE = 8  # machines that start or stop at the same time

log = logging.getLogger(__name__)


@dataclass
class Unit:
    """An instance of moto's and the machine that plays it."""

    instance: Any
    facts: Facts
    machine: Machine
    metadata: Metadata
    link: Link | None = None
    filter: str = ""  # its packet filter's rules
    devices: dict[str, str] = field(default_factory=dict)  # volume id to its name in the machine's /dev
    reboots: int = 0
    stops: int = 0
    killed: bool = False  # its power was cut from outside; moto has not been told yet
    interrupt_at: float | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)


class Reconciler:
    """One pass after the other: what moto says is made true, and what machines do is told to moto."""

    def __init__(self, *, root: Path, base: Path, cgroup: Path, network: Network, metadata: MetadataService) -> None:
        self.units: dict[str, Unit] = {}
        self.volumes: dict[str, Volume] = {}
        self._root, self._base, self._cgroup = root, base, cgroup
        self._network, self._metadata = network, metadata
        self._workers = ThreadPoolExecutor(AT_ONCE)

    def start(self) -> None:
        """Reconcile in the background for as long as this process lives."""
        threading.Thread(target=self._forever, name="reconciler", daemon=True).start()

    def _forever(self) -> None:
        while True:
            try:
                self.step()
            except Exception:  # a thread of moto's may change what this one reads; the next pass sees it whole
                log.exception("a pass failed")
            time.sleep(POLL_S)

    def step(self) -> None:
        """One pass."""
        for ec2 in amazon.ec2_backends():
            scaling = amazon.autoscaling(ec2.region_name)
            group.run_due_actions(scaling)
            for each in list(scaling.autoscaling_groups.values()):
                group.retry(each)
        for instance in amazon.instances():
            if instance.id not in self.units and instance.state == "running":
                self.units[instance.id] = self._unit(instance)
        for unit in list(self.units.values()):
            if unit.busy.acquire(blocking=False):
                self._workers.submit(self._converge, unit)
        self._network.publish(
            {
                each.public_ip: each.private_ip
                for each in amazon.instances()
                if each.state == "running" and each.public_ip
            }
        )

    def _unit(self, instance: Any) -> Unit:
        facts = Facts(instance)
        machine = Machine(
            instance.id, folder=self._root / "machines" / instance.id, base=self._base, cgroup=self._cgroup
        )
        machine.disk.folder.mkdir(parents=True, exist_ok=True)
        metadata = Metadata(
            tree=facts.tree,
            tokens_required=lambda: instance.metadata_options.http_tokens == "required",
            enabled=lambda: instance.metadata_options.http_endpoint != "disabled",
        )
        return Unit(instance, facts, machine, metadata)

    def _converge(self, unit: Unit) -> None:
        try:
            self._listen(unit)
            self._obey(unit)
        except Exception:  # told, and tried again: a test that waits for this machine reads the log
            log.exception("%s", unit.instance.id)
        finally:
            unit.busy.release()

    def _listen(self, unit: Unit) -> None:
        """Tell moto what has happened to a machine by itself."""
        instance, machine = unit.instance, unit.machine
        if unit.interrupt_at is not None and time.monotonic() >= unit.interrupt_at:
            unit.interrupt_at = None
            if instance.state == "running":
                amazon.terminate(instance)
        if unit.link is None or machine.running or machine.wants_reboot:
            return
        machine.tidy()
        self._disconnect(unit)  # first, so that whoever sees it stopped can start it again
        if instance.state == "running":
            terminates = instance.instance_initiated_shutdown_behavior == "terminate" and not unit.killed
            if hasattr(instance, "autoscaling_group") or terminates:
                amazon.terminate(instance)  # a group replaces a member that is not healthy
            else:
                instance.stop()
        unit.killed = False

    def _obey(self, unit: Unit) -> None:
        """Do to the machine what moto says."""
        instance, machine, stops = unit.instance, unit.machine, unit.instance.stops
        if instance.state == "running":
            if unit.link is not None and unit.stops != stops:  # it was stopped and started since the last pass
                machine.power_off(within_s=STOP_S)
                self._disconnect(unit)
            unit.stops = stops
            if unit.link is None or machine.wants_reboot:
                self._boot(unit)
            elif unit.reboots != instance.reboots:
                machine.signal(REBOOT_SIGNAL)
            unit.reboots = instance.reboots
            self._attach(unit)
            self._guard(unit)
        elif unit.link is not None:
            machine.power_off(within_s=STOP_S if instance.state == "stopped" else TERMINATE_S)
            self._disconnect(unit)
        if instance.state == "terminated" and unit.link is None:
            machine.forget()
            self.units.pop(instance.id, None)

    def _boot(self, unit: Unit) -> None:
        instance = unit.instance
        if any(
            each.link and each.link.address == instance.private_ip
            for each in list(self.units.values())
            if each is not unit
        ):
            return  # a terminated one shuts down still: AWS has its address until it is gone
        self._disconnect(unit)
        unit.machine.tidy()
        vpc = instance.ec2_backend.get_vpc(instance.vpc_id)
        self._metadata.instances[instance.private_ip] = unit.metadata
        unit.link = self._network.plug_in(
            instance.id, address=instance.private_ip, vpc_cidr=vpc.cidr_block, mac=mac(instance)
        )
        self._guard(unit)
        unit.machine.boot(unit.link)

    def _guard(self, unit: Unit) -> None:
        """Let through what the instance's security groups let through."""
        if unit.link is None:
            return
        text = firewall.ruleset(security_groups(unit.instance), self._members)
        if text != unit.filter:
            firewall.apply(unit.link, text)
            unit.filter = text

    def _members(self, group_id: str) -> set[str]:
        """The private addresses of a security group's machines."""
        running = (each for each in amazon.instances() if each.state == "running")
        return {each.private_ip for each in running if any(one.id == group_id for one in security_groups(each))}

    def _disconnect(self, unit: Unit) -> None:
        if unit.link is not None:
            self._network.unplug(unit.link)
            unit.link, unit.filter = None, ""
        if self._metadata.instances.get(unit.instance.private_ip) is unit.metadata:
            del self._metadata.instances[unit.instance.private_ip]
        for volume in list(unit.devices):
            self.volumes[volume].close()
        unit.devices.clear()

    def _attach(self, unit: Unit) -> None:
        """Show the volumes that moto has attached, and no others."""
        leader = unit.machine.leader
        if leader is None:
            return
        dev = Path(f"/proc/{leader}/root/dev")
        mapped = {
            block.volume_id: path
            for path, block in unit.instance.get_block_device_mapping
            if path not in ROOT_DEVICES
        }
        for name in mapped:
            volume = self._volume(unit.instance.ec2_backend.get_volume(name))
            if volume.open() and name not in unit.devices:
                device = next(f"nvme{n}n1" for n in range(1, 27) if f"nvme{n}n1" not in unit.devices.values())
                put_device(dev, device, volume)
                unit.devices[name] = device
        for name in set(unit.devices) - set(mapped):
            take_device(dev, unit.devices.pop(name), self.volumes[name])
            self.volumes[name].close()

    def _volume(self, volume: Any) -> Volume:
        folder = self._root / "volumes"
        folder.mkdir(parents=True, exist_ok=True)
        mine = self.volumes.setdefault(volume.id, Volume(volume.id, folder / volume.id, int(volume.size)))
        mine.size_gb = int(volume.size)
        return mine

    def console(self, instance_id: str) -> str:
        """What an instance has written to its console."""
        return Disk(self._root / "machines" / instance_id).read_console()
