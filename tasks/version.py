"""What runs here: the facts that a report of a problem needs."""

from __future__ import annotations

import json as json_
import platform
import subprocess
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from tasks.front import ROOT, speaking
from worker.compiled import where

GIT_DEADLINE_S = 10
PACKAGES = ("dask", "distributed", "polars")


@task(help={"json": "as one JSON object"})
@speaking
def version(c: Context, *, json: bool = False) -> None:
    """Print versions, this checkout's commit, the platform, and where compiled code is kept."""
    found = versions(ROOT)
    if json:
        print(json_.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<12} {value}")


def versions(root: Path) -> dict[str, str]:
    """What a project runs with; a commit only where `root` is in a Git repository. Imports none of it."""
    import importlib.metadata

    found = {"sweepfleet": _own(root)}
    if commit := _commit(root):
        found["commit"] = commit
    found["python"] = platform.python_version()
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"platform": platform.platform(), "compiled": where()}


def _own(root: Path) -> str:
    import importlib.metadata
    import tomllib

    try:
        return importlib.metadata.version("sweepfleet")
    except importlib.metadata.PackageNotFoundError:  # run from its files, as on a cluster
        return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def _commit(root: Path) -> str | None:
    """The commit's hash, with `-dirty` when a tracked file is not as committed; None without Git or a repository."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=GIT_DEADLINE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
