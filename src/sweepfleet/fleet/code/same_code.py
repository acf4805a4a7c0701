"""Whether the cluster's release is the code of this checkout: which files differ, and which of them a target has."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.code.environment.carry import digest_of, version
from sweepfleet.fleet.code.environment.plan import LOCKS, REQUIREMENTS
from sweepfleet.fleet.code.git import changed as git_changed
from sweepfleet.fleet.code.git import git
from sweepfleet.fleet.code.included import included
from sweepfleet.fleet.code.needs import modules_of
from sweepfleet.fleet.code.push import Pushed, since
from sweepfleet.fleet.code.release import NOTE, SHOWN, carried, label, package_digest, tracked
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.bucket import get_bytes
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.machine.data_files import LIST, Part, from_json, identities
from sweepfleet.machine.environment.note import FOLDER
from sweepfleet.machine.facts import CODE, KEYS
from sweepfleet.run.ownership import target_file
from sweepfleet.run.project import project_of
from sweepfleet.slot.by_value import read
from sweepfleet.slot.code import command_folders, files_named
from sweepfleet.slot.own_packages import NAMES, SITE

PACKAGE = "sweepfleet itself"
DERIVED = (f"{FOLDER.as_posix()}/", f"{SITE}/", NAMES)  # in a release, made of files that are compared themselves
OWN = ("account", "bench", "docs", "infra", "tests", "worker")  # folders of a project that are no target's
GRID = re.compile(r"^(parameters|grids)\s*:", re.MULTILINE)  # a grid file: a sweep takes its own with it
TEXTS = (".md", ".rst")
SOURCES = (*TEXTS, ".py", ".ipynb")
PULUMI = "Pulumi."  # how a stack's settings begin


@dataclass(frozen=True, slots=True)
class Difference:
    """A release and a checkout whose files are not the same."""

    stack: str
    release: Pushed
    here: str  # the checkout's commit, as releases are named
    target: tuple[str, ...]  # files that differ, of those that the target has or may read
    others: tuple[str, ...]  # the rest of those that differ

    @property
    def lines(self) -> list[str]:
        """What runs there, what is here, and what differs; for a person."""
        others = f" Others that differ: {shown(self.others)}." if self.target and self.others else ""
        which = (
            f"Files of the target that differ: {shown(self.target)}.{others}"
            if self.target
            else f"{counted(len(self.others), 'file')} differ{'' if self.others[1:] else 's'}, none of the target's: "
            f"{shown(self.others)}."
        )
        return [
            f"The release on stack {self.stack} is {self.release.label}, {since(self.release)}.",
            f"This checkout is {self.here}. {which}",
        ]


@dataclass(frozen=True, slots=True)
class Compared:
    """The names of what a release and a checkout do not have alike."""

    names: tuple[str, ...]
    always: frozenset[str]  # of those: sweepfleet itself, data files, locks, and code outside the project
    commit: str  # what is checked out
    changed: bool  # whether files of it are not as committed


def compare(fleet: Fleet, release: Pushed, *, travels: Collection[Path] = ()) -> Compared | None:
    """What of this checkout is not as the release has it; None when all of it is.

    Fetches the release where its commit is not what is checked out, or one of both is not as committed.

    Args:
        fleet: the cluster.
        release: its.
        travels: files that are left aside.

    Raises:
        UsageError: this is not a Git repository with a commit.
        ClusterError: the release cannot be had, or git not be started.
    """
    root = fleet.root
    commit, changed = git(root, "rev-parse", "HEAD").strip(), git_changed(root)
    names = tracked(root)
    parts = included(root, names)
    other_data = tuple(sorted(identities(parts).items())) != release.data
    outside = [name for name, content in release.outside.items() if digest_of(root / name) != content]
    other_package = release.package not in ("", package_digest())
    if commit == release.commit and not (changed or release.dirty or other_data or outside or other_package):
        return None
    data = get_bytes(fleet.cloud, fleet.outputs.bucket, KEYS.release(release.sha256), doing="read the release")
    there, here = archived(data), {name: _content(root / name) for name in names}
    built = {source for name, source in installed(data).items() if name in there}  # into the project's packages
    there = {name: content for name, content in there.items() if not name.startswith(DERIVED)}
    there_data, here_data = listed(parts_in(data)), listed(parts)
    there |= there_data
    here |= here_data
    here |= {name: _content(path) for name, path in carried().items()}
    different = [
        name
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name) and _placed(root / name) not in travels
    ]
    different += outside
    if not different:
        return None
    package = (
        PACKAGE
        if release.sweepfleet in ("", version())
        else (f"{PACKAGE} ({version()} here, {release.sweepfleet} there)")
    )
    if own := {name for name in different if name.startswith(f"{CODE}/")}:
        different = [package, *(name for name in different if name not in own)]
    always = {package, *outside, *(built & set(different))}
    always |= {*there_data, *here_data}  # data files are included for targets, which open them by any name
    always |= {name for name in different if name in LOCKS or REQUIREMENTS.fullmatch(name)}
    return Compared(tuple(different), frozenset(always & set(different)), commit, bool(changed))


def difference(fleet: Fleet, sweep: Sweep, release: Pushed) -> Difference | None:
    """What of this checkout is not as the release has it, for a sweep; None when all of it is.

    The grid file and the points files are left aside, since they travel with the sweep. Errors as of `compare`.
    """
    root = fleet.root
    travels = {_placed(path) for path in (sweep.source, *(sweep.folder / name for name in sweep.files))}
    found = compare(fleet, release, travels=travels)
    if found is None:
        return None
    imported = {path.resolve() for path in closure(sweep, root=root)}

    def is_targets(name: str) -> bool:
        if name in found.always or (root / name).resolve() in imported:
            return True
        return name not in release.outside and belongs(root / name, sweep, root=root)

    return Difference(
        fleet.outputs.stack,
        release,
        label(found.commit, dirty=found.changed),
        tuple(name for name in found.names if is_targets(name)),
        tuple(name for name in found.names if not is_targets(name)),
    )


def installed(data: bytes) -> Mapping[str, str]:
    """Files of the project's own packages in a release's archive: their names there and in the project."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        file = archive.extractfile(NAMES) if NAMES in archive.getnames() else None
        found: Mapping[str, str] = json.load(file) if file is not None else {}
    return found


def archived(data: bytes) -> dict[str, str]:
    """The files of a release's archive by name, each with a name for its content."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if member.issym():
                found[member.name] = _link(member.linkname)
            elif file is not None and member.name not in (NOTE, LIST.as_posix()):
                found[member.name] = hashlib.sha256(file.read()).hexdigest()
    return found


def parts_in(data: bytes) -> tuple[Part, ...]:
    """The data files that a release's archive lists."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        try:
            file = archive.extractfile(LIST.as_posix())
        except KeyError:
            return ()
        return from_json(file.read()) if file else ()


def listed(parts: Iterable[Part]) -> dict[str, str]:
    """Data files by name, each with the same name for its content as `archived` has."""
    files = {name: content.sha256 for part in parts for name, content in part.files.items()}
    return files | {name: _link(target) for part in parts for name, target in part.links.items()}


def _content(path: Path) -> str | None:
    """The same of a file here; None where a release has none."""
    if path.is_symlink():
        return _link(os.readlink(path))  # noqa: PTH115 - as it is written, not resolved
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _placed(path: Path) -> Path:
    """A path whose folders are no links, while it may be one itself: that is another file than what it leads to."""
    return path.parent.resolve() / path.name


def _link(target: str) -> str:
    return f"link to {target}"


def belongs(path: Path, sweep: Sweep, *, root: Path) -> bool:
    """Whether a file lies where the target may read it: in the folder of the grid or of the target, or below.

    Texts for people and other grids do not count, nor do this project's own folders. Of a function that is sent by
    value, modules that it does not import and notebooks do not: it brings its own code.
    """
    folders = {folder.resolve() for folder in (sweep.folder, *(file.parent for file in _begin(sweep, root=root)))}
    inside = path.relative_to(root)
    if not any(_placed(path).is_relative_to(folder) for folder in folders) or inside.parts[0] in OWN:
        return False
    if inside.name.startswith((PULUMI, ".git")) or inside.parts[0] == ".github":
        return False
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return not GRID.search(path.read_text(errors="replace"))
    return path.suffix not in (SOURCES if sweep.target.pickle is not None else TEXTS)


def closure(sweep: Sweep, *, root: Path) -> set[Path]:
    """The files here that the target is made of: its own, those that its words name, and what these import in turn.

    Reads them and runs nothing; an import that is computed as the target runs is not seen.
    """
    return reached(_begin(sweep, root=root), places=(sweep.folder, project_of(sweep, home=root)))


def reached(files: Iterable[Path], *, places: Sequence[Path]) -> set[Path]:
    """These files, and what they import in turn from these folders and from beside them."""
    left, found = list(files), set[Path]()
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            if file.suffix == ".py":
                left += _imported(file, places=(*places, file.parent))
    return found


def _begin(sweep: Sweep, *, root: Path) -> Iterator[Path]:
    """The target's own file, and those that a command's words name; of a function sent by value, its modules."""
    project = project_of(sweep, home=root)
    if sweep.target.pickle is not None:
        for module in modules_of(read(sweep.folder / sweep.target.pickle)):
            yield from module_files(module.split("."), (sweep.folder, project))
        return
    own = target_file(sweep, home=root)
    if own is not None:
        yield own
    if sweep.target.run is None:
        folders = command_folders(sweep.target, folder=sweep.folder, root=project)
        yield from (file for file in files_named(sweep.target.command, folders=folders) if file.is_relative_to(root))


def _imported(file: Path, *, places: Iterable[Path]) -> Iterator[Path]:
    """The project's files that a Python file imports, with the packages that they are in."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from module_files(name.name.split("."), places)
        elif isinstance(node, ast.ImportFrom):
            above = [file.parents[node.level - 1]] if 0 < node.level <= len(file.parents) else places
            parts = node.module.split(".") if node.module else []
            for name in node.names:  # each may be a module of the package
                yield from module_files([*parts, name.name], above)


def module_files(parts: list[str], places: Iterable[Path]) -> Iterator[Path]:
    """The files of a module and of the packages that it is in, below these folders."""
    for place in places:
        for count in range(1, len(parts) + 1):
            module = place.joinpath(*parts[:count])
            tries = (module / "__init__.py", module.with_name(f"{module.name}.py"))
            yield from (path for path in tries if path.is_file())


def shown(names: tuple[str, ...]) -> str:
    """Some of these names, for a person."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
