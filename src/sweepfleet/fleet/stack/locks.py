"""Locks of a stack's state: whose they are, and whether that process still lives.

Pulumi's own backends (a folder, S3, ...) lock with a file that a process which is killed leaves behind. Its service
has leases instead, which run out by themselves. https://github.com/pulumi/pulumi/blob/master/pkg/backend/diy/lock.go
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sweepfleet.fleet.errors import ClusterError

LOCKED = "the stack is currently locked by"
_LOCK = re.compile(r"^ *(\S+): created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock, as Pulumi tells of it."""

    url: str
    user: str
    host: str
    pid: int
    since: str

    @property
    def here(self) -> bool:
        """Whether a process of this machine made it, as far as names tell."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether its process is a running Pulumi; always, where it is of another machine."""
        return not self.here or _is_pulumi(self.pid)

    @property
    def file(self) -> Path | None:
        """Its file, where the state is kept in a folder of this machine."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid}) since {self.since}"


class LockedError(ClusterError):
    """Another process has the stack's lock, or had it and was killed."""

    def __init__(self, stack: str, locks: list[Lock]) -> None:
        self.locks = locks
        super().__init__(_explained(stack, locks))


def locks_in(said: str) -> list[Lock] | None:
    """The locks that Pulumi complains of; None where it complains of none."""
    if LOCKED not in said:
        return None
    return [Lock(url, user, host, int(pid), since) for url, user, host, pid, since in _LOCK.findall(said)]


def removed(locks: list[Lock]) -> bool:
    """Remove the locks of processes of this machine and user that have ended; whether that was all of them.

    Only in a folder of this machine: elsewhere, another machine may have this one's name. Only these very files, so
    that nobody's new lock goes with them.
    """
    stale = [(one, one.file) for one in locks if not one.lives and one.user == own_user()]
    if not locks or len(stale) < len(locks) or any(file is None for _, file in stale):
        return False
    for lock, file in stale:
        if file is not None and _pid_in(file) == lock.pid:
            file.unlink(missing_ok=True)
    return True


def own_user() -> str:
    """This process's user as Pulumi names it: by number, whatever $USER says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's, who is in no list
        return getpass.getuser()


def _pid_in(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_pulumi(pid: int) -> bool:
    """Whether this process runs, and is Pulumi: its number may have gone to another program meanwhile."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        pass
    try:
        said = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:  # there is no ps: nobody can tell
        return True
    return said.returncode == 0 and "pulumi" in said.stdout


def _explained(stack: str, locks: list[Lock]) -> str:
    who = "; ".join(map(str, locks)) or "a process that Pulumi does not name"
    if locks and not any(one.lives for one in locks):
        return (
            f"The state of {stack} is locked by {who}. No such process runs here: it was killed and left its lock. "
            f"Unless another machine has the name {locks[0].host}, remove the lock, and type the same command again: "
            f"pulumi cancel --yes --stack {stack}"
        )
    return (
        f"The state of {stack} is locked by {who}. An update is active there: wait for its end, then type the same "
        f"command again. Only when you know that this process has ended: pulumi cancel --yes --stack {stack}"
    )
