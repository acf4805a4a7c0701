"""Sweeps as code: the grids under sweeps/, which of them a branch changes, and what makes one another sweep."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from sweepfleet.fleet.code.git import asked
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.yamlfile import MAX_BYTES, Reading, YamlError, compose

FOLDER = "sweeps"
SUFFIXES = {".yaml", ".yml"}


def grids(root: Path) -> list[Path]:
    """The grid files of the checkout at `root`, by path."""
    return sorted(path for path in (root / FOLDER).rglob("*") if path.suffix in SUFFIXES and path.is_file())


def changed(root: Path, base: str) -> list[Path]:
    """The grids that are not as they were where this branch left another: the file itself, or a points file of it.

    What is not committed counts, too. A grid that was removed is in no list.

    Args:
        root: of the checkout.
        base: a branch, tag or commit; what it has had since is left aside.

    Raises:
        UsageError: there is no such thing, or nothing that both have come from.
        ClusterError: git cannot be started.
    """
    differ = set(_differing(root, base))
    return [grid for grid in grids(root) if any(path in differ for path in (grid, *_points_files(grid)))]


def digest(sweep: Sweep) -> str:
    """A name for exactly this sweep, the same in every checkout: its name, grid and points files; not its code."""
    files = [[name, _sha256(sweep.folder / name)] for name in sorted(sweep.files)]
    return hashlib.sha256(json.dumps([sweep.name, sweep.text, files]).encode()).hexdigest()


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None


def _points_files(grid: Path) -> Iterator[Path]:
    """The files that a grid names under `points`, there or not; also of a grid that has other mistakes."""
    try:
        if grid.stat().st_size > MAX_BYTES:
            return
        node = compose(grid.read_text(encoding="utf-8-sig"))
        data = Reading().value(node) if node is not None else None
    except (YamlError, OSError, UnicodeDecodeError):
        return
    named = data.get("points") if isinstance(data, dict) else None
    for points in named if isinstance(named, list) else [named]:
        name = points.get("file") if isinstance(points, dict) else points
        if isinstance(name, str):
            yield Path(os.path.normpath(grid.parent / name))


def _differing(root: Path, base: str) -> Iterator[Path]:
    commit = asked(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if not commit:
        raise UsageError(f"There is no {base} here. Fetch it (git fetch origin), or name another: --base origin/main")
    parted = asked(root, "merge-base", commit.strip(), "HEAD")
    if not parted:
        raise UsageError(
            f"HEAD and {base} have no commit in common here. In a shallow clone fetch the rest: "
            "git fetch --unshallow (actions/checkout: fetch-depth: 0)"
        )
    for words in (
        ("diff", "--name-only", "--no-renames", "--relative", "-z", parted.strip(), "--", "."),
        ("ls-files", "--others", "--exclude-standard", "-z", "--", "."),
    ):
        names = asked(root, *words)
        if names is None:
            raise ClusterError(f"`git {words[0]}` failed in {root}; look at git status")
        yield from (root / name for name in names.split("\0") if name)
