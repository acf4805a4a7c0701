"""The machine that the rehearsal runs on: whether it can, and the packages that it needs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

# What is looked for, and the package of Debian and Ubuntu that has it.
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # which Ubuntu lacks
# What a rig does to the kernel, tried in namespaces that are gone at once.
PROBE = """\
set -e
ip link add probe type bridge
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/root
mount -t overlay none -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
test -e /dev/loop-control
"""


class HostError(Exception):
    """The host refused something that a rehearsal needs; says what it was and what came back."""


def run(*command: str | Path, text: str | None = None) -> str:
    """Run a command to its end and return what it printed; HostError with all it said when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HostError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout.strip()}")
    return done.stdout


@cache
def why_not() -> str | None:
    """Why no rehearsal can run here, in one line; None when it can."""
    if platform.system() != "Linux":
        return "the rehearsal cloud needs Linux"
    if os.geteuid() != 0:
        return "the rehearsal cloud needs root: it makes namespaces and boots machines in them"
    release = platform.freedesktop_os_release()
    if not {"debian", "ubuntu"} & {release.get("ID", ""), *release.get("ID_LIKE", "").split()}:
        return "the rehearsal cloud needs Debian or Ubuntu, whose packages it uses"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", PROBE]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = done.stdout.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
        return f"the rehearsal cloud needs namespaces, overlays and loop devices: {said[-1]}"
    return None


def install() -> None:
    """Install the packages that are missing; HostError when apt-get cannot."""
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool, path=_path()) is None}
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        run("apt-get", "update", "-q")
        run(
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-qy",
            "--no-install-recommends",
            *sorted(missing),
        )


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
