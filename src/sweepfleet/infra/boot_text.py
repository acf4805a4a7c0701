"""The boot text: what a new machine is told once, in cloud-init's language. Pure; golden files hold it.

It stays small and stable: it prepares the machine, then waits for a release and hands over to it. What changes
often travels in releases. No secret is in it, since whoever may describe the instance can read it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweepfleet.infra.layout import MachinePaths

MOST_BYTES = 9216  # EC2 takes 16 KB; the rest is room for a user's own
SSH_USER = "admin"  # as on Debian's official images, and made where an image names it otherwise
SERVICE_USER = "sweepfleet"  # runs everything, may log in nowhere
SCRIPTS = Path(__file__).with_name("boot")
PATHS = MachinePaths()

UV_VERSION = "0.13.9"
UV_SHA256 = {  # of the manylinux_2_17 wheels, as the package index lists them
    "amd64": "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    "arm64": "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
}
# One thread a process: a slot is a core, and libraries that take all cores for each of them slow all down.
BLAS_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WORKER_SCRIPTS = ("publish-host-key", "await-release")
HEAD_SCRIPTS = ("data-volume", "install-uv", *WORKER_SCRIPTS)
# One unit for every script of the boot text. Each tries until it has done its work: network, roles and volumes
# come when they come. None holds up the boot, since a release may be days away. What they say is on the console too,
# which an operator can read of a machine that nobody can reach.
UNIT = f"""\
[Unit]
Description=sweepfleet boot: %i
Wants=network-online.target
After=network-online.target cloud-init.service
StartLimitIntervalSec=0
[Service]
Type=exec
EnvironmentFile={PATHS.facts}
ExecStart={PATHS.lib}/%i
StandardOutput=journal+console
Restart=on-failure
RestartSec=10
[Install]
WantedBy=multi-user.target
"""
PER_BOOT = "/var/lib/cloud/scripts/per-boot/sweepfleet"
BEGIN = """\
#!/bin/sh
install -d {home}
systemctl daemon-reload
systemctl try-restart systemd-journald
exec systemctl enable --now --no-block {units}
"""
JOURNAL = "[Journal]\nStorage=persistent\nSystemMaxUse=500M\nMaxRetentionSec=1month\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is told about its stack."""

    stack: str
    region: str
    bucket: str
    role_id: str  # with the instance's id, its own folder in the bucket
    head_private_ip: str
    architecture: str
    package_index: str
    endpoint_url: str = ""
    data_volume_id: str = ""  # the head's; a worker has none
    worker_groups: str = ""  # that the head sizes, with a space between them: the one with spot instances first

    @property
    def role(self) -> str:
        """Head or worker."""
        return "head" if self.data_volume_id else "worker"

    def facts(self) -> dict[str, str]:
        """The same, as environment variables for scripts and units; those without a value are left out."""
        facts = {
            "SWEEPFLEET_ROLE": self.role,
            "SWEEPFLEET_STACK": self.stack,
            "SWEEPFLEET_BUCKET": self.bucket,
            "SWEEPFLEET_ROLE_ID": self.role_id,
            "SWEEPFLEET_HEAD": self.head_private_ip,
            "SWEEPFLEET_PACKAGE_INDEX": self.package_index,
            "SWEEPFLEET_DATA": PATHS.data if self.data_volume_id else "",
            "SWEEPFLEET_DATA_VOLUME": self.data_volume_id,
            "SWEEPFLEET_GROUP": self.worker_groups,
            "UV_VERSION": UV_VERSION if self.data_volume_id else "",
            "UV_SHA256": UV_SHA256[self.architecture] if self.data_volume_id else "",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }
        return {name: value for name, value in facts.items() if value} | BLAS_THREADS


def boot_text(machine: Machine) -> str:
    """The cloud-config of a head or a worker, ready for user data.

    Raises:
        ValueError: it is larger than `MOST_BYTES`.
    """
    text = "#cloud-config\n" + str(yaml.dump(cloud_config(machine), Dumper=_Dumper, sort_keys=False, width=200))
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"the boot text has {len(text.encode())} bytes, more than {MOST_BYTES}")
    return text


def cloud_config(machine: Machine) -> dict[str, Any]:
    """The same before it is text."""
    scripts = HEAD_SCRIPTS if machine.role == "head" else WORKER_SCRIPTS
    units = [f"sweepfleet-boot@{name}.service" for name in scripts]
    files = [
        _file(PATHS.facts, "".join(f"{name}={shlex.quote(value)}\n" for name, value in machine.facts().items())),
        _file("/etc/systemd/journald.conf.d/sweepfleet.conf", JOURNAL),
        _file("/etc/systemd/system/sweepfleet-boot@.service", UNIT),
        *(_file(f"{PATHS.lib}/{name}", (SCRIPTS / name).read_text(), mode="0755") for name in scripts),
        # At every boot, and not as runcmd: that counts as done before it is, and a power cut then leaves it undone.
        _file(PER_BOOT, BEGIN.format(home=PATHS.home, units=" ".join(units)), mode="0755"),
    ]
    return {
        "user": {"name": SSH_USER},
        "users": [
            "default",
            {"name": SERVICE_USER, "system": True, "homedir": PATHS.home, "shell": "/usr/sbin/nologin"},
        ],
        "ssh_pwauth": False,
        "ssh_genkeytypes": ["ed25519"],  # the one that is published
        "write_files": files,
    }


def _file(path: str, content: str, *, mode: str = "0644") -> dict[str, str]:
    return {"path": path, "permissions": mode, "content": content}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a reader sees scripts as scripts."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
