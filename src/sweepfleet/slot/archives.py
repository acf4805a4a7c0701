"""A point's checkpoint as one file, which is stored whole or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

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
    new.mkdir(parents=True)
    with tarfile.open(file) as archive:
        _extract(archive, new)
    asked = new / ASKED
    was_asked = asked.exists()
    asked.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return was_asked


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Python has `filter="data"` since 3.11.4, and Debian 12 has 3.11.2; so the members are checked here, too."""
    more: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    for one in archive:
        place = (folder / one.name).resolve()  # now: an earlier member may be a link
        if not (one.isreg() or one.isdir() or one.issym()) or not place.is_relative_to(folder.resolve()):
            raise tarfile.TarError(f"{one.name} is outside the folder, or is no file, folder or link")
        archive.extract(one, folder, **more)


def signature(folder: Path) -> frozenset[tuple[str, int, int]]:
    """What changes when a file in a folder does: names, sizes and times."""
    found = ((path, path.lstat()) for path in folder.rglob("*"))
    return frozenset((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)
