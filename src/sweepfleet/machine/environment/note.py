"""What a release says about its environment, and what that environment is called. Pure; standard library."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from sweepfleet.machine.facts import CODE
from sweepfleet.machine.files import known

FOLDER = Path(".sweepfleet", "environment")  # in a release
NOTE = FOLDER / "environment.json"
REQUIREMENTS = FOLDER / "requirements.txt"
LOCKED = FOLDER / "locked.txt"  # all that the lock has for these, also what only sweepfleet's own extras require
WHEELS = FOLDER / "wheels"  # those that the project has as files
OWN = Path(__file__).with_name("requirements.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """How a release's environment was declared."""

    source: str  # for people: uv.lock, pylock.toml, ...
    pinned: bool  # whether each requirement has its version and hashes; the head resolves the others once
    requires_python: str = ""  # as `>=3.12,<3.14`; empty: not said
    indexes: tuple[str, ...] = ()  # of the project's own, asked before the cluster's

    def to_json(self) -> str:
        """As the release has it."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, release: Path) -> Environment:
        """What `to_json` wrote; what a later version may have added is ignored."""
        found = json.loads((release / NOTE).read_text())
        its = known(cls, found)
        return cls(**its | {"indexes": tuple(its.get("indexes", ()))})


def own_requirements(release: Path) -> str:
    """What the package in a release needs on machines, as a requirements file's text."""
    return (release / CODE / OWN.relative_to(Path(__file__).parents[3])).read_text()


def locked(release: Path) -> str:
    """All that a release's lock has, as a requirements file's text; empty where nothing is locked."""
    file = release / LOCKED
    return file.read_text() if file.exists() else ""


def identity(release: Path) -> str:
    """The name of a release's environment: of all that determines it, and of this machine's Python and kind."""
    note = Environment.read(release)
    digest = hashlib.sha256((release / REQUIREMENTS).read_bytes() + b"\0" + locked(release).encode())
    for wheel in wheels(release):
        digest.update(f"\0{wheel.name}\0".encode() + hashlib.sha256(wheel.read_bytes()).digest())
    digest.update(own_requirements(release).encode())
    settled = [note.pinned, note.requires_python, note.indexes, platform.python_version(), platform.machine()]
    digest.update(json.dumps(settled).encode())
    return digest.hexdigest()


def wheels(release: Path) -> list[Path]:
    """The wheels that the project has as files, for its environment."""
    return sorted((release / WHEELS).glob("*.whl"))
