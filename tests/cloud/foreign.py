"""A user's own project in the rehearsal cloud: its own lock and environment, sweepfleet among its dependencies."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.infra.boot_text import UV_VERSION
from tests.cloud import engine
from tests.cloud.rehearsal.cloud import REGION, Cloud
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.wheels import ensure_uv, ensure_wheels, locked_requirements
from tests.cloud.rehearsed import DEADLINE_S, IN_PROCESS, Laptop

# What this repository has, at its versions: the machines' index has those wheels already.
CONSTRAINTS = "[tool.uv]\nconstraint-dependencies = {pins}\n"
SETTINGS = """\
[project]
name = "acme-model"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = {needs}

[dependency-groups]
dev = ["iniconfig"]

[project.scripts]
acme-fit = "acme_model.fit:main"

[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"

[tool.sweepfleet]

[tool.uv.sources]
sweepfleet = {{ path = "{wheel}" }}

"""
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


def build_sweepfleet(folder: Path, *, version: str = "", more: str = "") -> Path:
    """A wheel of this repository, or of a later version whose machine code has a line more."""
    source = folder / f"source-{version or 'now'}"
    listed = ["git", "-C", str(engine.REPOSITORY), "ls-files", "-co", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and not name.startswith(("tests/", "bench/")):
            file = engine.REPOSITORY / name
            if file.is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, source / name)
    if version:
        settings = source / "pyproject.toml"
        settings.write_text(
            re.sub(r'^version = ".*"', f'version = "{version}"', settings.read_text(), flags=re.MULTILINE)
        )
    if more:
        with (source / "src" / "sweepfleet" / "machine" / "dask_command.py").open("a") as file_:
            file_.write(more)
    built = folder / f"wheel-{version or 'now'}"
    subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=source, check=True, stdout=subprocess.DEVNULL)
    [wheel] = built.glob("*.whl")
    return wheel


class ForeignLaptop(Laptop):
    """A laptop with somebody's own project, in which sweepfleet is installed as everything else is."""

    def __init__(
        self, cloud: Cloud, folder: Path, files: dict[str, str], *, needs: Sequence[str] = (), wheel: Path
    ) -> None:
        self.needs = [*needs, "sweepfleet[cluster]"]
        self._be_in(cloud, folder)
        self.state = self.home
        self.path.mkdir(parents=True)
        (self.home / ".ssh").mkdir(parents=True)
        key = self.home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key], check=True)
        engine.make_plugin(self.home / "bin")
        for name, text in ({".gitignore": ".venv\n"} | files).items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.git("init", "-q", "-b", "main")
        self.install(wheel)
        self.commit("A model")

    def table(self, name: str) -> pl.DataFrame:
        """A run's rows, as they are here."""
        return pl.read_parquet(self.path / "runs" / name / "results.parquet")

    def manifest(self, name: str) -> dict[str, Any]:
        """What a run was of, as it is here."""
        found: dict[str, Any] = json.loads((self.path / "runs" / name / "manifest.json").read_text())
        return found

    def head(self) -> MachineHandle:
        """The head of its cluster."""
        return self.cloud.machine(self.outputs.head_id)

    @property
    def env(self) -> dict[str, str]:
        ours = ("PYTHONPATH", "UV_NO_INSTALL_PROJECT", "UV_NO_SYNC")  # of a checkout of this repository alone
        given = {name: value for name, value in super().env.items() if name not in ours}
        return given | {"PATH": f"{self.path}/.venv/bin{os.pathsep}{given['PATH']}"}

    def _up_in_process(self, settings: dict[str, Any]) -> None:
        """As this repository's program makes it, which `init --cluster` writes."""
        code = [sys.executable, "-W", "ignore", "-c", IN_PROCESS, json.dumps(settings)]
        ours = {"PYTHONPATH": os.pathsep.join((f"{engine.REPOSITORY}/src", str(engine.REPOSITORY)))}
        words = [*code, self.cloud.endpoint_url, str(self.path), REGION]
        self.cloud.laptop.run(words, cwd=self.path, env=self.env | ours, timeout_s=DEADLINE_S)

    def install(self, wheel: Path) -> None:
        """Have this sweepfleet in the project: as a file of it, locked, and in its environment. Asks the index."""
        for older in (self.path / "vendor").glob("*.whl"):
            older.unlink()
        (self.path / "vendor").mkdir(exist_ok=True)
        shutil.copy2(wheel, self.path / "vendor")
        pins = re.findall(r"^[A-Za-z0-9._-]+==.+$", _pinned(), re.MULTILINE)
        (self.path / "pyproject.toml").write_text(
            SETTINGS.format(needs=json.dumps(self.needs), wheel=f"vendor/{wheel.name}")
            + CONSTRAINTS.format(pins=json.dumps(pins))
        )
        for words in (["lock"], ["sync", "--frozen"]):
            inside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
            done = subprocess.run(
                [ensure_uv(UV_VERSION), *words, "--python", sys.executable],
                cwd=self.path, capture_output=True, text=True, check=False, env=inside,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        self.command = [str(self.path / ".venv" / "bin" / "sweepfleet")]
        locked = locked_requirements(self.path, uv=ensure_uv(UV_VERSION))
        self.cloud.package_index(ensure_wheels(locked))


def _pinned() -> str:
    """All that this repository's lock has."""
    command = [
        ensure_uv(UV_VERSION),
        "export",
        "--frozen",
        "--all-groups",
        "--no-emit-local",
        "--no-hashes",
        "--quiet",
    ]
    done = subprocess.run(command, cwd=engine.REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout
