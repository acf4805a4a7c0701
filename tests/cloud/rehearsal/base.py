"""The machines' image: a Debian 12 root, built once and kept; machines lay their own changes over it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cloud.rehearsal.host import run

CACHE = Path(os.environ.get("SWEEPFLEET_REHEARSAL_CACHE", "/var/cache/sweepfleet-rehearsal"))
SUITE = "bookworm"
MIRROR = os.environ.get("SWEEPFLEET_REHEARSAL_MIRROR", "http://deb.debian.org/debian")
# What Debian's official image has and a boot text may count on; and python3-cffi-backend, a virtual package's
# provider, which debootstrap does not find by itself.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "python3-cffi-backend", "cloud-init", "awscli", "cloud-guest-utils"),
    *("openssh-server", "sudo", "ca-certificates", "e2fsprogs", "iproute2", "procps", "python3-distro-info"),
)
# They wait for hardware, the network or the night, and do nothing for a boot text.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "systemd-pstore.service", "getty@.service", "console-getty.service"),
    *("getty-static.service", "systemd-networkd-wait-online.service", "dev-hugepages.mount"),
)
DATASOURCES = "datasource_list: [Ec2]\n"  # as one line: cloud-init's generator reads no other form
CLOUD: dict[str, Any] = {
    "datasource": {"Ec2": {"metadata_urls": ["http://169.254.169.254"], "timeout": 5, "max_wait": 60}},
    "network": {"config": "disabled"},  # its namespace is configured from outside
    "manage_etc_hosts": True,
    "apt": {"preserve_sources_list": True},
    # As in Debian's official image: https://salsa.debian.org/cloud-team/debian-cloud-images
    "system_info": {
        "default_user": {
            "name": "admin",
            "sudo": ["ALL=(ALL) NOPASSWD:ALL"],
            "shell": "/bin/bash",
            "lock_passwd": True,
        }
    },
}
# cloud-init speaks version 2 of the metadata service to AWS only, and knows AWS by what the hypervisor says, which a
# container does not hear. It asks for metadata before the network is up, over an address of its own: here it is up.
EC2_SOURCE = "usr/lib/python3/dist-packages/cloudinit/sources/DataSourceEc2.py"
ON_AWS = """

def identify_platform():
    return CloudNames.AWS


DataSourceEc2Local.perform_dhcp_setup = False
"""
# Nobody answers there, and says so at once: a name that is looked up costs no time.
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
LOCALE = "LANG=C.UTF-8\n"


def architecture() -> str:
    """Debian's name for this machine's architecture: amd64 or arm64."""
    return run("dpkg", "--print-architecture").strip()


def ensure_base() -> Path:
    """The root that all machines share, built first when it is missing or its recipe has changed.

    Raises:
        HostError: it cannot be built, as when the mirror cannot be reached.
    """
    recipe = json.dumps([SUITE, PACKAGES, MASKED, DATASOURCES, CLOUD, ON_AWS, RESOLV_CONF, LOCALE, architecture()])
    base = CACHE / f"base-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with locked("base"):
        if not base.exists():
            new = base.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, new, MIRROR)
            _settle(new)
            new.rename(base)
    return base


def _settle(root: Path) -> None:
    """Turn what debootstrap has left into an image: no identity, no waiting, and told where its metadata is."""
    (root / "etc/cloud/cloud.cfg.d/90_rehearsal.cfg").write_text(
        "#cloud-config\n" + DATASOURCES + yaml.safe_dump(CLOUD)
    )
    (root / "etc/resolv.conf").write_text(RESOLV_CONF)
    (root / "etc/machine-id").write_text("")
    (root / "etc/default/locale").write_text(LOCALE)
    with (root / EC2_SOURCE).open("a") as source:
        source.write(ON_AWS)
    (root / "etc/hostname").unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    run("chroot", root, "python3", "-m", "compileall", "-q", f"/{EC2_SOURCE}")


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process of this host at a time makes what the cache keeps."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
