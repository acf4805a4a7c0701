"""Builds a release's environment on the head, with uv. What it installs is settled the first time, and kept."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweepfleet.machine.environment.note import REQUIREMENTS, Environment, locked, own_requirements, wheels
from sweepfleet.machine.environment.requirements import Entry, both, constraints, entries

GIT = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "git")
RESOLVED = "requirements.txt"  # in an environment: what it was made of


class BuildError(Exception):
    """The environment cannot be built; the message says why, and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Where and with what environments are built."""

    uv: Path
    cache: Path
    work: Path  # a folder for a while
    index: str  # where packages come from
    netrc: Path | None = None  # a file with user names and passwords for indexes
    python: str = "/usr/bin/python3"
    say: Callable[[str], None]  # a line for a step, an indented one for what it is at

    def build(self, release: Path, new: Path, *, resolved: str = "") -> str:
        """Build the environment of a release in a new folder.

        Every file of a registry is checked against its hash: the lock's, or that of the first resolution.

        Args:
            release: its folder.
            new: where the environment is to be; what is there when this fails is of no use.
            resolved: what an earlier build returned: it then installs the same.

        Returns:
            the requirements that were installed, each with its version and hashes.

        Raises:
            BuildError: uv cannot; with its last lines.
        """
        note = Environment.read(release)
        self._uv("venv", "--python", self.python, "--relocatable", "--quiet", str(new))
        self._check_python(note, new)
        if not resolved:
            self.say("building the environment: resolving what sweepfleet needs")
            resolved = self._resolve(release, note, new)
        self._install(entries(resolved), note, new)
        if local := wheels(release):
            names = ", ".join(wheel.name for wheel in local)
            self.say(f"building the environment: installing {names}")
            self._pip_install(new, "--no-deps", "--no-index", *map(str, local), why="the project's wheels")
        (new / RESOLVED).write_text(resolved)
        return resolved

    def build_locked(self, lock: str, new: Path) -> None:
        """Build the environment that a requirements file with hashes is, in a new folder.

        Raises:
            BuildError: uv cannot; with its last lines.
        """
        self._uv("venv", "--python", self.python, "--relocatable", "--quiet", str(new))
        self.say(f"building the environment of Jupyter, from {_host(self.index)}")
        file = self.work / "locked.txt"
        file.write_text(lock)
        self._pip_install(new, "--require-hashes", "--no-deps", "--default-index", self.index, "-r", str(file))

    def _check_python(self, note: Environment, new: Path) -> None:
        """Refuse a machine's Python that the project does not allow."""
        if not note.requires_python:
            return
        allowed = self._run(["python", "find", "--no-project", note.requires_python], env={"VIRTUAL_ENV": str(new)})
        if allowed.returncode or not Path(allowed.stdout.strip()).is_relative_to(new):
            raise BuildError(
                f"The project requires Python {note.requires_python}, and the machines have "
                f"{platform.python_version()}. Change requires-python in pyproject.toml and lock again."
            )

    def _resolve(self, release: Path, note: Environment, new: Path) -> str:
        """The project's requirements and sweepfleet's own, at one version each."""
        declared, own = release / REQUIREMENTS, self.work / "sweepfleet.txt"
        own.write_text(own_requirements(release))
        inputs, options = [str(own)], list[str]()
        text = declared.read_text()
        lock = entries(locked(release))
        if note.pinned:
            held = self.work / "constraints.txt"
            held.write_text(constraints(lock))
            options = ["--constraint", str(held)]
        else:
            inputs.insert(0, str(declared))
            self._have_git(entries(text))
        output = self.work / "resolved.txt"
        words = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-config"]
        words += ["--python", str(new / "bin" / "python"), *self._indexes(note), *options]
        self._uv(
            *words, "--no-emit-package", "sweepfleet", "--output-file", str(output), *inputs, why=_conflict(note)
        )
        if not note.pinned:
            return output.read_text()
        return "".join(one.lines for one in both(entries(text), entries(output.read_text()), lock=lock))

    def _install(self, found: Sequence[Entry], note: Environment, new: Path) -> None:
        """Install what is fixed by hashes, then what is fixed by a Git commit."""
        hashed = [one for one in found if one.hashes]
        by_url = [one for one in found if not one.hashes and one.is_url]
        if left := [one.text for one in found if not one.hashes and not one.is_url]:
            raise BuildError(f"There is no hash for {', '.join(left)}: the package index must state hashes.")
        many = len({one.name for one in hashed})
        self.say(f"building the environment: {many} packages from {_host(self.index)}")
        file = self.work / "hashed.txt"
        file.write_text("".join(one.lines for one in hashed))
        indexes = (*self._indexes(note), "--index-strategy", "unsafe-best-match")  # hashes say which file it is
        self._pip_install(new, "--require-hashes", "--no-deps", *indexes, "-r", str(file))
        if by_url:
            self._have_git(by_url)
            self.say(f"building the environment: fetching {', '.join(one.name for one in by_url)}")
            file.write_text("".join(one.lines for one in by_url))
            self._pip_install(new, "--no-deps", *self._indexes(note), "-r", str(file))

    def _indexes(self, note: Environment) -> tuple[str, ...]:
        further = (word for index in note.indexes for word in ("--index", index))
        return ("--default-index", self.index, *further)

    def _have_git(self, found: Sequence[Entry]) -> None:
        """Install Git where a requirement needs it: Debian's image has none."""
        if shutil.which("git") or not any("git+" in one.text for one in found):
            return
        self.say("installing git, which fetches a dependency")
        done = subprocess.run(GIT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"git cannot be installed on the head: {done.stderr.strip()[-500:]}")

    def _pip_install(self, new: Path, *words: str, why: str = "") -> None:
        python = str(new / "bin" / "python")
        self._uv("pip", "install", "--no-config", "--python", python, "--compile-bytecode", *words, why=why)

    def _uv(self, *words: str, why: str = "") -> None:
        done = self._run(words, each=lambda line: self.say(f"  {line}"))
        if done.returncode:
            said = "\n".join(part for part in (why, f"uv {' '.join(words[:2])} said:", done.stderr) if part)
            raise BuildError(f"the environment cannot be built: {said}")

    def _run(
        self, words: Sequence[str], *, each: Callable[[str], None] = lambda _: None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run uv; of its errors the last lines are kept, and each line is passed on as it comes."""
        environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment |= {
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": str(self.cache),
            "NO_COLOR": "1",
            **({"NETRC": str(self.netrc)} if self.netrc else {}),
            **(env or {}),
        }
        last: deque[str] = deque(maxlen=12)
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        with subprocess.Popen([str(self.uv), *words], cwd=self.work, env=environment, **pipes) as running:
            for line in running.stderr or ():
                last.append(line.rstrip())
                if line.strip() and not line.startswith(" + "):  # one for each package, all at once
                    each(line.strip())
            said = running.stdout.read() if running.stdout else ""  # a path at most: it cannot fill the pipe
        return subprocess.CompletedProcess(words, running.returncode, said, "\n".join(last).strip())


def _conflict(note: Environment) -> str:
    """What a failed resolution means, and what to change."""
    fix = "uv lock --upgrade-package NAME" if note.source == "uv.lock" else f"change {note.source}"
    return (
        f"{note.source} and what sweepfleet itself needs on machines cannot be installed together, or a package was "
        f"not found. Where versions conflict: {fix}"
    )


def _host(index: str) -> str:
    """The host of a package index; the address itself may hold a password."""
    return urlsplit(index).hostname or "the package index"
