"""The rehearsal cloud, as a test has it: `with Cloud(tmp_path) as cloud: ...`."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Client
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.cloud.rehearsal import base, host, lease, network
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.inside import ENVIRONMENT, Runner, client
from tests.cloud.rehearsal.lease import Lease, Process
from tests.cloud.rehearsal.rig import READY, Spec

REPOSITORY = Path(__file__).parents[3]
REGION = "us-east-1"
API_PORT = 5000
START_TIMEOUT_S = 60
POLL_S = 0.4  # most conditions start a program in a machine, of which all share this one's processors
_numbers = itertools.count()


class Cloud:
    """A closed network with moto for AWS, and a real machine for every instance that runs in it.

    Made and ended by `with`; ends with the thread that made it, and with this process, however that ends.
    `tied=False` is for one that stays until `lease.down`.
    """

    def __init__(self, root: Path | None = None, *, tied: bool = True) -> None:
        name = f"{lease.PREFIX}{os.getpid()}-{next(_numbers)}"
        self._tied = tied
        where = root or base.CACHE / "clouds" / name / "root"
        self.lease = Lease(name, str(where), keep=root is not None, owner=Process.of(os.getpid()))
        self._rig: subprocess.Popen[str] | None = None

    @classmethod
    def of(cls, entry: Lease) -> Cloud:
        """A cloud that runs already."""
        cloud = cls.__new__(cls)
        cloud.lease, cloud._rig, cloud._tied = entry, None, entry.owner is not None
        return cloud

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> Self:
        """Start it; the first time on a host this installs packages and builds the machines' image.

        Raises:
            HostError: something that it needs cannot be had; the log says more.
        """
        lease.sweep()
        host.install()
        image = base.ensure_base()
        root = Path(self.lease.root)
        root.mkdir(parents=True, exist_ok=True)
        self.lease.write()
        spec = Spec(self.lease.name, str(root), str(image), str(self.lease.socket), tied=self._tied)
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command += [sys.executable, "-m", "tests.cloud.rehearsal.rig", spec.to_json()]
        if spec.tied:
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with self.log_file.open("w") as log:
            self._rig = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**environment, "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.PIPE if spec.tied else subprocess.DEVNULL,  # the pipe's end is the rig's end
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.lease = replace(
            self.lease, holder=Process.of(self._rig.pid), owner=self.lease.owner if spec.tied else None
        )
        self.lease.write()
        assert self._rig.stdout is not None
        if self._rig.stdout.readline().strip() != READY:
            self.down()
            raise host.HostError(f"the rig did not start: {self.log_file.read_text()[-3000:]}")
        return self

    def down(self) -> None:
        """End it, and remove what it has made; a `root` that was given stays, with disks and logs, for its owner."""
        if self._rig is not None:
            self._rig.kill()
            for stream in (self._rig.stdin, self._rig.stdout):
                if stream is not None:
                    stream.close()
            self._rig.wait()
        self.lease.clear()

    @property
    def log_file(self) -> Path:
        """What went wrong inside."""
        return Path(self.lease.root, "rig.log")

    @property
    def endpoint_url(self) -> str:
        """AWS's address in this cloud, for the laptop and the machines alike."""
        return f"http://{network.SERVICES}:{API_PORT}"

    def client(self, service: str, region: str = REGION) -> Any:
        """A boto3 client of this process for the cloud."""
        return client(service, region=region, endpoint=self.endpoint_url, namespace=self._proc / "ns/net")

    @property
    def laptop(self) -> Runner:
        """The operator's laptop: its own home folder and network, this machine's programs and files."""
        home = Path(self.lease.root, "laptop")
        home.mkdir(parents=True, exist_ok=True)
        env = {
            **ENVIRONMENT,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), ENVIRONMENT["PATH"]]),
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        namespace = self._proc / "root" / network.NAMESPACES.relative_to("/") / network.LAPTOP_NAME
        return Runner(("nsenter", f"--net={namespace}", "--"), env)

    def machine(self, instance_id: str) -> MachineHandle:
        """The machine that plays an instance, whether or not it has booted yet."""
        return MachineHandle(self, instance_id)

    def machines(self) -> dict[str, int | None]:
        """Every machine that exists, and its process 1 in the rig's view; None for one that is off."""
        found: dict[str, int | None] = self.order("machines")
        return found

    def interrupt_spot(self, instance_id: str, in_s: float = 120) -> None:
        """Give a spot instance its notice, and terminate it when it is due."""
        self.order("interrupt", instance_id=instance_id, in_s=in_s)

    def recommend_rebalance(self, instance_id: str) -> None:
        """Recommend to leave an instance; its group launches another one if it rebalances."""
        self.order("rebalance", instance_id=instance_id)

    def refuse_capacity(
        self, *, instance_types: Sequence[str] = (), zones: Sequence[str] = (), market: str = ""
    ) -> None:
        """From now on groups' launches of these kinds fail; without arguments, all."""
        self.order("refuse", instance_types=tuple(instance_types), zones=tuple(zones), market=market)

    def restore_capacity(self) -> None:
        """Launches succeed again."""
        self.order("relent")

    def package_index(self, folder: Path) -> str:
        """Serve a folder's wheels to machines; the address of the index, which all folders share."""
        return str(self.order("index", folder=str(folder)))

    def denials(self) -> list[str]:
        """What machines were refused because their role does not allow it."""
        return list(self.order("denials"))

    def requests(self) -> list[tuple[str, str, str]]:
        """Every request to AWS, oldest first: the caller's address, method and path."""
        return list(self.order("requests"))

    def order(self, name: str, **arguments: Any) -> Any:
        """Have the rig do something; its error is raised here."""
        with Client(str(self.lease.socket), family="AF_UNIX") as connection:
            connection.send((name, arguments))
            fine, answer = connection.recv()
        if not fine:
            raise answer
        return answer

    @property
    def rig_pid(self) -> int:
        """The rig's process 1, as this process sees it."""
        assert self.lease.holder is not None
        return next(child.pid for child in psutil.Process(self.lease.holder.pid).children())

    @property
    def _proc(self) -> Path:
        return Path("/proc", str(self.rig_pid))


def until(
    condition: Callable[[], Any], *, what: str, timeout_s: float = 60, tell: Callable[[], str] = lambda: ""
) -> Any:
    """The first true value of a condition; AssertionError that says what did not happen, and what `tell` tells."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}\n{tell()}".rstrip()
        time.sleep(POLL_S)
    return value
