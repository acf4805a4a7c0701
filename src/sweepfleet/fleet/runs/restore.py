"""Brings a run back to the head out of the bucket, after its data volume was lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.runs.jobs import PATHS, STORE_S
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.machine.facts import HOME
from sweepfleet.machine.head.restore import EXIT_REFUSED, Restored
from sweepfleet.run.runs import check_name

# As root: the service user makes the run's folder, whose it is.
RESTORE = f"""
name=$1 facts=$2
test -x {HOME.fleet_environment}/bin/python || {{ echo "The head has no code yet. Push it: inv push" >&2; exit 1; }}
set -a; . "$facts"; set +a
cd {PATHS.code}
PYTHONDONTWRITEBYTECODE=1 exec runuser -u sweepfleet -- \\
  {HOME.fleet_environment}/bin/python -m sweepfleet.machine.head.restore "$name"
"""


@dataclass(frozen=True, slots=True)
class Back:
    """A run that the head has again."""

    name: str
    restored: Restored

    def __str__(self) -> str:
        found = self.restored
        of = f"{datetime.fromtimestamp(found.at, UTC):%Y-%m-%d %H:%M} UTC"
        points = f"{counted(found.done, 'finished point')}{f' and {found.failed:,} failed' if found.failed else ''}"
        return (
            f"Restored {self.name}: {points}, as stored on {of}. "
            f"Resume: the same inv sweep --name {self.name}; these points are not computed again."
        )


def restore(fleet: Fleet, name: str) -> Back:
    """Have the head make a run again that it has lost.

    Raises:
        UsageError: the head has the run, or the bucket has nothing of it.
        ClusterError: the head does not answer, or cannot restore it.
    """
    check_name(name)
    script = data_volume.needed(RESTORE)
    with fleet.head() as head:
        answer = head.run("sh", "-euc", script, "restore", name, PATHS.facts, sudo=True, deadline_s=STORE_S)
    if answer.exit_code == EXIT_REFUSED:
        raise UsageError(answer.stderr.strip())
    if answer.exit_code:
        raise ClusterError(f"[head] {(answer.stderr or answer.stdout).strip()}")
    return Back(name, Restored(**json.loads(answer.stdout.splitlines()[-1])))
