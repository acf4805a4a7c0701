"""A project's requirements as its lock has them: asked of uv, of poetry, or read from the file."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweepfleet.fleet.code.environment.plan import Plan, toml
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.environment.requirements import OPTIONS, Entry, entries, normalized

NO_POETRY_ENVIRONMENT = {"POETRY_VIRTUALENVS_CREATE": "false"}  # which it would make for the project, to export it
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
INSTALL_UV = "Install it: pip install uv"


def locked(root: Path, plan: Plan, *, without: str = "") -> list[Entry]:
    """The requirements of a project; local ones with their whole paths, sweepfleet itself left out.

    Args:
        root: the project's.
        plan: how it declares them.
        without: a package whose own requirements are left out, too, where the lock says which these are.

    Raises:
        UsageError: a program or a file is missing, the file cannot be read, or an address has a password.
    """
    lock = root / plan.files[0]
    if plan.kind == "pylock":
        found = pylock(lock.read_text(), name=plan.source)
    elif plan.kind == "requirements":
        found = [one for name in plan.files for one in _included(root / name, root=root)]
    else:
        found = entries(
            ask(plan.command(without=without), folder=root, doing=f"export {plan.source}", **NO_POETRY_ENVIRONMENT)
        )
    _refuse_passwords(found, source=plan.source)
    return [_placed(one, lock.parent) for one in found if one.name != "sweepfleet"]


def _refuse_passwords(found: Sequence[Entry], *, source: str) -> None:
    """Refuse addresses with a password or a token: they would travel with the release."""
    hosts = dict.fromkeys(
        str(parts.hostname)
        for one in found
        for parts in map(urlsplit, ADDRESS.findall(one.text))
        if parts.password or (parts.username and "ssh" not in parts.scheme)
    )
    if hosts:
        raise UsageError(
            f"{source} has a user name or password in the address of {', '.join(hosts)}, which would travel. Remove "
            "it there: docs/environment.md says where it belongs."
        )


def ask(words: Sequence[str], *, folder: Path, doing: str, **env: str) -> str:
    """What a program prints.

    Raises:
        UsageError: it is not here, or it fails.
    """
    if shutil.which(words[0]) is None:
        raise UsageError(f"To {doing}, {words[0]} is needed, which is not on the PATH. {INSTALL_UV}")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env=environment | {"NO_COLOR": "1"} | env
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise UsageError(f"Cannot {doing}: {' '.join(words[:2])} said:\n{said}")
    return done.stdout


def locked_version(root: Path, plan: Plan, name: str) -> str | None:
    """The version of a package that a lock has; None where it has none, or says none."""
    if plan.kind == "requirements":
        found = (one.text.partition("==")[2].split(";")[0] for one in locked_entries(root, plan) if one.name == name)
        return next((version.strip() for version in found if version), None)
    table = toml((root / plan.files[0]).read_text(), name=plan.source)
    packages = table.get("packages" if plan.kind == "pylock" else "package", [])
    versions = (one.get("version") for one in packages if normalized(str(one.get("name"))) == name)
    return next((version for version in versions if isinstance(version, str)), None)


def locked_entries(root: Path, plan: Plan) -> list[Entry]:
    """The entries of requirements files, sweepfleet's included."""
    return [one for name in plan.files for one in _included(root / name, root=root)]


def pylock(text: str, *, name: str) -> list[Entry]:
    """The requirements of a pylock.toml: https://packaging.python.org/en/latest/specifications/pylock-toml/.

    Raises:
        UsageError: it has parts to choose from, which would have to be chosen here.
    """
    packages: list[dict[str, Any]] = toml(text, name=name).get("packages", [])
    markers = [str(one.get("marker", "")) for one in packages]
    if any("dependency_groups" in marker or "extras" in marker for marker in markers):
        raise UsageError(
            f"{name} has groups or extras to choose from. Write one for the machines, e.g. "
            "uv export --format pylock.toml -o pylock.toml"
        )
    return [_of_pylock(one) for one in packages]


def _of_pylock(package: dict[str, Any]) -> Entry:
    marker = f" ; {package['marker']}" if package.get("marker") else ""
    name = package["name"]
    if directory := package.get("directory"):
        return Entry(f"{name} @ file:{directory['path']}{marker}")
    if vcs := package.get("vcs"):
        subfolder = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
        return Entry(f"{name} @ {vcs['type']}+{vcs['url']}@{vcs['commit-id']}{subfolder}{marker}")
    if archive := package.get("archive"):
        place = f"file:{archive['path']}" if "path" in archive else archive["url"]
        return Entry(f"{name} @ {place}{marker}", tuple(_hashes(archive)))
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    hashes = tuple(dict.fromkeys(one for file in files for one in _hashes(file)))
    return Entry(f"{name}=={package['version']}{marker}", hashes)


def _hashes(file: dict[str, Any]) -> Iterator[str]:
    yield from (f"--hash={kind}:{value}" for kind, value in sorted(file.get("hashes", {}).items()))


def _included(file: Path, *, root: Path) -> Iterator[Entry]:
    """The entries of a requirements file and of those that it includes."""
    try:
        text = file.read_text()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    for one in entries(text):
        option = one.option
        if option and option[0] in ("-r", "--requirement"):
            yield from _included(file.parent / option[1], root=root)
        elif option and option[0] in ("-c", "--constraint"):
            raise UsageError(
                f"{file.relative_to(root)} has {one.text}, which does not travel. Write what machines need into one "
                f"file: uv pip compile {file.name} -o requirements.txt, or lock: uv lock"
            )
        elif option and option[0] not in OPTIONS:
            yield one
        else:
            yield _placed(one, root)  # as pip has it, where it is called in the project's root


def _placed(one: Entry, folder: Path) -> Entry:
    """A local requirement with its whole path."""
    local = one.local
    if local is None or local.is_absolute():
        return one
    marker = one.text.partition(" ;")[2]
    text = f"{(folder / local).resolve()}{' ;' + marker if marker else ''}"
    return dataclasses.replace(one, text=f"{one.name} @ file://{text}" if one.name else text)
