"""A job's grid and points files, which travelled with it, beside the release, whose code runs."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import load
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine.facts import HOME
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.run.folder import read_json


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
        if name == job.grid and not job.grid_sha256:
            continue
        released = HOME.release(job.release) / name
        travelled = job.grid_sha256 if name == job.grid else _sha256(file)
        if not released.is_file() or _sha256(released) != travelled:
            found.append(name)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def code_that_ran(job: Job) -> str:
    """Whose code it was, for a user who has other code at hand."""
    note = read_json(HOME.release(job.release) / "release.json")
    changed = " with changes" if note.get("dirty") else ""
    return (
        f"The cluster runs the code of commit {str(note.get('commit'))[:10]}{changed}. If you mean another: "
        "commit it, then inv push"
    )
