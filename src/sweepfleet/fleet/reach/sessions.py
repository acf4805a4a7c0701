"""Console and notebook on the head, from outside: begun or found, ended, and what to tell who uses them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.fleet.steps import StepLines, Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.facts import SERVICE_USER, Data
from sweepfleet.machine.job import Job
from sweepfleet.machine.session import LEAST_IDLE_S, Session, SessionFolder
from sweepfleet.run.text import duration

PATHS = MachinePaths()
DATA = Data(Path(PATHS.data))
BEGIN_S = 1800  # Jupyter's environment is built the first time
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# As root: nothing of it before the first push, or in a release of a version before.
SCRIPT = f"""
cd {PATHS.code} 2>/dev/null && test -e sweepfleet/machine/head/session.py || {{
  echo "error: The cluster's release has no console and no notebook. Push this version: inv push" >&2; exit 2; }}
set -a; . {PATHS.facts}
exec python3 -m sweepfleet.machine.head.session "$@"
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that is active."""

    session: Session
    new: bool
    ended: str  # why the one before has ended by itself; empty for not
    token: str  # of a notebook server


def idle_seconds(text: str) -> int:
    """A time such as 30m, 2h or 1d, in seconds.

    Raises:
        UsageError: it is none, or too short.
    """
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found or (seconds := int(found[1]) * UNITS_S[found[2]]) < LEAST_IDLE_S:
        raise UsageError(f"--idle {text!r} is not a time of at least a minute. Write it as 30m, 2h or 1d.")
    return seconds


def begin(head: Host, kind: str, *, idle_s: int, job: Job, steps: Steps) -> Begun:
    """Have a session on the head: the active one, else a new one, whose runs have the limits of this job.

    Raises:
        UsageError: the head's release knows no sessions.
        ClusterError: it cannot begin, with what the head says.
    """
    said = _asked(head, "begin", kind, str(idle_s), job.to_json(), steps=steps)
    return Begun(Session.from_json(json.dumps(said["session"])), said["new"], said["ended"], said["token"])


def end(head: Host, kind: str, *, steps: Steps) -> bool:
    """End a session with all that it has in memory; whether there was one. Errors: as of `begin`."""
    return bool(_asked(head, "end", kind, steps=steps)["active"])


def lines(begun: Begun, *, stack: str, current: str, asked_idle_s: int | None) -> list[str]:
    """What a user is told of a session; pure.

    Args:
        begun: the session.
        stack: whose head has it.
        current: the SHA-256 of the cluster's release now.
        asked_idle_s: what the user asked for; None for nothing.
    """
    kind, session = begun.session.kind, begun.session
    said = []
    if begun.ended:
        said.append(f"The {kind} before ended by itself: {begun.ended}.")
    state = "A new" if begun.new else "The active"
    after = duration(session.idle_s)
    ends = f"It ends {after} after its last use, or with: inv {kind} --end. Only the head's time is paid for"
    said.append(f"{state} {kind} on the head of {stack}. {ends}; workers are paid for while they run.")
    if asked_idle_s is not None and asked_idle_s != session.idle_s:
        said.append(f"--idle is for a new {kind}: this one keeps {after}.")
    if session.release != current:
        said.append(
            f"It runs the release {session.release[:12]}, and the cluster's is {current[:12]} now. For that one: "
            f"inv {kind} --end, then inv {kind}"
        )
    return said


def console_command(fleet: Fleet, *, terminal: bool) -> list[str]:
    """The words that open a terminal of the console; side effect: as of `ssh_command`."""
    folder = SessionFolder(DATA.sessions / "console")
    environment = [f"PYTHONPATH={PATHS.code}", f"HOME={DATA.sessions_home}", "LC_ALL=C.UTF-8"]
    words = ["sudo", "-n", "-u", SERVICE_USER, "env", *environment, str(folder.jupyter / "bin/python")]
    words += ["-m", "sweepfleet.machine.head.console_client", str(folder.connection)]
    return [*ssh_command(fleet, worker="", options=["-t"] if terminal else []), shlex.join(words)]


def _asked(head: Host, *words: str, steps: Steps) -> dict[str, Any]:
    """What the head answers; what it does meanwhile is shown."""
    out = _Steps(StepLines(steps, named=lambda line: f"The head is {line}"))
    done = head.run("sh", "-uc", SCRIPT, "session", *words, sudo=True, deadline_s=BEGIN_S, out=out)
    if done.exit_code:
        said = (done.stderr or done.stdout).strip().removeprefix("error: ")
        raise UsageError(said) if done.exit_code == UsageError.exit_code else ClusterError(f"[head] {said}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class _Steps:
    """What the head does, without its answer."""

    def __init__(self, lines: StepLines) -> None:
        self._lines = lines
        self._rest = ""

    def write(self, text: str) -> int:
        """Take some output."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            if not line.startswith("{"):
                self._lines.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """Nothing: lines go when they are whole."""
