"""A job that a program on the head itself asks for, as the service user: handed over, waited for, connected to."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Callable

from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.facts import Data
from sweepfleet.machine.job import Job, JobFolder

LOOK_S = 0.1


def submit(data: Data, job: Job) -> JobFolder:
    """Hand a job over, as `take_over` does for one from elsewhere; an active one of this kind and release is joined.

    Raises:
        UsageError: an active run has its name.
    """
    folder = JobFolder(data.jobs / job.name)
    jobs = os.open(data.jobs, os.O_RDONLY)
    try:
        fcntl.flock(jobs, fcntl.LOCK_EX)
        if folder.active.exists():
            its = Job.from_json(folder.job.read_text())
            if (its.kind, its.durable, its.release) == (job.kind, True, job.release) and job.durable:
                return folder
            raise UsageError(
                f"The run {job.name} is active already. Use another run=, or: inv cancel --name {job.name}"
            )
        new = data.jobs / f".new-{job.name}"
        for place in (new, folder.path):
            shutil.rmtree(place, ignore_errors=True)
        new.mkdir(mode=0o755)
        JobFolder(new).write(JobFolder(new).job, job.to_json())
        new.rename(folder.path)
        folder.active.touch()
    finally:
        os.close(jobs)
    (data.asked / job.name).touch()  # root starts its unit: `asked_jobs`
    return folder


def wait_running(folder: JobFolder, *, say: Callable[[str], None]) -> None:
    """Wait until a job's driver runs; says what it waits for. Raises UsageError: it has ended."""
    said = ""
    while (progress := folder.read_progress()).get("state") != "running":
        if not folder.active.exists():
            raise UsageError(str(folder.read_progress().get("error") or f"The run {folder.path.name} has ended."))
        waiting = str(progress.get("waiting_for") or "")
        if waiting not in ("", said):
            said = waiting
            say(f"The run waits for {waiting}")
        time.sleep(LOOK_S)


def connect(folder: JobFolder) -> socket.socket | None:
    """A connection to the driver of calls, once it listens; None when the job is not active."""
    while folder.active.exists():
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            place = os.open(folder.path, os.O_PATH)  # a socket's path has no more than 107 bytes
            try:
                stream.connect(f"/proc/self/fd/{place}/{folder.socket.name}")
            finally:
                os.close(place)
        except OSError:
            stream.close()
        else:
            return stream
        time.sleep(LOOK_S)
    return None
