"""A project's own packages: built here from committed files, and installed in a folder that travels with the release.

Built here, since a build may need Git's tags, the rest of the workspace, or an index that machines cannot reach.
"""

from __future__ import annotations

import os
import shutil
import tomllib
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from importlib.metadata import Distribution
from pathlib import Path

from sweepfleet.fleet.code.environment.locked import ask
from sweepfleet.fleet.code.git import git
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.environment.requirements import normalized

OF_THIS_MACHINE = ("direct_url.json", "uv_cache.json", "REQUESTED")  # in an installed package's own folder
SCRIPT = "#!/usr/bin/env python3\nimport sys\n\nfrom {module} import {name}\n\nsys.exit({attribute}())\n"


def package_name(folder: Path) -> str:
    """A package's name as its pyproject.toml says it, normalized; its folder's where that says none."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text()).get("project", {})
    except (OSError, ValueError):
        project = {}
    return normalized(str(project.get("name", folder.name)))


def build_wheels(packages: Sequence[Path], *, work: Path) -> list[Path]:
    """Build wheels of packages here, folders or source archives, in their order.

    Folders are built from their tracked files: as committed, and changed ones as they are.

    Raises:
        UsageError: a folder is in no Git repository, a build fails, or makes a wheel for one kind of machine.
    """
    copies: dict[str, Path] = {}
    tops = {folder: git(folder, "rev-parse", "--show-toplevel").strip() for folder in packages if folder.is_dir()}
    for top in dict.fromkeys(tops.values()):
        copies[top] = work / f"source-{len(copies)}"
        _copy(Path(top), [folder for folder, place in tops.items() if place == top], copies[top])
    found = []
    for number, package in enumerate(packages):
        source, env = package, {}
        if package in tops:
            source = copies[tops[package]] / package.resolve().relative_to(Path(tops[package]).resolve())
            env = {"SOURCE_DATE_EPOCH": git(package, "log", "-1", "--format=%ct").strip()}
        out = work / f"wheel-{number}"
        ask(
            ("uv", "build", "--wheel", "--quiet", "--out-dir", str(out), str(source)),
            folder=work,
            doing=f"build {package}",
            **env,
        )
        [wheel] = out.glob("*.whl")
        if not wheel.stem.endswith("-none-any"):
            raise UsageError(
                f"{package} has compiled parts: {wheel.name} is for one kind of machine, and workers build "
                "nothing. Publish wheels for Linux in an index and depend on that, or on such a wheel as a file."
            )
        found.append(wheel)
    return found


def _copy(top: Path, folders: Sequence[Path], place: Path) -> None:
    """A copy of a repository at its commit, with these folders and their changed files, and with its tags."""
    quiet = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    commit = git(top, "rev-parse", "HEAD").strip()
    git(top, *quiet, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(place))
    inside = [folder.resolve().relative_to(top.resolve()).as_posix() for folder in folders]
    if "." not in inside:
        git(place, "sparse-checkout", "set", "--cone", *inside)
    git(place, *quiet, "checkout", "--quiet", "--detach", commit)
    for name in filter(None, git(top, "diff", "--name-only", "-z", "HEAD", "--", *inside).split("\0")):
        target = place / name
        target.unlink(missing_ok=True)
        if (top / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, target)


def install(wheels: Sequence[Path], site: Path, *, python: str) -> None:
    """Install wheels into a folder, with nothing in it of this machine.

    Raises:
        UsageError: they cannot be.
    """
    words = ("uv", "pip", "install", "--quiet", "--no-config", "--no-deps", "--no-index", "--python", python)
    ask(
        (*words, "--target", str(site), *map(str, wheels)), folder=site.parent, doing="install the project's packages"
    )
    (site / ".lock").unlink(missing_ok=True)
    for info in site.glob("*.dist-info"):
        for name in OF_THIS_MACHINE:
            (info / name).unlink(missing_ok=True)
        record = info / "RECORD"
        left = [line for line in record.read_text().splitlines(keepends=True) if (site / line.split(",")[0]).exists()]
        record.write_text("".join(line for line in left if not line.startswith("bin/")))
        for entry in Distribution.at(info).entry_points.select(group="console_scripts"):
            script = site / "bin" / entry.name
            attribute = entry.attr
            script.write_text(
                SCRIPT.format(module=entry.module, name=attribute.partition(".")[0], attribute=attribute)
            )
            script.chmod(0o755)


def dependencies(wheel: Path, extras: Sequence[str]) -> list[str]:
    """What a wheel requires, with extras of it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA") and one.count("/") == 1)
        metadata = Parser().parsestr(archive.read(name).decode())
    found = []
    for requirement in metadata.get_all("Requires-Dist", []):
        text = str(requirement)
        for extra in extras:
            for quote in "'\"":
                text = text.replace(f"extra == {quote}{extra}{quote}", "python_version >= '3'")
        if "extra ==" not in text:
            found.append(text)
    return found


def names_of(site: Path, packages: Sequence[Path], *, root: Path) -> dict[str, str]:
    """Files of installed packages that are as in their sources: their names in `site`, and those in the project."""
    installed = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    found: dict[str, str] = {}
    for package in (one for one in packages if one.is_dir()):
        for name in filter(None, git(package, "ls-files", "-z").split("\0")):
            file, parts = package / name, Path(name).parts
            for tail in ("/".join(parts[start:]) for start in range(len(parts))):
                if tail in installed and file.is_file() and (site / tail).read_bytes() == file.read_bytes():
                    found.setdefault(tail, Path(os.path.relpath(file, root)).as_posix())
    return found
