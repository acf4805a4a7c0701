"""Whether the cluster has what a function that is sent by value needs: its Python, and its modules."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.code.git import git
from sweepfleet.fleet.code.included import included
from sweepfleet.fleet.code.needs import modules_of
from sweepfleet.fleet.code.push import Pushed
from sweepfleet.fleet.code.release import tracked
from sweepfleet.fleet.code.same_code import closure, module_files
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.bucket import exists, get_bytes
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.environment.note import WHEELS
from sweepfleet.machine.environment.requirements import entries, normalized
from sweepfleet.machine.facts import KEYS, Home
from sweepfleet.run.project import project_of
from sweepfleet.slot.by_value import header_of, read
from sweepfleet.slot.own_packages import SITE
from sweepfleet.slot.project_files import NOT_THE_PROJECTS

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class Lacking:
    """A module that a function needs and the cluster does not have."""

    module: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"  {self.module}: {self.why}. {self.fix}"


def check_modules(fleet: Fleet, sweep: Sweep, release: Pushed) -> None:
    """Refuse a function whose modules the release and its environment lack.

    Files that both have, and that differ, are `same_code.difference`'s. Files that Git ignores may be made where they
    are needed, so of these nothing is known; nor of what a command imports. The environment is looked at for a
    function that is sent by value: one of a module is imported over there before its first point.

    Raises:
        UsageError: says each of them and its fix.
        ClusterError: AWS or Git refuse.
    """
    if sweep.target.run is None:
        return
    lacking = list(_untracked(fleet.root, sweep))
    if sweep.target.pickle is not None:
        lacking += [*_outside(fleet.root, sweep, release), *_installed(fleet, sweep, release)]
    if lacking:
        lines = "\n".join(map(str, dict.fromkeys(lacking)))
        raise UsageError(f"{sweep.target.run} needs modules that the cluster lacks; nothing was sent.\n{lines}")


def _untracked(root: Path, sweep: Sweep) -> Iterator[Lacking]:
    """The modules that are files of the project, and in no release."""
    listed = git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    names = set(filter(None, listed))
    included_here = {name for part in included(root, tracked(root)) for name in (*part.files, *part.links)}
    files = closure(sweep, root=root)
    if sweep.target.pickle is not None:
        modules = [_found(module, sweep, root=root) for module in modules_of(_pickle(sweep))]
        files |= {file.resolve() for file in modules if file is not None and not _is_installed(file)}
    for file in sorted(files):
        if not file.is_relative_to(root):
            continue
        place = file.relative_to(root).as_posix()
        if place in names - included_here:
            along = f", or send it along: sweep(..., by_value=[{file.stem}])" if sweep.target.pickle else ""
            yield Lacking(file.stem, f"{place} is not tracked by Git", f"Commit it, then: inv push{along}")


def _outside(root: Path, sweep: Sweep, release: Pushed) -> Iterator[Lacking]:
    """The modules that are files of other folders here, and in no release."""
    carried = [root, *(root / name for name in release.outside)]
    for module in sorted(modules_of(_pickle(sweep))):
        found = _found(module, sweep, root=root)
        if found is None or _is_installed(found):
            continue
        if not any(found.resolve().is_relative_to(place.resolve()) for place in carried):
            top = module.partition(".")[0]
            fix = f"Put it into the project, or send it along: sweep(..., by_value=[{top}])"
            yield Lacking(top, f"{found} is outside the project {root}", fix)


def _installed(fleet: Fleet, sweep: Sweep, release: Pushed) -> Iterator[Lacking]:
    """The installed modules that the release's environment does not have."""
    key = KEYS.environment_requirements(release.lock)
    bucket = fleet.outputs.bucket
    if not exists(fleet.cloud, bucket, key):  # of a head that did not store it yet: its own refusal comes later
        return
    text = get_bytes(fleet.cloud, bucket, key, doing="read the environment's packages").decode()
    there = {one.name for one in entries(text)}
    packages = importlib.metadata.packages_distributions()
    tops: dict[str, list[str]] = {}
    for module in sorted(modules_of(_pickle(sweep))):
        top = module.partition(".")[0]
        found = _found(module, sweep, root=fleet.root)
        names = [normalized(name) for name in packages.get(top, ())]
        if found is not None and _is_installed(found) and names and there.isdisjoint(names):
            tops[top] = names
    if not tops:
        return
    own = _own_packages(get_bytes(fleet.cloud, bucket, KEYS.release(release.sha256), doing="read the release"))
    for top, names in tops.items():
        if top not in own and own.isdisjoint(names):
            yield Lacking(
                top,
                f"the package {names[0]} is not in the environment of {release.label}",
                f"Add it: uv add {names[0]}. Commit, then: inv push",
            )


def _own_packages(release: bytes) -> set[str]:
    """What a release's archive brings beside the lock's packages: wheels by their names, installed modules."""
    found = set()
    with tarfile.open(fileobj=io.BytesIO(release), mode="r:gz") as archive:
        for name in map(Path, archive.getnames()):
            if name.is_relative_to(WHEELS):
                found.add(normalized(name.name.partition("-")[0]))
            elif name.is_relative_to(SITE) and name != Path(SITE):
                found.add(name.relative_to(SITE).parts[0].removesuffix(".py"))
    return found


def _pickle(sweep: Sweep) -> bytes:
    return read(sweep.folder / str(sweep.target.pickle))


def _found(module: str, sweep: Sweep, *, root: Path) -> Path | None:
    """Where a module is here: of a package its first file; None for Python's own, and for what is nowhere."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return None
    for file in module_files([top], (sweep.folder, project_of(sweep, home=root))):
        return file
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    origin = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    return Path(origin) if origin and origin not in ("built-in", "frozen") else None


def _is_installed(file: Path) -> bool:
    return not NOT_THE_PROJECTS.isdisjoint(file.parts)


def check_python(head: Host, sweep: Sweep, *, lock: str) -> None:
    """Refuse a function that is sent by value to another Python: bytecode is of one minor version.

    Raises:
        UsageError: says both versions, and what to do.
        ClusterError: the head does not answer.
    """
    if sweep.target.pickle is None:
        return
    header = header_of(_pickle(sweep))
    here = header.python if header else HERE
    python = Home(Path(MachinePaths().home)).environment(lock) / "bin" / "python"
    script = f'test -x {python} && exec {python} -c "$1"; exec /usr/bin/python3 -c "$1"'
    there = head.ask("sh", "-c", script, "version", VERSION).strip()
    if there != here:
        raise UsageError(
            f"{sweep.target.run} was sent by value, which needs the same Python in both places: this is {here}, and "
            f"the cluster has Python {there}; nothing was sent. Put the function into a module of the project, "
            f"which is imported there, or use Python {there} here: uv python pin {there}"
        )
