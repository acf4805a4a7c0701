"""A session on the head: a console, or a notebook server. All paths of it, and what its programs are told."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepfleet.machine.facts import CODE, Data
from sweepfleet.machine.files import known

KINDS = ("console", "notebook")
PORT = 8888  # of the notebook server, on the head's loopback
IDLE_S = 7200  # after which a session ends
LEAST_IDLE_S = 60
LOOK_EVERY_S = 60  # of the server: at its kernels and terminals


@dataclass(frozen=True, slots=True)
class Session:
    """What a session was begun with."""

    kind: str
    release: str  # SHA-256 of its archive
    idle_s: int
    began: float  # unix time
    job: dict[str, Any] | None = None  # as job.json: the stack's limits, for what it has on workers; None: not known

    def to_json(self) -> str:
        """As session.json has it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Session:
        """What `to_json` wrote; what a later version may have added is ignored."""
        return cls(**known(cls, json.loads(text)))


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """`sessions/<kind>/` on the data volume: root writes it, the service user reads it, and nobody else."""

    path: Path

    @property
    def unit(self) -> str:
        """The systemd unit of its program."""
        return f"sweepfleet-{self.path.name}.service"

    @property
    def session(self) -> Path:
        """What it was begun with."""
        return self.path / "session.json"

    @property
    def release(self) -> Path:
        """The link to the release."""
        return self.path / "release"

    @property
    def environment(self) -> Path:
        """The link to the release's environment."""
        return self.path / "environment"

    @property
    def jupyter(self) -> Path:
        """The link to Jupyter's environment."""
        return self.path / "jupyter"

    @property
    def token(self) -> Path:
        """What the notebook server asks for."""
        return self.path / "token"

    @property
    def config(self) -> Path:
        """The notebook server's settings."""
        return self.path / "server.json"

    @property
    def kernel_spec(self) -> Path:
        """How the notebook server starts a kernel: it goes by the folder's name."""
        return self.path / "kernels" / "python3" / "kernel.json"

    @property
    def runtime(self) -> Path:
        """Where its sockets are, in memory; systemd makes and removes it."""
        return Path("/run") / f"sweepfleet-{self.path.name}"

    @property
    def connection(self) -> Path:
        """How to reach the console's kernel."""
        return self.runtime / "kernel.json"


def is_active(folder: SessionFolder) -> bool:
    """Whether a session's program runs."""
    asked = ["systemctl", "is-active", "--quiet", folder.unit]
    return subprocess.run(asked, check=False).returncode == 0


def active_sessions(data: Data) -> list[SessionFolder]:
    """The sessions whose program runs."""
    folders = [SessionFolder(place) for place in data.sessions.glob("*") if (place / "session.json").exists()]
    return [folder for folder in folders if is_active(folder)]


def kernel_spec(folder: SessionFolder) -> dict[str, Any]:
    """A kernel in the release's environment, as https://jupyter-client.readthedocs.io/en/stable/kernels.html says."""
    environment = {"PYTHONPATH": str(folder.release / CODE), "SWEEPFLEET_SESSION": str(folder.path)}
    return {
        "argv": [str(folder.environment / "bin/python"), "-m", "sweepfleet.machine.head.kernel", "{connection_file}"],
        "display_name": "Python (the project's)",
        "language": "python",
        "env": environment | {"PATH": f"{folder.environment}/bin:/usr/local/bin:/usr/bin:/bin"},
    }


def server_config(data: Data, *, idle_s: int) -> dict[str, Any]:
    """JupyterLab's settings: on the loopback alone, and nothing of it is left when it is not used."""
    return {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port": PORT,
            "port_retries": 0,
            "open_browser": False,
            "root_dir": str(data.notebooks),
            "shutdown_no_activity_timeout": idle_s,
        },
        "MappingKernelManager": {
            "cull_idle_timeout": idle_s,
            "cull_interval": min(LOOK_EVERY_S, idle_s),
            "cull_connected": True,
        },
        "TerminalManager": {"cull_inactive_timeout": idle_s, "cull_interval": min(LOOK_EVERY_S, idle_s)},
        "KernelManager": {"transport": "ipc"},  # sockets in a folder of the service user's
        "KernelSpecManager": {"ensure_native_kernel": False},
        "LabApp": {
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "extension_manager": "readonly",
            "news_url": None,
        },
    }
