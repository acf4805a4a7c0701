"""The `ssh` command line to a machine of the cluster, with its published host key and no other."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.host_keys import published_key
from sweepfleet.fleet.reach.ssh_keys import keys_to_try


def ssh_command(fleet: Fleet, *, worker: str, options: Sequence[str] = ()) -> list[str]:
    """The words to start; side effect: writes the published host keys to a file of the stack's folder.

    Args:
        fleet: the cluster.
        worker: the beginning of a worker's instance id; empty for the head.
        options: more of ssh's own.

    Raises:
        UsageError: there is no such worker.
        GoneError: AWS has no head any more.
        NotYetError: it has published no host key.
    """
    out = fleet.woken()
    keys = {out.head_ip: published_key(fleet.cloud, out, out.head_identity)}
    address, known_hosts = out.head_ip, fleet.folder.known_hosts
    if worker:
        found = fleet.find_worker(worker)
        address = found.private_ip
        keys[address] = published_key(fleet.cloud, out, f"{out.worker_role_id}:{found.instance_id}")
        known_hosts = known_hosts.with_name(f"{known_hosts.name}.{found.instance_id}")
    _write(known_hosts, keys)
    strict = _strict(known_hosts, out.ssh_public_key)
    through: list[str] = []
    if worker:
        jump = ["ssh", *strict, "-W", "[%h]:%p", f"{out.ssh_user}@{out.head_ip}"]
        through = ["-o", f"ProxyCommand={' '.join(map(_quoted, jump))}"]
    return ["ssh", *strict, *through, *options, f"{out.ssh_user}@{address}"]


def _strict(known_hosts: Path, public_key: str) -> list[str]:
    """Options that believe this file alone, whatever the user's own configuration says."""
    settings = {
        "UserKnownHostsFile": f'"{known_hosts}"',  # ssh splits at blanks
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ControlPath": "none",  # no connection that something else opened
        "ForwardAgent": "no",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
    }
    words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    # Where the other commands look for keys; ssh itself asks the account's home, not $HOME.
    return words + [word for key in keys_to_try(public_key) for word in ("-i", str(key))]


def _quoted(word: str) -> str:
    """A word for ProxyCommand's shell; %h and %p are ssh's to fill in, and any other % is meant so."""
    return word if word == "[%h]:%p" else shlex.quote(word).replace("%", "%%")


def _write(file: Path, keys: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text("".join(f"{host} {key}\n" for host, key in keys.items()))
    beside.replace(file)
