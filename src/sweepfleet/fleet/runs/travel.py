"""What travels to the head with a sweep: its grid as it is run, its points files, and a function sent by value.

All other code comes by `inv push`.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.slot.by_value import read


def grid_place(sweep: Sweep, *, root: Path) -> str:
    """The grid file's path in the project, with /.

    Raises:
        UsageError: it is outside.
    """
    place = _place(sweep.source, root)
    if place is None:
        raise UsageError(
            f"{sweep.source} is outside the project {root}, so its code cannot be on the cluster. Put it into the "
            "project, or run it here: --local"
        )
    return place


def points_files(sweep: Sweep, *, root: Path) -> dict[str, Path]:
    """The sweep's points files, each by its path in the project.

    Raises:
        UsageError: one of them would not be found on the cluster.
    """
    found = {}
    for name in sweep.files:
        if name == sweep.target.pickle:  # it has a place of its own
            continue
        place = None if Path(name).is_absolute() else _place(Path(os.path.normpath(sweep.folder / name)), root)
        if place is None:
            why = "is an absolute path" if Path(name).is_absolute() else f"is outside the project {root}"
            raise UsageError(
                f"points: {name} {why}, so it would not be found on the cluster. Put the file into the project and "
                "give its path relative to the grid file, or run the sweep here: --local"
            )
        found[place] = sweep.folder / name
    return found


def _place(path: Path, root: Path) -> str | None:
    """A path within the project, also where one came to it through a link; None outside."""
    for seen in (path, path.parent.resolve() / path.name):
        if seen.is_relative_to(root):
            return seen.relative_to(root).as_posix()
    return None


def pack(archive: Path, sweep: Sweep, job: Job, *, root: Path) -> None:
    """Write what travels as a tar file: job.json, grid/ with each file at its path in the project, the function.

    Raises:
        UsageError: a file is outside the project, or cannot be read.
    """
    files = points_files(sweep, root=root)
    function = function_of(sweep)
    with tarfile.open(archive, "w") as tar:
        _add(tar, "job.json", job.to_json().encode())
        _add(tar, f"grid/{job.grid}", sweep.text.encode())
        if function is not None:
            _add(tar, JobFolder(Path()).function.name, function)
        for place, file in files.items():
            try:
                _add(tar, f"grid/{place}", file.read_bytes())
            except OSError as error:
                raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None


def pack_job(archive: Path, job: Job) -> None:
    """The same for a job that is nothing but itself: calls, which come later."""
    with tarfile.open(archive, "w") as tar:
        _add(tar, "job.json", job.to_json().encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def function_of(sweep: Sweep) -> bytes | None:
    """The content of the function's file; None where it is imported. Raises UsageError: it cannot be read."""
    return None if sweep.target.pickle is None else read(sweep.folder / sweep.target.pickle)


def sha256_of(sweep: Sweep) -> str:
    """Of the grid file as it stands, before --set and --where; empty where the grid was made in Python."""
    return hashlib.sha256(sweep.source.read_bytes()).hexdigest() if sweep.source.exists() else ""
