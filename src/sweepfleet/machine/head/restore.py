"""Makes a run's folder on the head again out of what the bucket has: `restore RUN`, after its data volume was lost.

Prints JSON: how many points came back, and of when they are.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import KEYS, Data, Facts
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import JobFolder
from sweepfleet.machine.stored_runs import build, newest
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.parts import PartError, ended_points

EXIT_REFUSED = 2


@dataclass(frozen=True, slots=True)
class Restored:
    """A run that is there again."""

    done: int  # points, or an Executor's calls
    failed: int
    at: float  # unix time of the last of it
    finished: bool  # whether it is what was stored at the run's end, or for `inv results --fetch`


def restore(name: str, data: Data, aws: Aws) -> Restored:
    """Make a run's folder again; it appears whole or not at all.

    Raises:
        UsageError: the head has the run, or the bucket has nothing of it; nothing was changed.
        PartError: what the bucket has cannot be used.
        AwsError: the bucket cannot be read.
    """
    run = RunFolder(data.runs / name)
    source = newest(name, aws.list(KEYS.parts(name)), aws.files(KEYS.results(name)))
    stored = f"the bucket has it as of {source.at:%Y-%m-%d %H:%M} UTC" if source else "the bucket has nothing of it"
    if JobFolder(data.jobs / name).active.exists():
        raise UsageError(f"The run {name} is active on the head, and {stored}. Nothing was changed. See: inv status")
    if run.ledger.exists() or run.calls.exists():
        done, failed = ended_points(run.path)
        raise UsageError(
            f"The head has the run {name} with {done:,} finished and {failed:,} failed points, and {stored}. Nothing "
            f"was changed. The same inv sweep --name {name} resumes it."
        )
    if source is None:
        raise UsageError(
            f"Neither the head nor the bucket has anything of a run {name}. inv sweep --name {name} starts from the "
            "beginning."
        )
    new = data.runs / f".restoring-{name}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        at = build(source, new, aws.get)
        done, failed = ended_points(new)
        shutil.rmtree(run.path, ignore_errors=True)  # it has no rows
        new.rename(run.path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Restored(done, failed, at, finished=not source.in_parts)


def refuse_lost(name: str, data: Data, aws: Aws) -> None:
    """Be sure that a run which begins is not one that this head has lost: all of it would be computed again.

    Raises:
        UsageError: it is; says how to bring it back.
        AwsError: the bucket cannot be read.
    """
    run = RunFolder(data.runs / name)
    if run.ledger.exists() or run.calls.exists() or not (parts := aws.list(KEYS.parts(name))):
        return
    source = newest(name, parts, aws.files(KEYS.results(name)))
    if source is not None and source.in_parts:
        raise UsageError(
            f"The bucket has the run {name} as of {source.at:%Y-%m-%d %H:%M} UTC, and the head does not: its data "
            f"volume was lost. Bring it back, and resume it: inv restore --name {name}. To compute all of it again, "
            "give it another --name."
        )


def main() -> None:
    """Restore the run that the command line names."""
    [name] = sys.argv[1:]
    facts = Facts.read()
    try:
        print(json.dumps(asdict(restore(name, Data(Path(facts.data)), door(facts)))))
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    except (SweepfleetError, PartError, AwsError, OSError) as error:
        sys.exit(f"The run {name} cannot be restored: {error}")


if __name__ == "__main__":
    main()
