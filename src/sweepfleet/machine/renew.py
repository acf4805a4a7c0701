"""What the fleet runs: one release's code and environment, the same in the scheduler and in every worker.

It is the newest release's unless a run goes on, which keeps its own. The bucket's note of it tells workers: those
that start while a run goes on must not bring newer code to it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.machine.aws import Aws
from sweepfleet.machine.bring import bring_environment, bring_release
from sweepfleet.machine.facts import CODE, HOME, KEYS, Data
from sweepfleet.machine.files import write_whole
from sweepfleet.machine.head.publish import engine_of
from sweepfleet.machine.job import active_jobs

SCHEDULER = "sweepfleet-scheduler.service"


def renew_fleet(aws: Aws, data: Data, *, release: Path, environment: Path, starting: str = "") -> bool:
    """Have scheduler and workers run this release, unless a run goes on in the one that they run.

    Args:
        aws: the head's.
        data: the head's volume.
        release: its folder.
        environment: its environment's folder.
        starting: the name of a run that is about to start, and does not count.

    Returns:
        whether the scheduler must be started anew; workers follow it.
    """
    engine = engine_of(release, environment.name)
    known = HOME.fleet_engine.read_text() if HOME.fleet_engine.exists() else None
    others = active_runs(data) - {starting}
    # A new head knows of no engine, and its first run that goes on says which it is to be.
    if known == engine or (others and (known is not None or not starting)):
        return False
    note = HOME.path / ".fleet.json"
    aws.get(KEYS.release_note(release.name), note)
    aws.put(note, KEYS.fleet)  # first, since workers look there as soon as the scheduler has sent them away
    point(HOME.fleet_release, release)
    point(HOME.fleet_environment, environment)
    write_whole(HOME.fleet_engine, engine)
    return True


def active_runs(data: Data) -> set[str]:
    """The names of the runs that go on, or are to go on after an accident."""
    return {folder.path.name for folder in active_jobs(data.jobs)}


def other_engine(aws: Aws, release: Path, environment: Path) -> dict[str, Any]:
    """The note of the release that the fleet runs, when it is not the same engine as this one; empty when it is.

    Raises:
        AwsError: the bucket cannot be read, or the head has not said yet what the fleet runs.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder, "fleet.json")
        aws.get(KEYS.fleet, file)
        note: dict[str, Any] = json.loads(file.read_text())
    return {} if note["engine"] == engine_of(release, environment.name) else note


def become(aws: Aws, note: dict[str, Any]) -> None:
    """Go on as a worker of the release of this note; does not return."""
    release = bring_release(aws, note["release"]["sha256"])
    environment = bring_environment(aws, note["lock"])
    print(f"the fleet runs {note['commit'][:10]}, and so does this worker", flush=True)
    sys.stdout.flush()
    start = release / CODE / "sweepfleet" / "machine" / "start"
    os.execv("/bin/sh", ["sh", str(start), "worker", str(environment)])


def point(link: Path, target: Path) -> None:
    """Have a link point somewhere."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(link)
