"""How a project declares its environment: which file says it, and what of it machines get. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.environment.requirements import normalized

Kind = Literal["uv", "pylock", "poetry", "requirements"]
LOCKS: Mapping[str, Kind] = {
    "uv.lock": "uv",
    "pylock.toml": "pylock",
    "poetry.lock": "poetry",
}  # the first one counts
REQUIREMENTS = re.compile(r"requirements([-_.].+)?\.txt")
NOT_NEEDED = re.compile(r"dev|test|doc|lint|bench|ci\b")  # of requirements files that nobody asked for
SETTINGS = "pyproject.toml"
POETRY = ("poetry==2.5.1", "poetry-plugin-export==1.10.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What determines a project's environment on machines."""

    kind: Kind
    files: tuple[str, ...]  # by their paths from the project's root; a workspace's lock may be above it
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    requires_python: str = ""
    indexes: tuple[str, ...] = ()  # the project's own, besides the default one
    is_package: bool = False  # whether the project itself is installed; a lock of uv's or of PEP 751 says it itself

    @property
    def source(self) -> str:
        """How to name it to a person."""
        return " and ".join(self.files)

    def command(self, *, without: str = "") -> tuple[str, ...]:
        """What prints the locked requirements, where a program has to be asked.

        uv leaves out a package together with what nothing else requires: `without`.
        """
        chosen = [word for group in self.groups for word in (self._group_option, group)]
        chosen += [word for extra in self.extras for word in ("--extra" if self.kind == "uv" else "-E", extra)]
        if self.kind == "uv":
            words = ("export", "--frozen", "--no-default-groups", "--no-header", "--no-annotate", "--no-editable")
            left_out = ("--prune", without) if without else ()
            return ("uv", *words, *left_out, "--format", "requirements.txt", *chosen)
        if self.kind == "poetry":
            program, plugin = POETRY
            run = ("uv", "tool", "run", "--quiet", "--from", program, "--with", plugin)
            return (*run, "poetry", "export", "--without-urls", "--format", "requirements.txt", *chosen)
        return ()

    @property
    def _group_option(self) -> str:
        return "--group" if self.kind == "uv" else "--with"


def plan(names: Collection[str], read: Callable[[str], str], *, lock_above: str = "") -> Plan:
    """Decide from which files a project's environment comes.

    Args:
        names: the project's tracked files.
        read: a file's text, by name.
        lock_above: the uv.lock of the workspace that the project is in, as a path from its root; empty where none is.

    Raises:
        UsageError: nothing says what to install, or settings of `[tool.sweepfleet]` cannot be used; all at once.
    """
    project = toml(read(SETTINGS), name=SETTINGS) if SETTINGS in names else {}
    tool = _table(project, "tool")
    ours = _table(tool, "sweepfleet")
    problems: list[str] = []
    groups, extras = (_texts(ours, name, problems) for name in ("groups", "extras"))
    lock = next((name for name in LOCKS if name in names), lock_above)
    if lock:
        kind: Kind = LOCKS[PurePosixPath(lock).name]
        files: tuple[str, ...] = (lock,)
    else:
        kind, files = "requirements", _requirements(names, groups, problems)
    problems += _chosen(kind, project, groups, extras)
    indexes = tuple(_indexes(tool))
    problems += [
        f"The package index {urlsplit(url).hostname} has a user name or password in its address, which would travel. "
        "Remove it there: docs/environment.md says where it belongs."
        for url in indexes
        if "@" in urlsplit(url).netloc
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return Plan(
        kind=kind,
        files=files,
        groups=groups,
        extras=extras,
        requires_python=_requires_python(project),
        indexes=indexes,
        is_package=kind in ("poetry", "requirements") and _is_package(project, names),
    )


def _requirements(names: Collection[str], groups: tuple[str, ...], problems: list[str]) -> tuple[str, ...]:
    """The requirements files to resolve: requirements.txt, and requirements-GROUP.txt of each group."""
    there = sorted(name for name in names if REQUIREMENTS.fullmatch(name))
    plain = [name for name in there if not NOT_NEEDED.search(name)]
    chosen = ["requirements.txt"] if "requirements.txt" in there else [] if groups else plain[:2]
    for group in groups:
        found = [name for name in there if name in (f"requirements-{group}.txt", f"requirements_{group}.txt")]
        if not found:
            problems.append(f"[tool.sweepfleet] groups: Git has no requirements-{group}.txt.")
        chosen += found
    if len(chosen) > 1 and not groups:
        problems.append(
            f"{' and '.join(plain)}: which one do machines need? Say so in pyproject.toml, e.g. "
            f'[tool.sweepfleet] groups = ["{_group_of(plain[0])}"]'
        )
    if not chosen and not problems:
        problems.append(
            "Git has no uv.lock, pylock.toml, poetry.lock or requirements.txt, which say what to install. Create one:"
            " uv lock && git add uv.lock"
        )
    return tuple(chosen)


def _group_of(name: str) -> str:
    return name.removeprefix("requirements").removesuffix(".txt").lstrip("-_.")


def _chosen(
    kind: Kind, project: Mapping[str, Any], groups: tuple[str, ...], extras: tuple[str, ...]
) -> Iterator[str]:
    """What is wrong with the groups and extras, as far as the project's own table says."""
    if kind == "pylock" and (groups or extras):
        yield (
            "[tool.sweepfleet] groups and extras cannot be chosen from a pylock.toml. Choose them as you write it, "
            "e.g. uv export --group NAME --format pylock.toml -o pylock.toml, and remove the settings."
        )
        return
    poetry = _table(_table(project, "tool"), "poetry")
    tables = {
        "groups": (groups, _table(project, "dependency-groups") | _table(poetry, "group")),
        "extras": (extras, _table(_table(project, "project"), "optional-dependencies") | _table(poetry, "extras")),
    }
    for setting, (asked, table) in tables.items():
        if kind == "requirements" and setting == "groups":
            continue
        known = {normalized(name) for name in table}
        for name in asked:
            if normalized(name) not in known:
                there = ", ".join(sorted(known)) or "none"
                yield f"[tool.sweepfleet] {setting}: the project has no {name}. It has: {there}."


def _requires_python(project: Mapping[str, Any]) -> str:
    stated = _table(project, "project").get("requires-python", "")
    return stated if isinstance(stated, str) else ""


def _indexes(tool: Mapping[str, Any]) -> Iterator[str]:
    """The indexes that uv or poetry are told to ask besides the default one."""
    for program, key in (("uv", "index"), ("poetry", "source")):
        listed = _table(tool, program).get(key, [])
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict) and isinstance(one.get("url"), str) and not _is_default(one):
                yield one["url"]


def _is_default(index: Mapping[str, Any]) -> bool:
    """Whether an index stands for PyPI, as `packageIndex` does on the cluster; poetry's by their priority."""
    is_uvs = "priority" not in index
    return bool(index.get("default")) if is_uvs else index["priority"] in ("primary", "default")


def _is_package(project: Mapping[str, Any], names: Collection[str]) -> bool:
    """Whether pip would install the project itself."""
    mode = _table(_table(project, "tool"), "poetry").get("package-mode", True)
    return mode is not False and ("build-system" in project or "setup.py" in names)


def _texts(table: Mapping[str, Any], name: str, problems: list[str]) -> tuple[str, ...]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        problems.append(f'[tool.sweepfleet] {name}: {found!r} is not a list of names, e.g. {name} = ["gpu"].')
        return ()
    return tuple(found)


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    return found if isinstance(found, dict) else {}


def toml(text: str, *, name: str) -> dict[str, Any]:
    """What a file says. Raises UsageError: it is no TOML."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"{name} cannot be read: {error}") from None
