"""The provenance of a run's rows: the code's commit, the environment, the machine, the command."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.ownership import target_file

GIT_DEADLINE_S = 10


@dataclass(frozen=True, slots=True)
class Provenance:
    """What one command ran with."""

    command_line: str
    started: float  # unix time
    git_commit: str | None
    git_dirty: bool | None  # whether code was other than committed; None outside a repository
    lock_hash: str
    python: str
    sweepfleet: str
    host: str
    platform: str
    pid: int

    @property
    def commit_mark(self) -> str | None:
        """The commit for a row, marked when the files were not as committed."""
        if self.git_commit is None:
            return None
        return self.git_commit + ("-dirty" if self.git_dirty else "")


def provenance(sweep: Sweep, *, root: Path, command_line: str, runs: Path) -> Provenance:
    """Collect the provenance; reads files and asks git.

    Args:
        sweep: the repository in which its target lies is the code's.
        root: the project's, whose environment it is; a release says itself which commit it is.
        command_line: as typed.
        runs: the folder of all runs.
    """
    commit, dirty = _pushed(root)
    file = target_file(sweep, home=root)
    if file is None and (sweep.target.run is None or sweep.target.pickle is not None):
        file = sweep.source
    if commit is None and file is not None:
        data = [sweep.source, *(sweep.folder / name for name in sweep.files), runs]
        commit, dirty = _git(file.parent, ignored=data)
    return Provenance(
        command_line=command_line,
        started=time.time(),
        git_commit=commit,
        git_dirty=dirty,
        lock_hash=_lock_hash(root),
        python=platform.python_version(),
        sweepfleet=_version(root),
        host=socket.gethostname(),
        platform=f"{sys.platform}-{platform.machine()}",
        pid=os.getpid(),
    )


def _version(root: Path) -> str:
    """This package's version: of a release the one that it was made with, whose code it has; else as installed."""
    stated = read_json(root / "release.json").get("sweepfleet")
    return str(stated) if stated else importlib.metadata.version("sweepfleet")


def _pushed(root: Path) -> tuple[str | None, bool | None]:
    """The commit of a release, which is no repository: `release.json` says it."""
    note = read_json(root / "release.json")
    return note.get("commit"), note.get("dirty")


def _git(place: Path, *, ignored: Sequence[Path]) -> tuple[str | None, bool | None]:
    """The commit that is checked out at a place, and whether its files are other than committed.

    Args:
        place: in the repository.
        ignored: files and folders that say what to run, or hold what came of it, and are no code.
    """

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(place), *words], capture_output=True, text=True, timeout=GIT_DEADLINE_S, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    top = ask("rev-parse", "--show-toplevel")
    if commit is None or top is None:
        return None, None
    inside = [path.resolve().relative_to(top).as_posix() for path in ignored if path.resolve().is_relative_to(top)]
    without = [f":(top,exclude,literal){name}" for name in inside if name != "."]
    changed = ask("status", "--porcelain", "--untracked-files=no", "--", ":(top)", *without)
    # A target that was never added is not in the commit. What Python itself writes there is not the user's.
    without.append(":(exclude,glob)**/__pycache__/**")
    added = ask("status", "--porcelain", "--untracked-files=all", "--", ".", *without)
    if changed or added:
        return commit, True
    return commit, None if changed is None or added is None else False


def _lock_hash(root: Path) -> str:
    """A name for the environment: of uv.lock where there is one, of the installed packages elsewhere."""
    lock = root / "uv.lock"
    if lock.exists():
        data = lock.read_bytes()
    else:
        found = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
        data = "\n".join(sorted(found)).encode()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def grid_label(sweep: Sweep, *, root: Path) -> str:
    """The grid file: its path in the project, which is the same wherever the project is; else its whole path."""
    return sweep.source.relative_to(root).as_posix() if sweep.source.is_relative_to(root) else str(sweep.source)


def manifest(folder: RunFolder, sweep: Sweep, ran: Provenance, *, root: Path) -> dict[str, Any]:
    """manifest.json's content: this command on top, the earlier ones in `history`, oldest first."""
    before = read_json(folder.manifest)
    history = before.pop("history", [])
    if before:
        history.append(before)
    return {
        "name": folder.name,
        "target": sweep.target.label,
        "grid": grid_label(sweep, root=root),
        "seed": sweep.plan.seed,
        "plan": sweep.plan.digest(),
        "metric": asdict(sweep.metric) if sweep.metric else None,
        **asdict(ran),
        "history": history,
    }
