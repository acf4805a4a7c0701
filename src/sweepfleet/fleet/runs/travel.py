"""What travels to the head with a sweep: its grid as it is run, and its points files. Code comes by `inv push`."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine.job import Job


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
        UsageError: one of them would not be found on the cluster, or the sweep's function is in a file of its own.
    """
    if sweep.target.pickle is not None:
        raise UsageError(
            f"pickle: {sweep.target.pickle}: a cluster imports functions, and cannot use one that was sent by value. "
            "Put it into a module of the project and name it in `run`, or run the sweep here: --local"
        )
    found = {}
    for name in sweep.files:
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
    """Write what travels as a tar file: job.json, and grid/ with each file at its path in the project.

    Raises:
        UsageError: a file is outside the project, or cannot be read.
    """
    files = points_files(sweep, root=root)
    with tarfile.open(archive, "w") as tar:
        _add(tar, "job.json", job.to_json().encode())
        _add(tar, f"grid/{job.grid}", sweep.text.encode())
        for place, file in files.items():
            try:
                _add(tar, f"grid/{place}", file.read_bytes())
            except OSError as error:
                raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def sha256_of(sweep: Sweep) -> str:
    """Of the grid file as it stands, before --set and --where."""
    return hashlib.sha256(sweep.source.read_bytes()).hexdigest()
