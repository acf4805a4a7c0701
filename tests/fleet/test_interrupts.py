"""Ctrl-C in `inv up` and `inv down`, under the real engine: Pulumi is waited for, and what exists then is counted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.cloud import engine
from tests.cloud.checkout import DEADLINE_S, Checkout, address_server
from tests.cloud.holds import Hold
from tests.cloud.moto import Moto, moto_server
from tests.cloud.rehearsal.cloud import until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "us-east-1"
# One after the other, so that each moment is the same every time.
PROGRAM = """
import pulumi, pulumi_aws as aws
mine = {"sweepfleet:stack": "dev"}
network = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", tags=mine)
subnet = aws.ec2.Subnet("sub", vpc_id=network.id, cidr_block="10.0.0.0/24", tags=mine)
after = pulumi.ResourceOptions(depends_on=[subnet])
wall = aws.ec2.SecurityGroup("wall", vpc_id=network.id, description="machines", tags=mine, opts=after)
after = pulumi.ResourceOptions(depends_on=[wall])
aws.ebs.Volume("data", availability_zone="us-east-1a", size=8, type="gp3", tags=mine, opts=after)
"""
ALL = 4
MOMENTS = {"before the first resource": 1, "in the middle": 2, "near the end": ALL}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture
def checkout(server: Moto, tmp_path: Path) -> Iterator[Checkout]:
    """A checkout with a small program in the cluster's place."""
    server.reset()
    with address_server("198.51.101.9") as url:
        made = Checkout(tmp_path, server.endpoint, checkip=url)
        made.env["AWS_REGION"] = REGION
        made.env.pop("CI", None)  # where Pulumi takes no terminal for one
        (made.path / "small").mkdir()
        (made.path / "small" / "__main__.py").write_text(PROGRAM)
        project = yaml.safe_load((made.path / "Pulumi.yaml").read_text())
        project["runtime"]["options"]["virtualenv"] = str(Path(sys.prefix))
        (made.path / "Pulumi.yaml").write_text(yaml.safe_dump(project | {"main": "small"}))
        yield made
        server.reset()


class Redirected:
    """An invoke task whose output goes to a file, in a process group of its own; signals come to it alone."""

    def __init__(self, checkout: Checkout, *words: str, env: dict[str, str]) -> None:
        self._file = checkout.home / "said"
        with self._file.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "invoke", *words],
                cwd=checkout.path,
                env=checkout.env | env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._file.read_text(errors="replace")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        return self.process.wait(DEADLINE_S)


class OnTerminal:
    """An invoke task on a terminal of its own; Ctrl-C is typed there."""

    def __init__(self, checkout: Checkout, *words: str, env: dict[str, str]) -> None:
        self._bytes: list[bytes] = []
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child
            os.chdir(checkout.path)
            os.execvpe(
                sys.executable,
                [sys.executable, "-m", "invoke", *words],
                checkout.env | env | {"TERM": "xterm"},
            )
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._terminal, 1 << 16):
                self._bytes.append(chunk)
        except OSError:  # nobody has it open any more
            pass

    @property
    def said(self) -> str:
        return b"".join(self._bytes).decode(errors="replace").replace("\r\n", "\n")

    def interrupt(self) -> None:
        os.write(self._terminal, b"\x03")

    def ended(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._reader.join()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)


WAYS = {"redirected": Redirected, "on a terminal": OnTerminal}


def interrupted(checkout: Checkout, way: str, moment: str, *words: str) -> str:
    """Run it, interrupt it once at this moment, let the call that is in flight go on; what it said."""
    folder = checkout.home / f"hold-{len(list(checkout.home.iterdir()))}"
    hold = Hold.at(folder, "create" if words[0] == "up" else "delete", MOMENTS[moment])
    running = WAYS[way](checkout, *words, env=hold.env)
    try:
        until(lambda: hold.reached, what=f"{words} comes there", timeout_s=DEADLINE_S)
        running.interrupt()
        until(lambda: "received; cancelling" in running.said, what="Pulumi has the signal", timeout_s=DEADLINE_S)
    finally:
        hold.release()
        code = running.ended()
    said = running.said
    print(said)
    assert code == 130, said
    assert "Traceback" not in said[said.rindex("error: Interrupted") :]
    assert "received; terminating" not in said, "it was told twice"
    return said


def state(checkout: Checkout) -> tuple[int, list[str]]:
    """How many resources of AWS are recorded, and which operations are pending."""
    said = json.loads(checkout.engine.run("stack", "export", "--stack", "dev").stdout)["deployment"]
    resources = [one for one in said.get("resources", ()) if one["type"].startswith("aws:")]
    return len(resources), [one["type"] for one in said.get("pending_operations") or ()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_up_that_is_interrupted_says_what_exists(checkout: Checkout, server: Moto, way: str, moment: str) -> None:
    """What is in flight is finished and recorded, no lock stays, and `inv down` takes it all down."""
    said = interrupted(checkout, way, moment, "up", "--yes")
    count, pending = state(checkout)
    assert (count, pending) == (MOMENTS[moment], [])
    assert len(server.leftovers(REGION)) == count
    exist = "1 resource of dev exists" if count == 1 else f"{count} resources of dev exist"
    what = f"{exist}. Continue: inv up --stack dev, or take it down: inv down --stack dev"
    assert f"error: Interrupted. {what}" in said
    assert what in checkout.inv("status", code=3).stderr, "it is not forgotten, though it has no outputs"
    assert "The stack dev is down." in checkout.inv("down", "--yes").stdout
    assert server.leftovers(REGION) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_down_that_is_interrupted_forgets_nothing(checkout: Checkout, server: Moto, way: str, moment: str) -> None:
    """It never says that all is gone while something exists; the same command completes it."""
    checkout.inv("up", "--yes", code=3)  # the small program has no head: all is made, and the outputs cannot be
    checkout.remembered.parent.mkdir(parents=True)
    checkout.remembered.write_text("{}")
    said = interrupted(checkout, way, moment, "down", "--yes")
    left = ALL - MOMENTS[moment]
    assert state(checkout) == (left, [])
    assert len(server.leftovers(REGION)) == left
    assert checkout.remembered.exists()
    assert "is down" not in said
    exist = "1 resource of dev exists" if left == 1 else f"{left} resources of dev exist"
    assert f"error: Interrupted. {exist}." in said
    again = checkout.inv("down", "--yes").stdout
    assert ("The stack dev is down." if left else "The stack dev is already down.") in again
    assert server.leftovers(REGION) == []
    assert not checkout.remembered.exists()


def test_the_clusters_own_program_ends_without_a_traceback(checkout: Checkout, server: Moto) -> None:
    """Which Python prints at SIGINT, and in which Pulumi's words and ours would be lost."""
    file = checkout.path / "Pulumi.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"main": "infra"}))
    said = interrupted(checkout, "on a terminal", "in the middle", "up", "--yes")
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    checkout.inv("down", "--yes", "--purge")
    assert server.leftovers(REGION) == []


def test_a_second_interrupt_is_passed_on_and_what_was_in_flight_is_told(checkout: Checkout, server: Moto) -> None:
    """Pulumi then stops at once; the next command repairs its state, and AWS is asked for what it may have missed."""
    hold = Hold.at(checkout.home / "hold", "create", 2)
    running = Redirected(checkout, "up", "--yes", env=hold.env)
    until(lambda: hold.reached, what="it comes there", timeout_s=DEADLINE_S)
    running.interrupt()
    until(lambda: "received; cancelling" in running.said, what="the first signal", timeout_s=DEADLINE_S)
    running.interrupt()
    assert running.ended() == 130  # the call in flight ends with the provider, and makes nothing
    assert running.said.count("Interrupted. Pulumi finishes what is in flight") == 1
    assert "received; terminating" in running.said
    assert "Pulumi was stopped while it created sub (aws:ec2/subnet:Subnet): it may exist, too." in running.said
    assert "inv down --stack dev" in running.said
    assert state(checkout) == (1, ["creating"])
    said = checkout.inv("down", "--yes").stdout
    assert "Pulumi was stopped while it created sub (aws:ec2/subnet:Subnet). Its state is compared with AWS" in said
    assert "The stack dev is down." in said
    assert state(checkout) == (0, [])
    assert server.leftovers(REGION) == []


def test_after_a_pulumi_that_was_killed_the_lock_is_removed_and_leaks_are_told(
    checkout: Checkout, server: Moto
) -> None:
    hold = Hold.at(checkout.home / "hold", "create", 2)
    running = Redirected(checkout, "up", "--yes", env=hold.env)
    until(lambda: hold.reached, what="it comes there", timeout_s=DEADLINE_S)
    children = psutil.Process(running.process.pid).children(recursive=True)
    next(one for one in children if one.name() == "pulumi").kill()
    assert running.ended() == 3
    assert "1 resource of dev exists. Pulumi was stopped while it created" in running.said

    tags = [{"ResourceType": "volume", "Tags": [{"Key": "sweepfleet:stack", "Value": "dev"}]}]
    ec2 = server.client("ec2", REGION)
    orphan = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=20, VolumeType="gp3", TagSpecifications=tags)
    done = checkout.inv("down", "--yes", code=3)
    assert "Removed the stale lock of" in done.stdout
    assert "is down" not in done.stdout
    assert "In AWS, 1 resource carries the tag of dev without being in Pulumi's state. List: inv audit" in done.stderr
    ec2.delete_volume(VolumeId=orphan["VolumeId"])
    assert checkout.inv("down", "--yes").stdout.endswith("The stack dev is already down.\n")
    assert server.leftovers(REGION) == []
