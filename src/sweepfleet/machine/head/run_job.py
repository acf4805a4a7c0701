"""The driver of a run on the cluster: `run_job JOB`, as the head's unit for it starts it.

The same `run_sweep` as on a laptop, on the fleet's scheduler. How the run ended stands in its progress file; the
process itself fails only by accident, and then systemd starts it again and it goes on from the ledger.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine import dask_command
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import HOME, KEYS, SCRATCH, Data, Facts
from sweepfleet.machine.head.meter import settle
from sweepfleet.machine.head.reporter import NOTE_EVERY_S, Reporter
from sweepfleet.machine.head.restore import refuse_lost
from sweepfleet.machine.head.run_client import run_client
from sweepfleet.machine.head.snapshot import EXIT_CANCELLED, alone, snapshot, tell_end
from sweepfleet.machine.head.stored import StoredCheckpoints
from sweepfleet.machine.head.travelled import code_that_ran, sweep_of
from sweepfleet.machine.in_process import InProcess, door
from sweepfleet.machine.job import CALLS, CLIENT, Job, JobFolder
from sweepfleet.machine.refusals import is_final
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.run.disk import FullDiskError
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.pauses import pauses
from sweepfleet.run.progress import Words
from sweepfleet.run.request import Request
from sweepfleet.run.runs import refresh
from sweepfleet.run.summary import Summary
from sweepfleet.run.sweep import EXIT_FAILED, EXIT_INTERRUPTED, run_sweep

EXIT_AGAIN = 75  # EX_TEMPFAIL


def run(folder: JobFolder, facts: Facts) -> int:
    """Run a job to its end; returns the command's exit code, and writes it into the progress file.

    Raises:
        ClusterError: the scheduler went away; the job is still active.
    """
    job = Job.from_json(folder.job.read_text())
    data = Data(Path(facts.data))
    limits: Any = {"workers_needed": job.workers_needed, "slots_each": job.slots_each, "deadline": job.deadline}
    reporter = Reporter(folder, **limits)
    reporter.state("starting")
    if job.kind == CLIENT:
        return _client(folder, job, facts, reporter)
    if job.kind == CALLS:
        return _calls(folder, job, facts, reporter)
    summary: dict[str, Any] = {}
    said = ""
    try:
        sweep = sweep_of(folder, job)
        reporter.words = Words(Space(sweep.plan), sweep.metric)
        _check_engine(job)
        refuse_lost(job.name, data, door(facts))
        _use_certificates(data)
        request = Request(
            runs=data.runs,
            root=HOME.release(job.release),
            command_line=job.command_line,
            born_s=time.time(),
            redo=job.redo or ("failed" if job.retry_failed else ""),
            redo_request=repr(job.submitted),
            address=dask_command.address(facts.head_ip),
            most_workers=job.most_workers,
            artifacts=SCRATCH / "artifacts" / job.name,
            checkpoints=SCRATCH / "checkpoints" / job.name,
            stored=StoredCheckpoints(InProcess(facts), KEYS.checkpoints(job.name)),
            machine=ClusterMachine(
                f"s3://{facts.bucket}/runs/{job.name}/artifacts",
                f"s3://{facts.bucket}/{KEYS.checkpoints(job.name)[:-1]}",
            ),
            spent=folder.spent.exists,
            function=folder.function.read_bytes() if folder.function.exists() else None,
            goes_on=lambda: not folder.cancelled.exists(),  # the machine goes down, and the run goes on after it
            counted=reporter.counted,
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
    return _end(folder, facts, reporter, code=code, said=said, summary=summary)


def _calls(folder: JobFolder, job: Job, facts: Facts, reporter: Reporter) -> int:
    """The same for an Executor's calls."""
    summary: dict[str, Any] = {}
    code, said = 0, ""
    data = Data(Path(facts.data))
    try:
        _check_engine(job)
        refuse_lost(job.name, data, door(facts))
        _use_certificates(data)
        from sweepfleet.machine.head.run_calls import run_calls  # which takes a second, most of it dask's

        summary = run_calls(folder, job, facts, reporter).summary()
    except KeyboardInterrupt:
        if not folder.cancelled.exists():
            return EXIT_INTERRUPTED  # the machine goes down, and the calls that are kept go on when it is up
        code, said = EXIT_INTERRUPTED, "It was cancelled."
    except (ClusterError, FullDiskError) as error:
        waiting_for = f"room: {error}" if isinstance(error, FullDiskError) else str(error)
        reporter.state("waiting", waiting_for=waiting_for, workers_needed=0)
        raise
    except SweepfleetError as error:
        code, said = error.exit_code, str(error)
        print(f"error: {said}", flush=True)
    reporter.needs_no_workers()
    run_folder = RunFolder(data.runs / job.name)
    if run_folder.calls.exists() and (why := _store(folder, reporter, Aws(facts), run_folder.path)):
        code, said = EXIT_FAILED, f"{said}\n{why}".lstrip()
    return _end(folder, facts, reporter, code=code, said=said, summary=summary)


def _use_certificates(data: Data) -> None:
    """Have dask use the driver's certificates: it reads its settings as it is imported, which is after this."""
    os.environ.update(dask_command.environment(data.tls, "driver"))


def _check_engine(job: Job) -> None:
    """Raise UsageError when scheduler and workers run other code than the job's."""
    if _fleet_engine() not in {None, job.engine}:
        raise UsageError(
            "The cluster runs another version of the project's code or environment, for a run that is "
            "active. Wait until it has ended (inv status), or cancel it (inv cancel)."
        )


def _end(
    folder: JobFolder, facts: Facts, reporter: Reporter, *, code: int, said: str, summary: dict[str, Any]
) -> int:
    """Say how a job has ended, in the bucket and in its progress file; returns the exit code."""
    wait = lambda what: reporter.state("waiting", waiting_for=what)  # noqa: E731
    tell_end(folder, facts, exit_code=code, error=said, waiting=wait)
    reporter.end(exit_code=code, summary=summary, error=said)
    folder.active.unlink(missing_ok=True)
    return code


def _client(folder: JobFolder, job: Job, facts: Facts, reporter: Reporter) -> int:
    """The same for a user's dask client, of which nothing is stored."""
    code, said = 0, ""
    try:
        _check_engine(job)
        _use_certificates(Data(Path(facts.data)))
        said = run_client(folder, job, facts, reporter)
    except UsageError as error:
        code, said = error.exit_code, str(error)
    except KeyboardInterrupt:
        if not folder.cancelled.exists():
            return EXIT_INTERRUPTED  # the machine goes down
        said = "It was cancelled."
    print(f"the client has gone. {said}", flush=True)
    reporter.needs_no_workers()
    settle(folder, now_s=time.time())
    reporter.end(exit_code=code, summary={}, error=said)
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


def _fleet_engine() -> str | None:
    """What scheduler and workers run, where that is written down."""
    with contextlib.suppress(FileNotFoundError):
        return HOME.fleet_engine.read_text().strip()
    return None


def _end_cancelled(folder: JobFolder, facts: Facts) -> int:
    """End a run whose machine went down after it was cancelled and before it was stored; it computes no more.

    Raises:
        AwsError: it cannot be stored now.
    """
    try:
        snapshot(folder, facts, last=True)
    except AwsError as error:
        if not is_final(str(error)):
            raise
        print(error, flush=True)
    except SweepfleetError as error:  # it has nothing
        print(error, flush=True)
    for mark in (folder.active, folder.cancelled):
        mark.unlink(missing_ok=True)
    return EXIT_CANCELLED


def main() -> int:
    """Run the job that the command line names; 0 when it has ended, however, and 75 when it is to go on."""
    folder = JobFolder(Path(sys.argv[1]))
    try:
        code = (_end_cancelled if folder.cancelled.exists() else run)(folder, Facts.read())
    except (ClusterError, AwsError, FullDiskError) as error:
        print(f"{error}; continuing in a moment", flush=True)
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
