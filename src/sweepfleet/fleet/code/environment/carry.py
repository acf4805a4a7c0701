"""What a release carries of its environment: the locked requirements, the project's wheels, its own packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.fleet.code.environment.locked import locked, locked_version
from sweepfleet.fleet.code.environment.packages import build_wheels, dependencies, install, names_of, package_name
from sweepfleet.fleet.code.environment.plan import SETTINGS, Plan, plan
from sweepfleet.fleet.code.git import asked, changed, git
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.environment.note import LOCKED, NOTE, REQUIREMENTS, WHEELS, Environment
from sweepfleet.machine.environment.requirements import Entry, entries
from sweepfleet.slot.own_packages import NAMES, SITE

OURS = "sweepfleet"  # its code is in every release already


@dataclass(frozen=True, slots=True)
class Carried:
    """Files for a release, by name, each with its content and mode."""

    files: dict[str, tuple[bytes, int]]
    outside: dict[str, str]  # what it depends on above or beside the project, with names for its content
    changed: tuple[str, ...] = ()  # of that, files that are not as committed


def version() -> str:
    """This package's version: what machines run, since its code travels with every release."""
    return importlib.metadata.version(OURS)


def carry(root: Path, names: Sequence[str]) -> Carried:
    """Collect it; builds the project's own packages.

    Args:
        root: the project's.
        names: its tracked files.

    Raises:
        UsageError: nothing says what to install, or that cannot be read or built.
    """
    chosen = plan(names, lambda name: (root / name).read_text(), lock_above=_lock_above(root))
    _same_version(root, chosen)
    found = every = locked(root, chosen)
    if chosen.kind == "uv" and package_name(root) != OURS:  # nothing of the operator's tools reaches a machine
        found = locked(root, chosen, without=OURS)
    local = {place: one for one in found if (place := one.local) is not None}
    if chosen.is_package:
        local = {root: Entry(str(root))} | local
    local = {place: one for place, one in local.items() if place.suffix == ".whl" or package_name(place) != OURS}
    if missing := [str(place) for place in local if not place.exists()]:
        raise UsageError(f"{chosen.source} has {', '.join(missing)}, which does not exist.")
    wheels = [place for place in local if place.suffix == ".whl"]
    if other := [str(wheel) for wheel in wheels if not _is_as_locked(wheel, local[wheel])]:
        raise UsageError(f"{', '.join(other)}: not the file that {chosen.source} has. Lock again: uv lock")
    packages = [place for place in local if place.suffix != ".whl"]
    note = Environment(
        source=chosen.source,
        pinned=chosen.kind != "requirements",
        requires_python=chosen.requires_python,
        indexes=chosen.indexes,
    )
    others = [one for one in found if one.local is None]
    files = {NOTE.as_posix(): (note.to_json().encode(), 0o644)}
    if note.pinned:
        text = "".join(one.lines for one in every if one.local is None)
        files[LOCKED.as_posix()] = (text.encode(), 0o644)
    files |= {(WHEELS / wheel.name).as_posix(): (wheel.read_bytes(), 0o644) for wheel in wheels}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        built = build_wheels(packages, work=work)
        if not note.pinned:
            others += _dependencies(
                root, chosen, local, [*zip(packages, built, strict=True), *((wheel, wheel) for wheel in wheels)]
            )
        files |= _site(built, packages, root=root, work=work)
    if note.pinned and (bare := [one.text for one in others if not one.hashes and not one.is_url]):
        raise UsageError(f"{chosen.source} has no hash for {', '.join(bare)}: lock from an index that states hashes.")
    files[REQUIREMENTS.as_posix()] = ("".join(one.lines for one in others).encode(), 0o644)
    beside = [place for place in (*packages, root / chosen.files[0]) if not place.resolve().is_relative_to(root)]
    return Carried(
        files=files,
        outside={os.path.relpath(place, root): digest_of(place) for place in beside},
        changed=tuple(name for place in beside for name in _changed(place, root=root)),
    )


def _is_as_locked(wheel: Path, entry: Entry) -> bool:
    """Whether a wheel is one of those whose hashes are stated, where any are."""
    return not entry.hashes or f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in entry.hashes


def _lock_above(root: Path) -> str:
    """The uv.lock of the workspace that a project is a member of; empty where it is in none."""
    top = asked(root, "rev-parse", "--show-toplevel")
    for place in root.parents if top else ():
        if not place.is_relative_to(str(top).strip()):
            break
        settings = place / SETTINGS
        if (
            settings.is_file()
            and "[tool.uv.workspace]" in settings.read_text()
            and asked(place, "ls-files", "uv.lock")
        ):
            return os.path.relpath(place / "uv.lock", root)
    return ""


def _same_version(root: Path, chosen: Plan) -> None:
    """Refuse a lock that has another sweepfleet than this one, which would run on machines."""
    there, here = locked_version(root, chosen, OURS), version()
    if there not in (None, here):
        raise UsageError(
            f"{chosen.source} has sweepfleet {there}, and this command is sweepfleet {here}, which would run on the "
            f"machines. Use one version: uv sync, for {there}; or uv lock --upgrade-package sweepfleet=={here}"
        )


def _dependencies(
    root: Path, chosen: Plan, local: dict[Path, Entry], built: Sequence[tuple[Path, Path]]
) -> Iterator[Entry]:
    """What packages here require of elsewhere, where no lock has it."""
    here = {package_name(place) for place in local if place.is_dir()} | {OURS}
    for place, wheel in built:
        named = re.search(r"\[([^]]*)\]", local[place].text)
        extras = named[1].replace(" ", "").split(",") if named else list(chosen.extras if place == root else ())
        yield from (one for one in entries("\n".join(dependencies(wheel, extras))) if one.name not in here)


def _site(
    built: Sequence[Path], packages: Sequence[Path], *, root: Path, work: Path
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """The files of the installed packages, and what they are called in the project."""
    if not built:
        return
    site = work / "site"
    install(built, site, python=sys.executable)
    for path in sorted(site.rglob("*")):
        if path.is_file():
            name = f"{SITE}/{path.relative_to(site).as_posix()}"
            yield name, (path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    names = {f"{SITE}/{name}": source for name, source in names_of(site, packages, root=root).items()}
    yield NAMES, (json.dumps(names, indent=1, sort_keys=True).encode(), 0o644)


def digest_of(place: Path) -> str:
    """A name for the tracked content of a file or folder; empty where it is gone."""
    digest = hashlib.sha256()
    if not place.exists():
        return ""
    names = [place.name] if place.is_file() else filter(None, git(place, "ls-files", "-z").split("\0"))
    folder = place.parent if place.is_file() else place
    for name in sorted(names):
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _changed(place: Path, *, root: Path) -> Iterator[str]:
    """The files of a place beside the project that are not as committed."""
    folder = place if place.is_dir() else place.parent
    top = git(folder, "rev-parse", "--show-toplevel").strip()
    for name in changed(folder):
        file = Path(top, name)
        if place.is_dir() or file == place.resolve():
            yield os.path.relpath(file, root.resolve())
