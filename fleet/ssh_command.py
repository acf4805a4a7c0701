"""The `ssh` command line to a machine of the cluster, with its published host key and no other."""

from __future__ import annotations

from fleet.fleet import Fleet
from fleet.remote import published_key


def ssh_command(fleet: Fleet, *, worker: str) -> list[str]:
    """The words to start; side effect: writes the published host keys to the stack's known_hosts.

    Args:
        fleet: the cluster.
        worker: the beginning of a worker's instance id; empty for the head.
    """
    out = fleet.outputs
    keys = {out.head_ip: published_key(fleet.cloud, out, out.head_identity)}
    address = out.head_ip
    if worker:
        found = fleet.find_worker(worker)
        address = found.private_ip
        keys[address] = published_key(fleet.cloud, out, f"{out.worker_role_id}:{found.instance_id}")
    known = fleet.folder.known_hosts
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text("".join(f"{host} {key}\n" for host, key in keys.items()))
    strict = [
        "-o",
        f"UserKnownHostsFile={known}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
    ]
    jump = f"ssh {' '.join(strict)} -W %h:%p {out.ssh_user}@{out.head_ip}"
    through = ["-o", f"ProxyCommand={jump}"] if worker else []
    return ["ssh", "-o", "ForwardAgent=no", *strict, *through, f"{out.ssh_user}@{address}"]
