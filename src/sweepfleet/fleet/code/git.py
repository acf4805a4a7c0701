"""Git's answers about the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.grid.errors import UsageError


def git(root: Path, *words: str) -> str:
    """What a git command prints, at `root`.

    Raises:
        UsageError: it fails, as it does where there is no repository with a commit.
        ClusterError: git cannot be started.
    """
    said, error = _run(root, words)
    if said is None:
        raise UsageError(f"{root} is not a Git repository with a commit, which this needs: {error}")
    return said


def asked(root: Path, *words: str) -> str | None:
    """Likewise, for a command that may rightly fail: None then. Raises ClusterError: git cannot be started."""
    return _run(root, words)[0]


def changed(root: Path) -> list[str]:
    """Tracked files of the project that differ from its commit, by their paths in the repository; errors as `git`."""
    status = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", ".")
    return [entry[3:] for entry in status.split("\0") if entry]


def _run(root: Path, words: tuple[str, ...]) -> tuple[str | None, str]:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False)
    except OSError as error:
        raise ClusterError(f"git cannot be started: {error}") from None
    return (None if done.returncode else os.fsdecode(done.stdout)), os.fsdecode(done.stderr).strip()
