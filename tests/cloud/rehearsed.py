"""The project in the rehearsal cloud: an operator's laptop with a checkout, and the cluster that it made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from sweepfleet.infra.boot_text import UV_VERSION
from sweepfleet.infra.layout import IDLE_STOP_TAG
from sweepfleet.infra.outputs import Outputs
from tests.cloud import engine, environments
from tests.cloud.rehearsal.cloud import REGION, Cloud, until
from tests.cloud.rehearsal.inside import Done
from tests.cloud.rehearsal.network import LAPTOP
from tests.cloud.rehearsal.wheels import ensure_uv, ensure_wheels, locked_requirements

DEADLINE_S = 900
STACK = "dev"
IN_PROCESS = """
import json, sys
from pathlib import Path
from sweepfleet.infra.outputs import Outputs
from sweepfleet.fleet.stack.folder import StackFolder
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
settings, endpoint, root, region = json.loads(sys.argv[1]), *sys.argv[2:]
made = up(Mocks(endpoint, region=region), settings, region=region)
StackFolder(Path(root), "dev").keep(Outputs.from_json(json.dumps(made)))
"""
LEFTOVERS = """
import json, sys
from tests.cloud.aws import Aws
from tests.cloud.leftovers import leftovers
endpoint, region = sys.argv[1:]
print(json.dumps(leftovers(Aws(region, endpoint))))
"""
SETTINGS = f"Pulumi.{STACK}.yaml"


class Laptop:
    """A checkout of the project on a laptop in the closed network, as a Git repository with one commit.

    `inv` is run there as a user types it. `like` is another laptop: this one has its key and its
    remembered stacks, and the same Pulumi state.
    """

    def __init__(self, cloud: Cloud, folder: Path, *, like: Laptop | None = None) -> None:
        self._be_in(cloud, folder)
        self._copy()
        self.state = self.home if like is None else like.state
        if like is None:
            (self.home / ".ssh").mkdir(parents=True)
            key = self.home / ".ssh" / "id_ed25519"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key], check=True)
        else:
            shutil.copytree(like.home, self.home)
            shutil.copytree(like.path / ".sweepfleet", self.path / ".sweepfleet")
            if (settings := like.path / SETTINGS).exists():
                shutil.copy2(settings, self.path)
                self.commit("The stack's settings")
        engine.make_plugin(self.home / "bin")

    @classmethod
    def found(cls, cloud: Cloud, folder: Path) -> Self:
        """A laptop that was made there before."""
        laptop = cls.__new__(cls)
        laptop._be_in(cloud, folder)
        laptop.state = laptop.home
        return laptop

    def _be_in(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.command: list[str] = [sys.executable, "-m", "invoke"]
        self.path = folder / "project"
        self.home = folder / "home"

    @property
    def public_key(self) -> str:
        return (self.home / ".ssh" / "id_ed25519.pub").read_text().strip()

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
        """Its shell's environment: logged in at Pulumi with the state at home, and nothing comes from outside."""
        given = self.cloud.laptop.env
        programs = [self.home / "bin", given["PATH"], *engine.folders(), ensure_uv(UV_VERSION).parent]
        return {
            **given,
            "HOME": str(self.home),
            "PATH": os.pathsep.join(map(str, programs)),
            "PYTHONPATH": str(self.path / "src"),
            "USER": "ada",
            "LOGNAME": "ada",
            "PULUMI_HOME": str(self.home / ".pulumi"),  # it does not go by HOME
            "PULUMI_BACKEND_URL": f"file://{self.state}",
            "PULUMI_CONFIG_PASSPHRASE": "x",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "UV_OFFLINE": "true",
            # The environment is shared with the one that this runs in, which holds another checkout as the project.
            "UV_NO_INSTALL_PROJECT": "true",
            "UV_NO_SYNC": "true",
        }

    def inv(self, *words: str, code: int | None = 0, **env: str) -> Done:
        """An invoke task as typed; AssertionError with all it said when it ends otherwise than with `code`."""
        done = self.cloud.laptop.run(
            [*self.command, *words],
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
            [*self.command, *words],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self, **settings: Any) -> Outputs:
        """Make the cluster: by the real engine where it is on the PATH, else by the same program in process."""
        if engine.installed():
            self.configure(**settings)
            self.inv("up", "--yes")
        else:
            self._up_in_process(self._settings(settings))
        return self.outputs

    def configure(self, **settings: Any) -> None:
        """Make the stack with its settings, and nothing of what they say."""
        self._set(self._settings(settings))

    def change(self, **settings: Any) -> None:
        """Set some of the stack's settings otherwise; `inv up` applies them."""
        words = [word for key, value in settings.items() for word in ("--plaintext", f"{key}={value}")]
        self._run("pulumi", "config", "set-all", "--stack", STACK, *words)

    def _settings(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """The rehearsal's settings, and others."""
        index = self.cloud.package_index(project_wheels(engine.REPOSITORY))
        self.cloud.package_index(ensure_wheels(f"uv=={UV_VERSION}"))
        return {
            "sshCidrs": [f"{LAPTOP}/32"],
            "sshPublicKey": self.public_key,
            "owner": "ada",
            "headInstanceType": "t3.medium",
            "workerInstanceTypes": ["c7i.large", "c7a.large"],
            "maxWorkers": 3,
            "packageIndex": index.rstrip("/"),
            "endpointUrl": self.cloud.endpoint_url,
            **other,
        }

    def push(self) -> None:
        """Push to a new cluster, which need not build the machines' environment when one before it has."""
        self.lend_environment()
        self.inv("push")
        environments.keep(self.cloud.client("s3"), self.outputs.bucket, self.path)

    def lend_environment(self) -> None:
        """Have the bucket of a new cluster hold the machines' environment, when a cluster before has built it."""
        environments.lend(self.cloud.client("s3"), self.outputs.bucket, self.path)

    def leftovers(self) -> list[str]:
        """What there is in the account that somebody made."""
        found: list[str] = json.loads(
            self._run(sys.executable, "-c", LEFTOVERS, self.cloud.endpoint_url, REGION).stdout
        )
        return found

    def _set(self, settings: Mapping[str, Any]) -> None:
        """Make the stack with these settings, and commit them, as docs/cluster.md says."""
        words = [f"aws:region={REGION}"]
        for key, value in settings.items():
            each = (
                {f"{key}[{number}]": one for number, one in enumerate(value)}
                if isinstance(value, list)
                else {key: value}
            )
            words += [f"{path}={one}" for path, one in each.items()]
        self._run("pulumi", "stack", "init", STACK)
        plain = [word for one in words for word in ("--plaintext", one)]
        self._run("pulumi", "config", "set-all", "--stack", STACK, "--path", *plain)
        self.commit("The stack's settings")

    def _up_in_process(self, settings: Mapping[str, Any]) -> None:
        code = [sys.executable, "-W", "ignore", "-c", IN_PROCESS]
        self._run(*code, json.dumps(settings), self.cloud.endpoint_url, str(self.path), REGION)

    def _run(self, *command: str) -> Done:
        """A program in the checkout; AssertionError with all it said when it fails."""
        return self.cloud.laptop.run(command, cwd=self.path, env=self.env, timeout_s=DEADLINE_S)

    @property
    def head_ip(self) -> str:
        """The head's public address now."""
        [reservation] = self.cloud.client("ec2").describe_instances(InstanceIds=[self.outputs.head_id])[
            "Reservations"
        ]
        return str(reservation["Instances"][0].get("PublicIpAddress", ""))

    @property
    def outputs(self) -> Outputs:
        return Outputs.from_json((self.path / ".sweepfleet" / STACK / "outputs.json").read_text())

    def head_sleeps(self) -> None:
        """Have the head's time be over as soon as nothing needs it, and wait until it has stopped itself."""
        scaling, head = self.cloud.client("autoscaling"), self.cloud.machine(self.outputs.head_id)
        group = {"ResourceId": self.outputs.worker_group, "ResourceType": "auto-scaling-group"}
        over = {"Key": IDLE_STOP_TAG, "Value": "5", "PropagateAtLaunch": False}
        scaling.create_or_update_tags(Tags=[group | over])

        def stopped() -> bool:
            found = self.cloud.client("ec2").describe_instances(InstanceIds=[head.instance_id])["Reservations"]
            return found[0]["Instances"][0]["State"]["Name"] == "stopped" and not head.running

        until(stopped, what="the head sleeps", timeout_s=300)

    @property
    def group(self) -> dict[str, Any]:
        """The workers' first group, as AWS describes it."""
        names = [self.outputs.worker_group]
        described = self.cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=names)
        [group] = described["AutoScalingGroups"]
        found: dict[str, Any] = group
        return found


def project_wheels(project: Path) -> Path:
    """What the machines' environment is made of, as wheels."""
    return ensure_wheels(locked_requirements(project, uv=ensure_uv(UV_VERSION)))
