"""Keeps the compiled code of what this process imports, where Python keeps none beside the sources.

Python compiles a module when it first imports it, and keeps the result in `__pycache__` beside it. Where it may not
(`PYTHONDONTWRITEBYTECODE`, `-B`) or cannot (sources of another user, a read-only image), and nobody has compiled the
packages before, each process compiles some 600 modules anew, which takes longer than all else of its start. Such
processes of ours keep it in the user's cache folder. docs/decisions/012-compiled-code.md says why this is sound.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import stat
import sys
import time
from pathlib import Path

MARKER = "distributed"  # the package whose compiled code stands for all that are installed with it
LEAST_FREE_BYTES = 1 << 28  # on a full disk Python may keep half a file, and then fail to import it
USED_S = 86_400.0  # between two notes that an environment is in use
UNUSED_S = 30 * USED_S  # after which the compiled code of an environment is removed


def keep() -> None:
    """Keep compiled code from now on: where Python would, or else in the user's cache. Call it before other imports.

    Side effects: only this process and its forks are changed, and not its environment: what it starts compiles as
    its user said. Makes a folder of the user's own, and removes those there that no environment has used for long.
    """
    if not _is_switched_off():
        sys.dont_write_bytecode = False  # invoke has set it, for the sake of its users' tasks files
    if sys.pycache_prefix is not None or _kept_beside():
        return
    with contextlib.suppress(OSError, RuntimeError):  # then each process compiles again, as Python does
        folder = _folder()
        if folder is not None:
            sys.pycache_prefix = str(folder)
            sys.dont_write_bytecode = False


def where() -> str:
    """Where this process keeps compiled code, as text."""
    if sys.pycache_prefix is not None:
        return sys.pycache_prefix
    return "beside the sources" if _kept_beside() else "not kept"


def _kept_beside() -> bool:
    """Whether the packages are compiled where Python looks, or Python compiles them there."""
    with contextlib.suppress(ImportError, ValueError, NotImplementedError):
        spec = importlib.util.find_spec(MARKER)
        if spec is not None and spec.origin is not None:
            compiled = Path(importlib.util.cache_from_source(spec.origin))
            return compiled.exists() or not (_is_switched_off() or _is_closed(compiled.parent))
    return True  # nothing is known of where compiled code is kept here, so nothing is changed


def _is_switched_off() -> bool:
    """Whether the user has told Python not to write compiled files, by variable or flag."""
    return bool(sys.flags.dont_write_bytecode)


def _is_closed(folder: Path) -> bool:
    """Whether this user cannot make files in a folder, or make the folder."""
    return not os.access(folder if folder.is_dir() else folder.parent, os.W_OK | os.X_OK)


def _folder() -> Path | None:
    """The folder for this environment; None when it cannot be the user's alone, or the disk is full.

    Raises OSError when it cannot be made, and RuntimeError when the user has no home.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():  # as the specification of these folders says
        home = Path.home() / ".cache"
        if not home.is_absolute():
            return None
    if not home.is_dir():
        if not _is_own(home.parent.stat()):
            return None
        _make(home)
    home = home.resolve()  # it may be a link to a larger disk
    if not _is_own(home.stat()) or not all(_is_safe(each.stat()) for each in home.parents):
        return None
    ours = home / "sweepfleet"
    environments = ours / "pycache"
    folder = environments / hashlib.blake2b(_environment().encode(), digest_size=8).hexdigest()
    new = False
    for each in (ours, environments, folder):
        new = _make(each)
        if not _is_own(each.lstat(), private=each != ours):
            return None
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        return None
    if new:
        _remove_unused(environments)
    elif time.time() - folder.stat().st_mtime > USED_S:
        os.utime(folder)
    return folder


def _environment() -> str:
    """A key of this environment, which differs even from one at the same path on a machine with the same home."""
    installed = [name for entry in sys.path if os.path.isdir(entry) for name in os.listdir(entry)]  # noqa: PTH112, PTH208
    return "\n".join([sys.prefix, *sorted(name for name in installed if name.endswith(".dist-info"))])


def _make(folder: Path) -> bool:
    """Make a folder unless it is there; whether it was not."""
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return False
    return True


def _is_own(found: os.stat_result, *, private: bool = False) -> bool:
    """Whether a folder is this user's and nobody else can write to it; `private`: nor read it."""
    others = 0o077 if private else 0o022
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & others


def _is_safe(found: os.stat_result) -> bool:
    """Whether only this user and the system can replace a folder in it."""
    writable = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not writable


def _remove_unused(environments: Path) -> None:
    import shutil

    for each in environments.iterdir():
        if time.time() - each.lstat().st_mtime > UNUSED_S:
            shutil.rmtree(each, ignore_errors=True)
