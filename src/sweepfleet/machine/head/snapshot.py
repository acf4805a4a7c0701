"""What a run on the cluster has so far, stored in the bucket: `snapshot JOB` on the head.

While the run goes on, tables and report are made from a copy of its ledger, and its driver is not disturbed. With
`--last`, for a run whose driver was stopped before it could do this itself, that is the run's end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import KEYS, Data, Facts
from sweepfleet.machine.head import launch_notes
from sweepfleet.machine.head.meter import settle
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import CLIENT, Job, JobFolder
from sweepfleet.machine.refusals import is_final
from sweepfleet.run.folder import RunFolder, StorageError, read_json
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.outputs import Outputs
from sweepfleet.run.pauses import pauses
from sweepfleet.run.runs import refresh

EXIT_CANCELLED = 130


@contextlib.contextmanager
def alone(folder: JobFolder) -> Iterator[None]:
    """Be the only one who stores a run's results: waits for whoever does, so that the newer ones come last."""
    with folder.storing.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def copy(run: RunFolder, target: RunFolder) -> None:
    """Make `target` a folder of what a run has now, with all its files.

    Raises:
        UsageError: it has nothing yet.
        StorageError: the files cannot be written.
    """
    if run.calls.exists():
        _copy_calls(run, target)
        return
    if not run.ledger.exists():
        raise UsageError(f"The run {run.name} has no results yet.")
    target.path.mkdir(parents=True)
    for file in (run.grid, run.manifest, run.summary, run.function):
        if file.exists():
            shutil.copy2(file, target.path / file.name)
    with contextlib.closing(Ledger(run.ledger, readonly=True)) as ledger:
        ledger.copy_to(target.ledger)
    if run.output.exists():
        with (
            contextlib.suppress(UsageError, StorageError),  # results matter more
            contextlib.closing(Outputs(run.output, readonly=True)) as outputs,
        ):
            outputs.copy_to(target.output)
    refresh(target, always=True)


def _copy_calls(run: RunFolder, target: RunFolder) -> None:
    target.path.mkdir(parents=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{run.calls.as_uri()}?mode=ro", uri=True)) as calls,
            contextlib.closing(sqlite3.connect(target.calls)) as copied,
        ):
            calls.backup(copied)
    except sqlite3.Error as error:
        raise StorageError(f"{run.calls} cannot be copied: {error}") from None


def snapshot(folder: JobFolder, facts: Facts, *, last: bool) -> None:
    """Store what a run has now.

    Args:
        folder: of its job.
        facts: of the head.
        last: no more comes: say in its progress file that it was cancelled, unless it says already how it ended.

    Raises:
        UsageError: there is nothing yet, or never will be.
        StorageError: the files cannot be written.
        AwsError: they cannot be stored.
    """
    job = Job.from_json(folder.job.read_text())
    name = job.name
    if job.kind == CLIENT:
        raise UsageError(f"{name} is a dask client: its results are not stored.")
    run = RunFolder(Data(Path(facts.data)).runs / name)
    with alone(folder), TemporaryDirectory(dir=folder.path, prefix=".snapshot-") as place:
        if last and folder.read_progress().get("state") == "ended":
            return
        target = RunFolder(Path(place, name))
        try:
            copy(run, target)
            Aws(facts).sync(target.path, f"runs/{name}/")
        finally:
            if last:  # after its results, for whoever comes for them; and where there are none
                tell_end(folder, facts, exit_code=EXIT_CANCELLED, error="It was cancelled.")
        if last:
            ended = {"state": "ended", "exit_code": EXIT_CANCELLED, "summary": read_json(target.summary), "error": ""}
            folder.write_progress(json.dumps(folder.read_progress() | ended))


def tell_end(
    folder: JobFolder, facts: Facts, *, exit_code: int, error: str, waiting: Callable[[str], None] | None = None
) -> None:
    """Say in the bucket how the run has ended; a run whose head may not write there has ended nonetheless.

    Args:
        folder: of its job.
        facts: of the head.
        exit_code: of the run.
        error: why it failed; empty otherwise.
        waiting: told what S3 says before each of the pauses between tries, which go on until it is said; None: it is
            tried once.
    """
    for pause_s in pauses():
        try:
            return _store_end(folder, door(facts), exit_code=exit_code, error=error)
        except AwsError as refused:
            if is_final(str(refused)) or waiting is None:
                print(f"{refused}; what a head may, `inv up` brings up to date", flush=True)
                return None
            waiting(f"telling in the bucket that it has ended: {refused}")
            time.sleep(pause_s)
    return None


def _store_end(folder: JobFolder, aws: Aws, *, exit_code: int, error: str) -> None:
    """Say in the bucket how the run has ended, for whoever cannot ask the head. Raises AwsError."""
    job, reading = Job.from_json(folder.job.read_text()), settle(folder, now_s=time.time())
    end = {
        "submitted": job.submitted,  # which command it is the end of
        "ended": time.time(),
        "exit_code": exit_code,
        "error": error,
        "worker_hours": reading.worker_s / 3600,
        "usd": reading.usd(job),
        "budget_usd": job.budget_usd,
        "notes": launch_notes.read(folder.notes),
    }
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "ended.json")
        file.write_text(json.dumps(end) + "\n")
        aws.put(file, KEYS.ended(job.name))


def main() -> None:
    """Store the run of the job that the command line names."""
    place, *options = sys.argv[1:]
    try:
        snapshot(JobFolder(Path(place)), Facts.read(), last=options == ["--last"])
    except (SweepfleetError, AwsError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
