"""Measure whether workers that start together wait for one another: real machines, in the rehearsal cloud.

    uv run python -m bench.joins [COUNT ...]        as root on Debian or Ubuntu

Prints a table and writes bench/joins.json. What is measured, and how to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.joins_table import Sample, table
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.run.folder import write_whole
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsal.network import LAPTOP
from tests.cloud.rehearsed import Laptop

RESULTS = Path(__file__).with_name("joins.json")
COUNTS = (1, 5, 10, 20, 30)
BUSY = 0.8  # of this machine's cores, by all workers together: what is left keeps them from waiting for it
CURRENT = "opt/sweepfleet/current"  # a link made when a machine has its release and its environment
UNIT = "sweepfleet-boot@await-release.service"
# What a worker does before it joins, without anybody: what grows with the number of these is this machine's alone.
CONTROL = "sweepfleet-bench-control"
ARCHIVE, PLACE, BEGAN, ENDED = (f"var/tmp/control-{name}" for name in ("archive", "place", "began", "ended"))
KEEP_ARCHIVE = f"""\
set -a && . /etc/sweepfleet/machine.env
aws --endpoint-url "$AWS_ENDPOINT_URL" s3 cp --only-show-errors "s3://$SWEEPFLEET_BUCKET/$1" /{ARCHIVE}
"""
ALONE = f"""\
touch /{BEGAN}
mkdir /{PLACE}
for each in 1 2 3; do aws --version; done >/dev/null
cp /{ARCHIVE} /{PLACE}.tar.gz
sha256sum /{PLACE}.tar.gz >/dev/null
tar -xzof /{PLACE}.tar.gz -C /{PLACE} --no-same-permissions
sync
/{PLACE}/bin/python -c 'import distributed.cli.dask_worker'
touch /{ENDED}
"""
# As a machine is when its boot has come this far for the first time.
FORGET = f"""\
systemctl stop {UNIT}
rm -rf /opt/sweepfleet/* /etc/sweepfleet/tls /{PLACE}* /{BEGAN} /{ENDED}
"""
BOOT_S, JOIN_S, LEAVE_S = 1800, 1800, 120
POLL_S = 2.0
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHES_EACH = 16  # of a machine: what its systemd and services open, and some to spare


class Fleet:
    """A cluster in the rehearsal cloud with its workers; some of them start anew, as if for the first time."""

    def __init__(self, laptop: Laptop, most: int) -> None:
        self.laptop, self.cloud, self.most = laptop, laptop.cloud, most
        self.head = self.cloud.machine(laptop.outputs.head_id)

    def boot(self) -> None:
        """Boot all workers, as far as the part that is measured: they all boot on this machine, and that takes it."""
        self.hold()
        until(lambda: len(self.workers()) == self.most, what="all machines have power", timeout_s=BOOT_S)
        everywhere(self.workers(), booted)
        bucket = self.laptop.outputs.bucket
        kept = self.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=BucketLayout().environments)["Contents"]
        (key,) = (one["Key"] for one in kept if one["Key"].endswith(".tar.gz"))
        everywhere(self.workers(), lambda one: one.run(["sh", "-ec", KEEP_ARCHIVE, "sh", key], timeout_s=BOOT_S))

    def hold(self) -> None:
        """Keep them for the next half an hour."""
        self.laptop.inv("scale", str(self.most))

    def workers(self) -> list[MachineHandle]:
        """The machines that are on, the head aside."""
        on = [name for name, leader in self.cloud.machines().items() if leader and name != self.head.instance_id]
        return [self.cloud.machine(name) for name in sorted(on)]

    def joined(self, since_us: int) -> dict[str, int]:
        """When each worker joined after a time, in microseconds of this machine's clock, as the scheduler's log says.

        Read from outside of the head, so that looking costs it nothing.
        """
        command = ["journalctl", f"--directory={self.head.disk.changes / 'var/log/journal'}", "--output=json"]
        command += ["--unit=sweepfleet-scheduler", f"--since=@{since_us // 10**6}", "--grep=Register worker"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        found = {}
        for line in map(json.loads, lines):
            at_us, name = int(line["__REALTIME_TIMESTAMP"]), line["MESSAGE"].partition("name: ")[2].split(",")[0]
            if at_us > since_us:
                found[name] = at_us
        return found

    def ready(self, count: int, share: float) -> list[MachineHandle]:
        """So many machines with nothing of the project on their disks, held to their share."""
        self.hold()
        workers = self.workers()
        everywhere(workers, lambda one: one.run(["sh", "-c", FORGET], check=False))
        os.sync()  # the machines have one disk, and each writes all it has down before it joins
        everywhere(workers[:count], lambda one: one.limit(share))
        return workers[:count]

    def alone(self, count: int, share: float) -> tuple[float, ...]:
        """Have so many machines do at once, each for itself, what a worker does before it joins."""
        chosen = self.ready(count, share)
        command = ["systemd-run", f"--unit={CONTROL}", "--collect", "sh", "-ec", ALONE]
        everywhere(chosen, lambda one: one.run(command))
        changes = [one.disk.changes for one in chosen]
        until(lambda: all(Path(one, ENDED).exists() for one in changes), what="all have ended", timeout_s=JOIN_S)
        everywhere(chosen, lambda one: one.limit(0))
        return tuple(Path(one, ENDED).lstat().st_mtime - Path(one, BEGAN).lstat().st_mtime for one in changes)

    def sample(self, count: int, share: float) -> Sample:
        """Have so many workers start together, and wait until they have joined."""
        alone = self.alone(count, share)
        chosen = self.ready(count, share)
        idle = idle_rate(self.head)
        used, head_used = [one.used_s for one in chosen], self.head.used_s
        sent, asked = bytes_sent(self.head), len(self.requests())
        rig_used, written = self.rig_cpu_s(), disk_written()
        began_us, clock, cpu = time.time_ns() // 1000, time.monotonic(), machine_cpu_s()
        everywhere(chosen, lambda one: one.run(["systemctl", "start", "--no-block", UNIT]))
        until(lambda: len(self.joined(began_us)) >= count, what="all have joined", timeout_s=JOIN_S)
        at, wall_s = self.joined(began_us), time.monotonic() - clock
        times = [(started_us(one), fetched_us(one), at[one.instance_id]) for one in chosen]
        sample = Sample(
            workers=count,
            share=share,
            all_s=(max(at.values()) - began_us) / 1e6,
            fetched_s=tuple((fetched - started) / 1e6 for started, fetched, _ in times),
            alone_s=alone,
            joined_s=tuple((joined - fetched) / 1e6 for _, fetched, joined in times),
            worker_cpu_s=statistics.mean(one.used_s - before for one, before in zip(chosen, used, strict=True)),
            head_cpu_s=self.head.used_s - head_used,
            head_idle_cpu_s=idle * wall_s,
            head_sent_bytes=bytes_sent(self.head) - sent,
            laptop_requests=len(self.requests()) - asked,
            rig_cpu_s=self.rig_cpu_s() - rig_used,
            disk_written_bytes=disk_written() - written,
            busy_cores=(machine_cpu_s() - cpu) / wall_s,
        )
        everywhere(chosen, lambda one: one.limit(0))
        return sample

    def rig_cpu_s(self) -> float:
        """The processor time that the stand-in for AWS has used."""
        children = psutil.Process(self.cloud.rig_pid).children()
        used = min(children, key=psutil.Process.create_time).cpu_times()  # it forks that first
        return float(used.user + used.system)

    def requests(self) -> list[Any]:
        """What the operator's laptop has asked of AWS."""
        return [one for one in self.cloud.requests() if one[0] == LAPTOP]


def everywhere(machines: Sequence[MachineHandle], what: Any) -> None:
    """Do something on all machines at once."""
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(what, machines))


def booted(machine: MachineHandle) -> None:
    """Wait until it has booted, and leave it there."""
    deadline_s = time.monotonic() + BOOT_S
    while machine.run(["systemctl", "is-active", UNIT], check=False).returncode:
        if time.monotonic() > deadline_s:
            sys.exit(f"error: {machine.instance_id} did not boot in {BOOT_S} s:\n{machine.console()[-2000:]}")
        time.sleep(POLL_S)
    machine.run(["sh", "-c", FORGET], check=False)


def started_us(machine: MachineHandle) -> int:
    """When its unit was started, on this machine's clock."""
    words = ["systemctl", "show", UNIT, "--property=ExecMainStartTimestamp", "--timestamp=us+utc", "--value"]
    told = machine.run(words).stdout.strip()
    seconds = subprocess.run(["date", "+%s%6N", f"--date={told}"], capture_output=True, text=True, check=True).stdout
    return int(seconds)


def fetched_us(machine: MachineHandle) -> int:
    """When it had its release and its environment; read from outside."""
    return (machine.disk.changes / CURRENT).lstat().st_mtime_ns // 1000


def disk_written() -> int:
    """Bytes that have been written to this machine's disks."""
    counters = psutil.disk_io_counters()
    return counters.write_bytes if counters else 0


def bytes_sent(machine: MachineHandle) -> int:
    """What has left its network card."""
    lines = machine.run(["cat", "/proc/net/dev"]).stdout.splitlines()
    return int(next(line for line in lines if line.strip().startswith("eth0:")).split(":")[1].split()[8])


def idle_rate(machine: MachineHandle, over_s: float = 10) -> float:
    """The cores that it uses now."""
    before = machine.used_s
    time.sleep(over_s)
    return (machine.used_s - before) / over_s


def machine_cpu_s() -> float:
    """The processor time that all programs of this machine have used."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@contextmanager
def fleet(most: int) -> Iterator[Fleet]:
    """A cluster with so many workers."""
    with TemporaryDirectory() as folder, Cloud() as cloud:
        laptop = Laptop(cloud, Path(folder))
        laptop.up(maxWorkers=most)
        laptop.inv("push")
        made = Fleet(laptop, most)
        made.boot()
        yield made


def main() -> None:
    """Measure at each count, and say it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS, metavar="COUNT")
    counts = sorted(parser.parse_args().counts)
    if reason := why_not():
        sys.exit(f"error: {reason}")
    needed = WATCHES_EACH * (counts[-1] + 1)
    if int(WATCHES.read_text()) < needed:
        sys.exit(f"error: so many machines need more of the kernel: sysctl -w fs.inotify.max_user_instances={needed}")
    cores = len(os.sched_getaffinity(0))
    share = BUSY * cores / counts[-1]
    with fleet(counts[-1]) as made:
        samples = []
        for count in counts:
            samples.append(made.sample(count, share))
            print(list(table(samples))[-1], flush=True)
    about = {"cores": cores, "machine": platform.platform(), "share": share}
    print(f"\nEach with {share:.3f} of one of {cores} cores:\n", *table(samples), sep="\n")
    write_whole(RESULTS, json.dumps({"about": about, "samples": [asdict(one) for one in samples]}, indent=1) + "\n")
    print(f"Written to {RESULTS}")


if __name__ == "__main__":
    main()
