"""What the closed network's package index serves: wheels for the machines, fetched once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from tests.cloud.rehearsal.base import CACHE, architecture, locked
from tests.cloud.rehearsal.host import HostError, run

# Debian 12's Python and C library, whatever this process runs on.
PYTHON, GLIBC = "3.11", 36
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's names and the wheels'
ABIS = ("cp311", "abi3", "none")


def ensure_wheels(requirements: str) -> Path:
    """A folder with wheels for a requirements file's text, fetched from the package index when missing.

    Raises:
        HostError: the index cannot be reached, or has no wheel for one of them.
    """
    folder = CACHE / "wheels" / hashlib.sha256(f"{requirements}{PYTHON}{architecture()}".encode()).hexdigest()[:16]
    with locked("wheels"):
        if not folder.exists():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _download(requirements, new)
            new.rename(folder)
    return folder


def ensure_uv(version: str) -> Path:
    """The uv that machines have, for this host."""
    folder = ensure_wheels(f"uv=={version}")
    program = folder / "uv"
    if not program.exists():
        [wheel] = folder.glob("uv-*.whl")
        new = folder / "uv.new"
        new.write_bytes(zipfile.ZipFile(wheel).read(f"uv-{version}.data/scripts/uv"))
        new.chmod(0o755)
        new.rename(program)
    return program


def locked_requirements(project: Path, *, uv: Path) -> str:
    """A project's locked packages with their hashes, as a requirements file's text: those that machines have."""
    settings = tomllib.loads((project / "pyproject.toml").read_text()).get("tool", {}).get("sweepfleet", {})
    groups = [word for name in settings.get("groups", ()) for word in ("--group", name)]
    command = ("--quiet", "--directory", str(project), "export", "--frozen", "--no-default-groups")
    return run(uv, *command, *groups, "--no-emit-local", "--no-header", "--format", "requirements-txt")


def _download(requirements: str, folder: Path) -> None:
    machine = MACHINES[architecture()]
    platforms = [*(f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)), f"manylinux2014_{machine}"]
    target = [f"--platform={name}" for name in platforms] + [f"--abi={name}" for name in ABIS]
    # Only what the index itself has: a folder of this host's may hold other files of the same names.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [*_pip(), "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}"]
        command += ["--implementation=cp", *target, f"--dest={folder}", f"--requirement={file.name}"]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    if done.returncode:
        raise HostError(f"pip could not download wheels: {done.stdout.strip()[-2000:]}")


def _pip() -> list[str]:
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise HostError("there is no pip to fetch wheels with: apt-get install python3-pip")
    return [found]
