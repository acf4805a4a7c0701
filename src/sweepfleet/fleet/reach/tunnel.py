"""A port of this machine's loopback that leads to one of the head's, by `ssh`: the way to dashboard and notebook."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.grid.errors import UsageError

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787  # on the head's loopback
NEXT_PORTS = 20  # tried after the usual one
OPEN_S = 30
ANSWER_S = 30


def free_port(asked: int | None, *, usual: int = DASHBOARD_PORT) -> int:
    """The port that was asked for; else the usual one, or the next that is free.

    Raises:
        UsageError: it is taken.
    """
    for port in (asked,) if asked is not None else range(usual, usual + NEXT_PORTS):
        if not 0 < port < 65536:
            raise UsageError(f"--port {port} is not a port. Use 1 to 65535.")
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((LOOPBACK, port))
            except OSError as error:
                reason = error.strerror
            else:
                return port
    raise UsageError(f"The port {port} of this machine is not free ({reason}). Use another: --port 8899")


@contextlib.contextmanager
def tunnel(
    fleet: Fleet, port: int, *, to: int = DASHBOARD_PORT, address: str = LOOPBACK
) -> Iterator[subprocess.Popen[str]]:
    """A tunnel from a port of this machine to one of the head's, for as long as the block lasts.

    Args:
        fleet: the cluster.
        port: of this machine's loopback.
        to: the head's.
        address: of the head, on which that listens.

    Raises:
        ClusterError: it cannot be opened, with what ssh says.
    """
    options = ["-N", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]
    options += ["-L", f"{LOOPBACK}:{port}:{address}:{to}"]
    with subprocess.Popen(
        ssh_command(fleet, worker="", options=options), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as ssh:
        try:
            _wait_open(ssh, port)
            yield ssh
        finally:
            ssh.terminate()


def _wait_open(ssh: subprocess.Popen[str], port: int) -> None:
    end_s = time.monotonic() + OPEN_S
    while True:
        if ssh.poll() is not None:
            raise broken(ssh)
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        if time.monotonic() > end_s:
            raise ClusterError(
                f"The tunnel to the head did not open in {OPEN_S} s. If your address has changed: inv allow-me"
            )
        time.sleep(0.1)


def broken(ssh: subprocess.Popen[str]) -> ClusterError:
    """Why a tunnel ended by itself."""
    said = ssh.stderr.read().strip() if ssh.stderr else ""
    return ClusterError(f"The tunnel to the head is closed: {said or f'ssh ended with {ssh.returncode}'}")


def check_dashboard(port: int) -> str:
    """The dashboard's address, once it answers there.

    Raises:
        ClusterError: the scheduler is not there, or serves no dashboard.
    """
    url = f"http://{LOOPBACK}:{port}/status"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise ClusterError(
            f"The scheduler has no dashboard (HTTP {error.code}): its environment lacks bokeh, which the project's "
            "dependency group `machines` brings. Update the project, then: inv push"
        ) from None
    except OSError as error:
        raise ClusterError(f"The scheduler does not answer ({error}): inv status, inv logs") from None
    return url
