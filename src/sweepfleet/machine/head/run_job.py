"""The driver of a run on the cluster: `run_job JOB`, as the head's unit for it starts it.

The same `run_sweep` as on a laptop, on the fleet's scheduler. How the run ended stands in its progress file; the
process itself fails only by accident, and then systemd starts it again and it goes on from the ledger.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine import dask_command
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import HOME, SCRATCH, Data, Facts
from sweepfleet.machine.head.snapshot import alone, tell_end
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.machine.refusals import is_final
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.run.disk import FullDiskError
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.pauses import pauses
from sweepfleet.run.progress import Words
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.runs import refresh
from sweepfleet.run.summary import Summary
from sweepfleet.run.sweep import EXIT_FAILED, EXIT_INTERRUPTED, Request, run_sweep

EVERY_S = 1.0
NOTE_EVERY_S = 60.0
PAUSED_S = 600.0  # for which workers are kept while a full volume lets nothing run
EXIT_AGAIN = 75  # EX_TEMPFAIL


class Reporter:
    """Tells whoever follows the job how it is doing, through its progress file."""

    def __init__(self, folder: JobFolder, *, workers_needed: int) -> None:
        self._folder = folder
        self._workers_needed = workers_needed
        self._said: dict[str, Any] = {"workers_needed": workers_needed}
        self._paused_s = 0.0  # time.monotonic() since when nothing runs, for want of room; 0: something does
        self.words: Words | None = None  # once the grid is read
        self._last: Progress | None = None
        self._next_s = 0.0
        self._waits, self._noted_s = "", 0.0

    def say(self, text: str) -> None:
        """A line for the journal."""
        print(text, flush=True)

    def state(self, state: str, **more: Any) -> None:
        """What it is doing now."""
        self._said |= {"state": state, **more}
        self._write()

    def update(self, progress: Progress) -> None:
        """How far it is, when it is time."""
        self._last = progress
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + EVERY_S
        self._note(self.words.waits(progress) if self.words else progress.waits)
        self._count_workers(paused=progress.paused)
        best = self.words.best(progress) if self.words else ""
        self._said |= {"state": "running", "progress": dataclasses.asdict(progress), "best": best}
        self._write()

    def needs_no_workers(self) -> None:
        """All that is left to do is done on the head."""
        self._said["workers_needed"] = 0
        self._write()

    @contextlib.contextmanager
    def without_workers(self) -> Iterator[None]:
        """Around a time in which workers would cost money for nothing."""
        self.needs_no_workers()
        yield
        self._said["workers_needed"] = self._workers_needed
        self._write()

    def end(self, **how: Any) -> None:
        """It has ended: whoever waits for it reads how, so this is written however long it takes."""
        self._said |= {"state": "ended", **how}
        for pause_s in pauses():
            if self._write():
                return
            time.sleep(pause_s)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Around a time in which nothing else can be seen."""
        self.state("waiting", waiting_for=what)
        yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around the time in which points run; where it has come to then is always written."""
        self._next_s = 0.0
        yield
        self._next_s = 0.0
        if self._last is not None:
            self.update(self._last)

    def _write(self) -> bool:
        """Write what is said; whether that could be."""
        try:
            self._folder.write_progress(json.dumps(self._said | {"at": time.time()}))
        except OSError as error:  # of which the run must be able to end
            print(f"how far it is cannot be written: {error}", flush=True)
            return False
        return True

    def _count_workers(self, *, paused: bool) -> None:
        """Ask for no workers once nothing has run for a while, and for them again when something is to run."""
        now_s = time.monotonic()
        self._paused_s = (self._paused_s or now_s) if paused else 0.0
        idle = bool(self._paused_s) and now_s - self._paused_s > PAUSED_S
        self._said["workers_needed"] = 0 if idle else self._workers_needed

    def _note(self, waits: str) -> None:
        """Say in the journal what finished points wait for: at first, every minute, and when that is over."""
        now_s = time.monotonic()
        if waits and (not self._waits or now_s > self._noted_s + NOTE_EVERY_S):
            print(waits, flush=True)
            self._noted_s = now_s
        elif self._waits and not waits:
            print("finished points wait for nothing any more", flush=True)
        self._waits = waits


def sweep_of(folder: JobFolder, job: Job) -> Sweep:
    """The sweep of a job: the grid that travelled with it, standing where it stood in the release.

    Raises:
        UsageError: it runs a command in a folder that the release does not have.
    """
    sweep = load(folder.grid / job.grid, name=job.name, where=job.where)
    sweep = dataclasses.replace(sweep, source=HOME.release(job.release) / job.grid)
    if sweep.target.command and not sweep.target.wandb and not sweep.folder.is_dir():
        raise UsageError(
            f"The command is to run in {Path(job.grid).parent}, the grid's folder, which the cluster's release does "
            "not have. Commit it, then: inv push"
        )
    files = not_in_release(folder, job)
    if files:
        note = f"{', '.join(files)}: as where the command was given; not so in the release {job.release[:12]}."
        sweep = dataclasses.replace(sweep, warnings=(*sweep.warnings, note))
    return sweep


def not_in_release(folder: JobFolder, job: Job) -> list[str]:
    """The files that travelled with a job, and that its release does not have, or has otherwise."""
    found = []
    for file in sorted(path for path in folder.grid.rglob("*") if path.is_file()):
        name = file.relative_to(folder.grid).as_posix()
        released = HOME.release(job.release) / name
        travelled = job.grid_sha256 if name == job.grid else _sha256(file)
        if not released.is_file() or _sha256(released) != travelled:
            found.append(name)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def run(folder: JobFolder, facts: Facts) -> int:
    """Run a job to its end; returns the command's exit code, and writes it into the progress file.

    Raises:
        ClusterError: the scheduler went away; the job is still active.
    """
    job = Job.from_json(folder.job.read_text())
    data = Data(Path(facts.data))
    reporter = Reporter(folder, workers_needed=job.workers_needed)
    reporter.state("starting")
    summary: dict[str, Any] = {}
    said = ""
    try:
        sweep = sweep_of(folder, job)
        reporter.words = Words(Space(sweep.plan), sweep.metric)
        if _fleet_engine() not in {None, job.engine}:
            raise UsageError(
                "The cluster runs another version of the project's code or environment, for a run that is "
                "active. Wait until it has ended (inv status), or cancel it (inv cancel)."
            )
        os.environ.update(dask_command.environment(data.tls, "driver"))
        request = Request(
            runs=data.runs,
            root=HOME.release(job.release),
            command_line=job.command_line,
            born_s=time.time(),
            redo=job.redo or ("failed" if job.retry_failed else ""),
            redo_request=repr(job.submitted),
            address=dask_command.address(facts.head_ip),
            artifacts=SCRATCH / "artifacts" / job.name,
            machine=ClusterMachine(f"s3://{facts.bucket}/runs/{job.name}/artifacts"),
            spent=folder.spent.exists,
            goes_on=lambda: not folder.cancelled.exists(),  # the machine goes down, and the run goes on after it
            loaded=gc.freeze,  # a search through what stays would hold up every slot
        )
        found, code = _run_with_room(sweep, request, reporter)
        if code == EXIT_INTERRUPTED and not folder.cancelled.exists():
            return code  # the machine goes down, and the run goes on when it is up
        summary = found.to_dict()
        reporter.needs_no_workers()
        if why := _store(folder, reporter, Aws(facts), data.runs / job.name):
            code, said = EXIT_FAILED, why
    except SweepfleetError as error:
        code, said = error.exit_code, str(error)
        if code == EXIT_INTERRUPTED and not folder.cancelled.exists():
            return code  # likewise, though its disk is full
        if isinstance(error, ClusterError):
            if not folder.spent.exists():
                raise
            code, said = EXIT_FAILED, f"It has cost its budget. {error}"
        reporter.needs_no_workers()
        if isinstance(error, UsageError):
            said = f"{said}\n{code_that_ran(job)}"
        elif (run_folder := RunFolder(data.runs / job.name)).ledger.exists():
            with alone(folder), contextlib.suppress(SweepfleetError):  # for want of space: the ledger at least
                refresh(run_folder, always=True)
            why = _store(folder, reporter, Aws(facts), run_folder.path)
            said = f"{said}\n{why}".rstrip()
            summary = read_json(run_folder.summary)
        print(f"error: {said}", flush=True)
    wait = lambda what: reporter.state("waiting", waiting_for=what)  # noqa: E731
    tell_end(folder, facts, exit_code=code, error=said, waiting=wait)
    reporter.end(exit_code=code, summary=summary, error=said)
    folder.active.unlink(missing_ok=True)
    return code


def _run_with_room(sweep: Sweep, request: Request, reporter: Reporter) -> tuple[Summary, int]:
    """Run the sweep; where a full volume refuses it before its first point, once there is room."""
    for pause_s in pauses(longest_s=NOTE_EVERY_S):
        try:
            return run_sweep(sweep, request, reporter)
        except FullDiskError as full:
            waiting_for = f"room: {full.disk.name} is full; {full.disk.fix}"
            reporter.say(f"waiting for {waiting_for}")
            with reporter.waiting(waiting_for), reporter.without_workers():
                time.sleep(pause_s)
    raise AssertionError("pauses have no end")


def _store(folder: JobFolder, reporter: Reporter, aws: Aws, run_folder: Path) -> str:
    """Store what came of a run, however often it takes: a driver that began again would ask for workers again.

    Returns:
        why it cannot be stored, now or later; empty when it is.
    """
    waiting_for = "storing the results"
    for pause_s in pauses():
        try:
            with reporter.waiting(waiting_for), alone(folder):
                aws.sync(run_folder, f"runs/{run_folder.name}/")
                return ""
        except AwsError as error:
            if is_final(str(error)):
                return (
                    f"The results cannot be stored in the bucket: {error}. They are on the head, in {run_folder}. "
                    "`inv up` brings a head's rights up to date; then give the same command again."
                )
            waiting_for = f"storing the results: {error}"
            reporter.say(waiting_for)
            time.sleep(pause_s)
    raise AssertionError("pauses have no end")


def code_that_ran(job: Job) -> str:
    """Whose code it was, for a user who has other code at hand."""
    note = read_json(HOME.release(job.release) / "release.json")
    changed = " with changes" if note.get("dirty") else ""
    return (
        f"The cluster runs the code of commit {str(note.get('commit'))[:10]}{changed}. If you mean another: "
        "commit it, then inv push"
    )


def _fleet_engine() -> str | None:
    """What scheduler and workers run, where that is written down."""
    with contextlib.suppress(FileNotFoundError):
        return HOME.fleet_engine.read_text().strip()
    return None


def main() -> int:
    """Run the job that the command line names; 0 when it has ended, however, and 75 when it is to go on."""
    folder = JobFolder(Path(sys.argv[1]))
    try:
        code = run(folder, Facts.read())
    except (ClusterError, AwsError) as error:
        print(f"{error}; going on in a moment", flush=True)
        return EXIT_AGAIN
    except Exception:  # noqa: BLE001 - a defect of ours, and whoever waits for the run must hear of it
        said = traceback.format_exc()
        print(said, flush=True)
        tell_end(folder, Facts.read(), exit_code=1, error=said)
        Reporter(folder, workers_needed=0).end(exit_code=1, summary={}, error=said)
        folder.active.unlink(missing_ok=True)
        return 0
    print(f"ended with {code}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
