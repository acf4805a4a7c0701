"""The project in the rehearsal cloud: an operator's laptop with a checkout, and the cluster that it made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra.bootstrap import UV_VERSION
from infra.outputs import Outputs
from tests.cloud import engine
from tests.cloud.rehearsal.cloud import REGION, Cloud
from tests.cloud.rehearsal.inside import Done
from tests.cloud.rehearsal.network import LAPTOP
from tests.cloud.rehearsal.wheels import ensure_uv, ensure_wheels, locked_requirements
from worker.machine.publish import NOT_ON_MACHINES

DEADLINE_S = 900
IN_PROCESS = """
import json, sys
from pathlib import Path
from infra.outputs import Outputs
from fleet.folder import StackFolder
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
settings, endpoint, root, region = json.loads(sys.argv[1]), *sys.argv[2:]
made = up(Mocks(endpoint, region=region), settings, region=region)
StackFolder(Path(root), "dev").keep(Outputs.from_json(json.dumps(made)))
"""


class Laptop:
    """A checkout of the project on a laptop in the closed network, as a Git repository with one commit.

    `inv` is run there as a user types it. `like` is another laptop, whose key and remembered stacks this one has.
    """

    def __init__(self, cloud: Cloud, folder: Path, *, like: Laptop | None = None) -> None:
        self.cloud = cloud
        self.path = folder / "project"
        self.home = folder / "home"
        self._copy()
        if like is None:
            (self.home / ".ssh").mkdir(parents=True)
            key = self.home / ".ssh" / "id_ed25519"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key], check=True)
        else:
            shutil.copytree(like.home, self.home)
            shutil.copytree(like.path / ".sweepfleet", self.path / ".sweepfleet")
        self.public_key = (self.home / ".ssh" / "id_ed25519.pub").read_text().strip()

    def _copy(self) -> None:
        """The repository's files as they are now, committed."""
        listed = ["git", "-C", str(engine.REPOSITORY), "ls-files", "-co", "--exclude-standard", "-z"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            source, target = engine.REPOSITORY / name, self.path / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        (self.path / ".venv").symlink_to(sys.prefix)
        self.git("init", "-q", "-b", "main")
        self.commit("As it is")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(["git", "-C", str(self.path), *who, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def commit(self, message: str) -> str:
        """Commit everything; the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.cloud.laptop.env,
            "HOME": str(self.home),
            "PYTHONPATH": str(self.path),
            "USER": "ada",
            "LOGNAME": "ada",
        }

    def inv(self, *words: str, code: int | None = 0, **env: str) -> Done:
        """An invoke task as typed; AssertionError with all it said when it ends otherwise than with `code`."""
        done = self.cloud.laptop.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.path,
            env=self.env | env,
            check=False,
            timeout_s=DEADLINE_S,
        )
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """An invoke task that goes on meanwhile."""
        return self.cloud.laptop.popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self, **settings: Any) -> Outputs:
        """Make the cluster: by the real engine where it is on the PATH, else by the same program in process."""
        index = self.cloud.package_index(project_wheels(self.path))
        self.cloud.package_index(ensure_wheels(f"uv=={UV_VERSION}"))
        wanted = {
            "sshCidrs": [f"{LAPTOP}/32"],
            "sshPublicKey": self.public_key,
            "owner": "ada",
            "headInstanceType": "t3.medium",
            "workerInstanceTypes": ["c7i.large", "c7a.large"],
            "maxWorkers": 3,
            "packageIndex": index.rstrip("/"),
            "endpointUrl": self.cloud.endpoint_url,
        } | settings
        code = [sys.executable, "-W", "ignore", "-c", IN_PROCESS]
        self.cloud.laptop.run(
            [*code, json.dumps(wanted), self.cloud.endpoint_url, str(self.path), REGION],
            cwd=self.path,
            env=self.env,
            timeout_s=DEADLINE_S,
        )
        return self.outputs

    @property
    def outputs(self) -> Outputs:
        return Outputs.from_json((self.path / ".sweepfleet" / "dev" / "outputs.json").read_text())


def project_wheels(project: Path) -> Path:
    """What the machines' environment is made of, as wheels."""
    return ensure_wheels(locked_requirements(project, uv=ensure_uv(UV_VERSION), without=NOT_ON_MACHINES))
