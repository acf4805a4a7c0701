"""The real engine on this machine alone: a folder to keep its state in, and the stand-in provider on its PATH."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PLUGIN = "pulumi-resource-aws"
WHY_NOT = "no `pulumi` on PATH: https://www.pulumi.com/docs/install/"


def installed() -> bool:
    return bool(folders())


def folders() -> list[Path]:
    """The folder of `pulumi` and what belongs to it; none where it is not on the PATH."""
    found = shutil.which("pulumi")
    return [Path(found).parent] if found else []


def make_plugin(folder: Path) -> Path:
    """An executable there that serves the stand-in provider: put the folder first on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / PLUGIN
    python, path = shlex.quote(sys.executable), shlex.quote(str(REPOSITORY))
    plugin.write_text(f"#!/bin/sh\nPYTHONPATH={path} exec {python} -W ignore -m tests.cloud.provider_grpc\n")
    plugin.chmod(0o755)
    return plugin


def environment(folder: Path, endpoint: str) -> dict[str, str]:
    """What `pulumi` needs to run offline, its state in `folder`, its cloud at `endpoint`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_", "UV_RUN_"))}
    (folder / "state").mkdir(parents=True, exist_ok=True)
    plugins = make_plugin(folder / "bin").parent
    return {
        **kept,
        "PATH": f"{plugins}{os.pathsep}{kept['PATH']}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_project(folder: Path, program: str) -> Path:
    """A project there of one file, run by this repository's Python as it is: nothing is installed or synced."""
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text(program)
    runtime = {"name": "python", "options": {"toolchain": "uv", "virtualenv": sys.prefix}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "trial", "runtime": runtime}))  # JSON is YAML
    (folder / "uv.lock").symlink_to(REPOSITORY / "uv.lock")  # where Pulumi looks for the plugins that are needed
    return folder


@dataclass(frozen=True)
class Engine:
    """One project's `pulumi`, run in its folder; `env` holds what is added to `environment`."""

    project: Path
    env: dict[str, str] = field(repr=False)
    stack: str = "test"

    def start(self, **settings: str) -> Engine:
        """Make the stack, with these settings of it besides a region."""
        self.run("stack", "init", self.stack)
        for key, value in {"aws:region": "eu-west-1", **settings}.items():
            self.set(key, value)
        return self

    def set(self, key: str, value: str) -> None:
        self.run("config", "set", "--path", key, value, "--stack", self.stack)

    def run(
        self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`pulumi` with these arguments; AssertionError with all it said when it fails, unless check is False."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.project,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, f"pulumi {arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def up(
        self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--yes", "--skip-preview", "--stack", self.stack, *arguments, check=check, env=env)

    def outputs(self) -> dict[str, Any]:
        done = self.run("stack", "output", "--json", "--show-secrets", "--stack", self.stack)
        outputs: dict[str, Any] = json.loads(done.stdout)
        return outputs

    def resources(self) -> list[dict[str, Any]]:
        """Everything that the engine has recorded, as `pulumi stack export` says it."""
        exported = json.loads(self.run("stack", "export", "--stack", self.stack).stdout)
        return list(exported["deployment"].get("resources", []))
