"""Errors for a run's folder that cannot be written, above all when its disk or data volume is full."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError

FULL = (errno.ENOSPC, errno.EDQUOT)
OBSTRUCTED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)  # by something of another kind
# SQLite says that a disk is full, too, when a file may not grow: with less than this free, it is the disk.
LITTLE_BYTES = 64 << 20
PROBE_BYTES = 1 << 20
DATA_VOLUME = "SWEEPFLEET_DATA"  # where the head has it; no such variable elsewhere


class StorageError(SweepfleetError):
    """A run's folder cannot be written: the disk is full, or the system refuses."""


class FullDiskError(StorageError):
    """The disk is full; writing can wait until there is room."""

    def __init__(self, message: str, disk: Disk) -> None:
        super().__init__(message)
        self.disk = disk


class StoppedFullError(StorageError):
    """The user stopped a sweep that waited for room on its disk."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that a path is on."""

    mount: str
    device: str
    total: int  # bytes
    free: int  # bytes, for the user of this process
    data_volume: bool  # the cluster's

    @classmethod
    def of(cls, path: Path) -> Disk:
        """The one that a path is on, or will be on."""
        import psutil  # and sqlite3 further down: no command needs them for a name of this module

        here = path.absolute()
        while not here.exists() and here != here.parent:
            here = here.parent
        data, known = os.environ.get(DATA_VOLUME), os.statvfs(here)
        mount = here.resolve()
        while not mount.is_mount():
            mount = mount.parent
        device = next((p.device for p in psutil.disk_partitions(all=True) if p.mountpoint == str(mount)), "")
        of_data = bool(data) and here.resolve().is_relative_to(Path(data or "/").resolve())
        return cls(str(mount), device, known.f_blocks * known.f_frsize, known.f_bavail * known.f_frsize, of_data)

    @property
    def name(self) -> str:
        """Its name, with its use."""
        what = "the data volume" if self.data_volume else f"the disk {self.device}".rstrip()
        return f"{what} ({self.mount}, {_size(self.total - self.free)} of {_size(self.total)} used)"

    @property
    def fix(self) -> str:
        """How to make room."""
        if self.data_volume:
            twice_gb = -(-2 * self.total // (10 << 30)) * 10
            return f"grow it: pulumi config set dataVolumeGb {twice_gb} && inv up"
        return f"make room on the disk; to see what uses it: du -xh --max-depth=2 {self.mount} | sort -h | tail"


def full_disk(path: Path) -> FullDiskError:
    """The error for the full disk that `path` is on."""
    disk = Disk.of(path)
    return FullDiskError(
        f"{path} cannot be written: {disk.name} is full. Committed results are safe. To resume, {disk.fix}",
        disk,
    )


def storage_error(path: Path, error: BaseException | str) -> StorageError:
    """The error for a path below `path` that cannot be written."""
    if is_full(path, error):
        return full_disk(path)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, OSError) and error.errno in OBSTRUCTED:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        return StorageError(
            f"{path} cannot be written: {_obstacle(named) or f'{reason}.'} Committed results are safe. Remove it or "
            "move it away, then run the same command again."
        )
    return StorageError(
        f"{path} cannot be written: {reason}. Committed results are safe. Make room on the "
        "disk, or fix its permissions, then run the same command again."
    )


def _obstacle(path: Path) -> str:
    """What stands where a folder of this path, or a file of it, belongs; "" where nothing does."""
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            return f"{each} is a symbolic link to {each.readlink()}, which does not exist."
        if each.exists():
            return f"{each} is a folder." if each.is_dir() else f"{each} is not a folder."
    return ""


def is_full(path: Path, error: BaseException | str) -> bool:
    """Whether an error in writing below `path` means that the disk is full."""
    import sqlite3

    if isinstance(error, OSError):
        return error.errno in FULL
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL and Disk.of(path).free < LITTLE_BYTES:  # the probe may be the smaller one
            return True
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _refuses(path)
    return _refuses(path)


def _refuses(path: Path) -> bool:
    """Whether the system refuses to write below `path` for lack of room; statvfs does not show quotas."""
    folder = path if path.is_dir() else path.parent
    probe = folder / f".room.{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in FULL
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return False


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
