"""A point's checkpoint as one file, which is stored whole or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

ASKED = ".sweepfleet-asked"  # a member that says: the point itself chose this moment, and will choose the next ones


def pack(folder: Path, file: Path, *, asked: bool) -> None:
    """Write a folder's files, folders and links into an archive, which appears whole.

    Args:
        folder: of the point.
        file: the archive.
        asked: whether the point asked for it, by `sweepfleet.checkpoint()`.
    """
    new = file.with_name(f"{file.name}.new")
    with tarfile.open(new, "w") as archive:
        if asked:
            archive.addfile(tarfile.TarInfo(ASKED), io.BytesIO())
        archive.add(
            folder, arcname=".", filter=lambda one: one if one.isreg() or one.isdir() or one.issym() else None
        )
    new.replace(file)


def unpack(file: Path, folder: Path) -> bool:
    """Put an archive's content in the place of a folder; whether the point asked for it.

    Raises:
        tarfile.TarError: it is damaged, or a member would leave the folder.
    """
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    with tarfile.open(file) as archive:
        archive.extractall(new, filter="data")
    asked = new / ASKED
    was_asked = asked.exists()
    asked.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return was_asked


def signature(folder: Path) -> frozenset[tuple[str, int, int]]:
    """What changes when a file in a folder does: names, sizes and times."""
    found = ((path, path.lstat()) for path in folder.rglob("*"))
    return frozenset((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)
