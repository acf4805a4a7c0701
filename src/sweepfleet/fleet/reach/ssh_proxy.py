"""The way to a worker for ssh: `python -m sweepfleet.fleet.reach.ssh_proxy --root CHECKOUT --stack STACK HOST`.

What `inv ssh-config` writes calls it (ProxyCommand), whenever somebody connects: workers come and go. ssh looks into
its known_hosts only after the first bytes from the other side, so the host key that is written here is there by then.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sweepfleet.fleet.fleet import Fleet, open_fleet
from sweepfleet.fleet.reach.host_keys import published_key
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.fleet.reach.ssh_config import worker_patterns
from sweepfleet.fleet.reach.ssh_folder import SshFolder, add_worker
from sweepfleet.fleet.workers.group import Worker, group
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.infra.layout import SSH_PORT


def worker_of(fleet: Fleet, host: str) -> Worker:
    """The worker that a host's name means: by its place among the workers, or by the beginning of its instance id.

    Raises:
        UsageError: there is none.
    """
    by_number, by_id = (pattern.removesuffix("*") for pattern in worker_patterns(fleet.outputs.stack))
    if host.startswith(by_id):
        return fleet.find_worker(f"i-{host.removeprefix(by_id)}")
    workers = group(fleet.cloud, fleet.outputs).workers
    number = host.removeprefix(by_number)
    if number.isascii() and number.isdigit() and 0 < int(number) <= len(workers):
        return workers[int(number) - 1]
    known = [f"\n  {by_number}{place}  {one.instance_id}" for place, one in enumerate(workers, 1)]
    raise UsageError(f"{host} is not a worker. Workers now: {''.join(known) or 'none. Start some: inv start'}")


def main(words: list[str]) -> None:
    """Be the connection to a worker, through the head."""
    parser = argparse.ArgumentParser(prog="ssh_proxy")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--profile", default=None)
    parser.add_argument("host")
    asked = parser.parse_args(words)
    fleet = open_fleet(asked.root, asked=asked.stack, profile=asked.profile)
    fleet.require_head()
    worker = worker_of(fleet, asked.host)
    out = fleet.outputs
    key = published_key(fleet.cloud, out, f"{out.worker_role_id}:{worker.instance_id}")
    add_worker(SshFolder.own(), out.stack, asked.host, key)
    through = ["-o", "BatchMode=yes", "-W", f"[{worker.private_ip}]:{SSH_PORT}"]
    command = ssh_command(fleet, worker="", options=through)
    os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SweepfleetError as _error:
        sys.exit(f"error: {_error}")
