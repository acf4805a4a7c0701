"""The owner of a run's folder: one target of one project.

A target is its own file: where a function's module is, or the file that a command's words name. A project is known
by what survives a clone elsewhere: the name in its pyproject.toml, or the first commit of its Git repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.project_root import project_around
from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.project import names_of, project_of
from sweepfleet.slot.code import command_folders, digest_of, files_named

GIT_DEADLINE_S = 10
META = "target"  # the ledger's note of its owner
INSTALLED = ("bin", "sbin")  # folders of programs that many targets have
SUFFIXES = (".py", ".so", ".pyd", ".pyc")


@dataclass(frozen=True, slots=True)
class Owner:
    """A target of a project."""

    project: str  # the pyproject.toml's name, the first commit, or the folder
    file: str  # in the project, with /
    folder: str  # the project's, where the run was last
    digest: str | None  # of the file's content then

    @property
    def path(self) -> Path:
        """Where the file was."""
        return Path(self.folder, self.file)

    def __str__(self) -> str:
        return f"{self.file} of {self.project}"

    def is_same(self, other: Owner) -> bool:
        """Whether two are one target: of one project, at one place, or moved there as it was."""
        if (self.project, self.file) == (other.project, other.file) or self.path == other.path:
            return True
        return self.file == other.file and self.digest == other.digest is not None and not self.path.exists()

    def to_json(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Owner:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


def owner_of(sweep: Sweep, *, root: Path) -> Owner:
    """The target that a sweep runs. Reads files, asks git, and imports nothing."""
    file = target_file(sweep, home=root)
    path = file or _instead(sweep)
    folder = project_around(path.parent) or path.parent
    return Owner(
        project=_project_name(folder) or str(folder),
        file=Path(os.path.relpath(path, folder)).as_posix(),
        folder=str(folder),
        digest=digest_of(path),
    )


def target_file(sweep: Sweep, *, home: Path) -> Path | None:
    """The file that a target is in; None for an installed module, and for a command whose words name none.

    Of several that a command names it is the first of the project's: in `/usr/bin/env python fit.py`, fit.py. `home`
    is the project that the command belongs to.
    """
    target, folder, root = sweep.target, sweep.folder, project_of(sweep, home=home)
    if target.run is None:
        named = list(files_named(target.command, folders=command_folders(target, folder=folder, root=root)))
        names = names_of(sweep, home=home)
        own = (path for path in named if names.name_of(str(path)) is not None)
        return next(own, None) or next((path for path in named if path.parent.name not in INSTALLED), None)
    if target.pickle is not None:  # `run` is a name alone
        return None
    parts = target.run.partition(":")[0].split(".")
    return next((path for place in (folder, root) for path in _module_files(place.joinpath(*parts))), None)


def _module_files(module: Path) -> Iterator[Path]:
    for path in (module / "__init__.py", *(module.with_name(module.name + suffix) for suffix in SUFFIXES)):
        if path.is_file():
            yield path
    if module.parent.is_dir():  # compiled for one Python: fit.cpython-311-x86_64-linux-gnu.so
        yield from sorted(module.parent.glob(f"{module.name}.*.so"))


def _instead(sweep: Sweep) -> Path:
    """The owner of a target without a file of its own."""
    if sweep.target.run is None:
        return sweep.source
    return sweep.folder.joinpath(*sweep.target.run.partition(":")[0].split("."))


def _project_name(folder: Path) -> str | None:
    """A project's name, the same wherever it is; None when it has none."""
    try:
        found: Any = tomllib.loads((folder / "pyproject.toml").read_text())
    except (OSError, ValueError):
        found = {}
    name = found.get("project", {}).get("name") if isinstance(found.get("project"), dict) else None
    if isinstance(name, str):
        return name
    return _first_commit(folder) if (folder / ".git").exists() else None


def _first_commit(folder: Path) -> str | None:
    """The repository's oldest root commit; None where it has none, or was cloned without its history."""
    words = ["git", "-C", str(folder)]
    try:
        shallow = subprocess.run(
            [*words, "rev-parse", "--is-shallow-repository"],
            capture_output=True, text=True, timeout=GIT_DEADLINE_S, check=True,
        )  # fmt: skip
        found = subprocess.run(
            [*words, "rev-list", "--max-parents=0", "HEAD"],
            capture_output=True, text=True, timeout=GIT_DEADLINE_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    commits = found.stdout.split()
    return f"commit {commits[-1][:12]}" if commits and shallow.stdout.strip() == "false" else None


def check_owner(folder: RunFolder, ledger: Ledger, sweep: Sweep, *, root: Path) -> Owner:
    """This sweep's owner, for the ledger. Raises UsageError when the folder has rows of another target."""
    ours = owner_of(sweep, root=root)
    noted = ledger.meta(META)
    if noted is not None:
        theirs = Owner.from_json(noted)
        if theirs.is_same(ours) or not (sum(ledger.counts()) or ledger.former()):
            return ours
        raise _refusal(folder, str(theirs), ours)
    manifest = read_json(folder.manifest)
    before = manifest.get("grid")
    if isinstance(before, str) and not _is_same_grid(before, manifest, sweep, ours, root=root):
        raise _refusal(folder, f"{before} ({manifest.get('target')})", ours)
    return ours


def _is_same_grid(before: str, manifest: Mapping[str, Any], sweep: Sweep, ours: Owner, *, root: Path) -> bool:
    """Whether a run that was begun before folders had owners is of this target, by the grid that it names."""
    source = root / before  # or `before` itself, where that is a whole path
    if source == sweep.source:
        return True
    if manifest.get("target") != sweep.target.label:
        return False
    if not source.exists():  # moved, or from another machine
        return source.parts[-2:] == sweep.source.parts[-2:]
    theirs = target_file(replace(sweep, source=source), home=root)
    return theirs is not None and theirs == ours.path


def _refusal(folder: RunFolder, theirs: str, ours: Owner) -> UsageError:
    return UsageError(
        f"The run {folder.name} has rows of another target: {theirs}. This grid's is {ours}. Rows of two targets are "
        f"never mixed. Use another name: --name {free_name(folder)}"
    )


def free_name(folder: RunFolder) -> str:
    """A name like this run's that no other run has."""
    number = 2
    while folder.path.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return f"{folder.name}-{number}"
