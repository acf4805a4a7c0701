"""The checkout as Git knows it: which commit, and which files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.code.git import changed, git


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
    commit, tree = git(root, "rev-parse", "HEAD", "HEAD^{tree}").split()
    return Head(commit, tree, tuple(changed(root)))
