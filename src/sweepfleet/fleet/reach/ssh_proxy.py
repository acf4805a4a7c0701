"""The way to the head or to a worker for ssh.

`python -m sweepfleet.fleet.reach.ssh_proxy --root CHECKOUT --stack STACK HOST`: what `inv ssh-config` writes calls it
(ProxyCommand), whenever somebody connects. Workers come and go, and the head sleeps and has another address after it.
ssh looks into its known_hosts only after the first bytes from the other side, so the host key that is written here is
there by then.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import sys
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet, open_fleet
from sweepfleet.fleet.reach.host_keys import published_key
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.fleet.reach.ssh_config import host_name, worker_patterns
from sweepfleet.fleet.reach.ssh_folder import SshFolder, add_worker
from sweepfleet.fleet.workers.group import Worker, group
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.infra.layout import SSH_PORT

CONNECT_S = 30
CHUNK_BYTES = 65536


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
    """Be the connection to the head, or through it to a worker. A head that is asleep is started."""
    parser = argparse.ArgumentParser(prog="ssh_proxy")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--profile", default=None)
    parser.add_argument("host")
    asked = parser.parse_args(words)
    fleet = open_fleet(asked.root, asked=asked.stack, profile=asked.profile)
    if asked.host == host_name(asked.stack):
        return relay(fleet.woken().head_ip, SSH_PORT)
    fleet.require_head()
    worker = worker_of(fleet, asked.host)
    out = fleet.outputs
    key = published_key(fleet.cloud, out, f"{out.worker_role_id}:{worker.instance_id}")
    add_worker(SshFolder.own(), out.stack, asked.host, key)
    through = ["-o", "BatchMode=yes", "-W", f"[{worker.private_ip}]:{SSH_PORT}"]
    command = ssh_command(fleet, worker="", options=through)
    os.execvp(command[0], command)
    return None


def relay(address: str, port: int) -> None:
    """Be a connection: standard input goes there, and what comes from there to standard output. Ends with either.

    Raises:
        ClusterError: it cannot be opened.
    """
    try:
        far = socket.create_connection((address, port), timeout=CONNECT_S)
    except OSError as error:
        raise ClusterError(
            f"The head at {address} does not answer on port {port} ({error}). If your address has changed: "
            "inv allow-me"
        ) from None
    far.settimeout(None)
    with far, selectors.DefaultSelector() as either:
        either.register(far, selectors.EVENT_READ, 1)
        either.register(0, selectors.EVENT_READ, 0)
        while True:
            for key, _ in either.select():
                data = far.recv(CHUNK_BYTES) if key.data else os.read(0, CHUNK_BYTES)
                if not data:
                    return
                if key.data:
                    _write_all(1, data)
                else:
                    far.sendall(data)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SweepfleetError as _error:
        sys.exit(f"error: {_error}")
