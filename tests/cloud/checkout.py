"""A checkout of the project in a folder of its own, its home, its Pulumi state and a cloud: for `inv up` as typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from sweepfleet.scaffold import TASKS
from tests.cloud.engine import REPOSITORY, Engine, environment

LINKED = ("infra", "account", "docs", ".github", ".pulumi.version", ".venv")  # read there and never written
COPIED = ("Pulumi.yaml", "pyproject.toml", "uv.lock", "README.md")
DEADLINE_S = 600


class Checkout:
    """The project's files and a user's home in `folder`; AWS is at `endpoint`."""

    def __init__(self, folder: Path, endpoint: str, *, stack: str = "dev", checkip: str = "") -> None:
        self.path = folder / "project"
        self.home = folder / "home"
        self.stack = stack
        self.path.mkdir(parents=True)
        (self.home / ".ssh").mkdir(parents=True)
        for name in LINKED:
            (self.path / name).symlink_to(REPOSITORY / name)
        for name in COPIED:
            (self.path / name).write_bytes((REPOSITORY / name).read_bytes())
        (self.path / "tasks.py").write_text(TASKS)
        # Not linked: the tasks' own place is where the checkout is.
        shutil.copytree(REPOSITORY / "src", self.path / "src", ignore=shutil.ignore_patterns("__pycache__"))
        key = self.home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key], check=True)
        self.public_key = key.with_suffix(".pub").read_text().strip()
        env = environment(folder, endpoint)
        tools = str(Path(sys.executable).parent)
        self.env = env | {
            "HOME": str(self.home),
            "PYTHONPATH": str(self.path / "src"),  # before the repository's own, which is installed
            "PATH": f"{folder / 'bin'}{os.pathsep}{tools}{os.pathsep}{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "USER": "ada",
            "LOGNAME": "ada",
            "UV_OFFLINE": "true",
            "UV_NO_INSTALL_PROJECT": "true",  # `uv sync`, which Pulumi calls, would build it anew from this folder
            "INVOKE_CHECKIP": checkip or "http://127.0.0.1:9",  # where nobody answers
        }

    @property
    def engine(self) -> Engine:
        """`pulumi` itself in this checkout."""
        return Engine(self.path, self.env, self.stack)

    @property
    def remembered(self) -> Path:
        """What the checkout remembers of its stack."""
        return self.path / ".sweepfleet" / self.stack / "outputs.json"

    def inv(
        self, *words: str, code: int | None = 0, answer: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """An invoke task as a user types it, with what is answered to its questions."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.path,
            env=self.env | env,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def otherwise(self, **settings: Any) -> Iterator[None]:
        """Other settings until the block ends."""
        file = self.path / f"Pulumi.{self.stack}.yaml"
        before = file.read_text()
        content = yaml.safe_load(before)
        content["config"] |= {f"sweepfleet:{key}": value for key, value in settings.items()}
        file.write_text(yaml.safe_dump(content))
        try:
            yield
        finally:
            file.write_text(before)

    def planned(self, **settings: Any) -> dict[str, str]:
        """What `pulumi preview` would do with these settings otherwise: resource name and type to the operation.

        Resources that stay the same are left out.
        """
        with self.otherwise(**settings):
            return self.plan()

    def plan(self, **env: str) -> dict[str, str]:
        """The same with the settings as they are."""
        said = json.loads(self.engine.run("preview", "--json", "--stack", self.stack, env=env).stdout)
        found: dict[str, str] = {}
        for step in said.get("steps", ()):
            if step["op"] not in {"same", "read"}:
                _, _, kind, name = step["urn"].split("::")
                name = f"{name.removeprefix(f'sweepfleet-{self.stack}-')} {kind.rpartition(':')[2]}"
                found[name] = "replace" if "replace" in step["op"] else step["op"]
        return found


@contextmanager
def address_server(address: str) -> Iterator[str]:
    """A server that tells every caller the same address, as checkip.amazonaws.com tells them their own; its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{address}\n".encode())

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
