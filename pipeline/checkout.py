"""The checkout as Git knows it: which commit, and which files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import ClusterError
from grid.errors import UsageError


@dataclass(frozen=True, slots=True)
class Head:
    """What is checked out."""

    commit: str
    tree: str  # of its files: a pull request's test merge and the merge after it have the same
    changed: tuple[str, ...]  # tracked files that are not as the commit has them


def head_of(root: Path) -> Head:
    """What is checked out at `root`.

    Raises:
        UsageError: that is no repository with a commit.
        ClusterError: git cannot be started.
    """
    commit, tree = _git(root, "rev-parse", "HEAD", "HEAD^{tree}").split()
    status = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", ".")
    return Head(commit, tree, tuple(entry[3:] for entry in status.split("\0") if entry))


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ClusterError(f"git cannot be started: {error}") from None
    if done.returncode:
        raise UsageError(f"{root} is no Git repository with a commit: {done.stderr.strip()}")
    return done.stdout
