"""What runs here: the facts that a report of a problem needs."""

from __future__ import annotations

import json as json_
import platform
import subprocess
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.slot.compiled import where
from sweepfleet.tasks.front import project_here, runs_folder, speaking

GIT_DEADLINE_S = 10
PACKAGES = ("dask", "distributed", "polars")


@task(help={"json": "as one JSON object"})
@speaking
def version(c: Context, *, json: bool = False) -> None:
    """Print versions and what else a problem report needs.

    Commit, platform, where compiled code is kept, how the last sweep's slots started.
    """
    found = versions(project_here()) | last_start(runs_folder(c))
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


def last_start(runs: Path) -> dict[str, str]:
    """How the processes of the last sweep here were started, and why they were not forked; empty without a sweep."""
    from sweepfleet.run.folder import read_json

    summaries = sorted(runs.glob("*/summary.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in summaries:
        match read_json(file):
            case {"start": {"how": how, "against": [*against]}}:
                said = f"{how} (run {file.parent.name})"
                return {"start": f"{said}: {'; '.join(against)}" if against else said}
    return {}


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
