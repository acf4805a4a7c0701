"""From a laptop to the head in the rehearsal cloud: ssh, rsync and editors (`inv ssh-config`), console, notebook.

Real sshd, real systemd, Jupyter's real packages from the closed network's index.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.cloud.jupyter_wheels import jupyter_wheels
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsal.inside import Done
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
PATIENCE_S = 240
HEAD, WORKER = "sweepfleet-dev", "sweepfleet-dev-worker-1"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up, with its code, a worker, and hosts for ssh."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        cloud.package_index(jupyter_wheels())
        laptop.up()
        laptop.push()
        assert "1 of 1 worker" in laptop.inv("start", "--workers", "1").stdout
        assert "The head: ssh sweepfleet-dev" in laptop.inv("ssh-config").stdout
        yield laptop


def head_of(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


def worker_of(laptop: Laptop) -> MachineHandle:
    [worker] = set(laptop.cloud.machines()) - {laptop.outputs.head_id}
    return laptop.cloud.machine(worker)


def on_laptop(laptop: Laptop, *words: str | Path, text: str = "", check: bool = True) -> Done:
    """A program there, with the laptop's SSH configuration: ssh itself looks into the account's home, not $HOME."""
    program, *more = words
    options = [] if program == "rsync" else ["-F", laptop.home / ".ssh" / "config"]
    return laptop.cloud.laptop.run(
        [program, *options, *more], cwd=laptop.path, env=laptop.env, text=text, check=check, timeout_s=PATIENCE_S
    )


# ssh-config


def test_ssh_and_what_is_made_of_it_reach_head_and_worker(laptop: Laptop) -> None:
    """With the published keys; as editors do it, too: a shell without a terminal, and a way for their ports."""
    head, worker = head_of(laptop), worker_of(laptop)
    by_id = f"{HEAD}-{worker.instance_id}"
    for host, machine in ((HEAD, head), (WORKER, worker), (by_id, worker)):
        said = on_laptop(laptop, "ssh", host, "cat /var/lib/cloud/data/instance-id").stdout
        assert said.strip() == machine.instance_id
    assert on_laptop(laptop, "ssh", "-T", "-D", "18080", HEAD, "bash", text="echo $((6 * 7))\n").stdout == "42\n"
    file = laptop.home / "a file"
    file.write_text("from the laptop\n")
    for host in (HEAD, by_id):
        on_laptop(laptop, "scp", "-q", file, f"{host}:copied")
        assert on_laptop(laptop, "ssh", host, "cat copied").stdout == file.read_text()
        back = laptop.home / "back"
        on_laptop(laptop, "sftp", "-q", "-b", "-", host, text=f'get copied "{back}"\n')
        assert back.read_text() == file.read_text()


def test_rsync_copies_both_ways(laptop: Laptop) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed here")
    lend_rsync(head_of(laptop))
    there, back = laptop.home / "there", laptop.home / "returned"
    (there / "deep").mkdir(parents=True)
    (there / "deep" / "a.txt").write_text("a")
    through = f"ssh -F {laptop.home / '.ssh' / 'config'}"
    on_laptop(laptop, "rsync", "-a", "-e", through, f"{there}/", f"{HEAD}:work/")
    on_laptop(laptop, "rsync", "-a", "-e", through, f"{HEAD}:work/", f"{back}/")
    assert (back / "deep" / "a.txt").read_text() == "a"


def lend_rsync(machine: MachineHandle) -> None:
    """Have this host's rsync on a machine, whose network has no Debian mirror."""
    needed = subprocess.check_output(["ldd", "/usr/bin/rsync"], text=True)
    for file in ("/usr/bin/rsync", *re.findall(r"=> (/\S+)", needed)):
        with Path(file).open("rb") as content:
            script = f"test -e {file} || {{ mkdir -p {Path(file).parent}; cat > {file}; chmod 755 {file}; }}"
            assert machine.popen(["sh", "-c", script], stdin=content).wait() == 0


@pytest.mark.parametrize("host", [HEAD, WORKER])
def test_another_host_key_is_refused(laptop: Laptop, host: str) -> None:
    """A worker's is the published one whenever somebody connects: there, the machine has another."""
    machine = head_of(laptop) if host == HEAD else worker_of(laptop)
    keys = "/etc/ssh/ssh_host_ed25519_key"
    other = f"cp -p {keys} /root/kept && cp -p {keys}.pub /root/kept.pub && rm {keys} && ssh-keygen -qN '' -f {keys}"
    machine.run(["sh", "-euc", f"{other} && systemctl restart ssh"])
    try:
        done = on_laptop(laptop, "ssh", host, "true", check=False)
    finally:
        machine.run(["sh", "-euc", f"mv /root/kept {keys} && mv /root/kept.pub {keys}.pub && systemctl restart ssh"])
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr
    assert on_laptop(laptop, "ssh", host, "echo well").stdout == "well\n"


def test_a_worker_that_is_not_there_is_said_with_those_that_are(laptop: Laptop) -> None:
    done = on_laptop(laptop, "ssh", "sweepfleet-dev-worker-7", "true", check=False)
    assert done.returncode == 255
    assert f"sweepfleet-dev-worker-1  {worker_of(laptop).instance_id}" in done.stderr


# Console


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, laptop: Laptop, *words: str) -> None:
        self._own, theirs = pty.openpty()
        self.process = laptop.cloud.laptop.popen(
            [*laptop.command, *words],
            cwd=laptop.path,
            env=laptop.env | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def until(self, text: str) -> None:
        """Wait until the terminal shows a text that it has not shown before."""
        deadline_s = time.monotonic() + PATIENCE_S
        while text not in self.shown[self._seen :]:
            assert time.monotonic() < deadline_s, f"{text!r} does not appear:\n{self.shown}"
            if select.select([self._own], [], [], 1)[0]:
                try:
                    self.shown += os.read(self._own, 65536).decode(errors="replace")
                except OSError:  # Linux: the other end is closed
                    raise AssertionError(f"it ended before {text!r}:\n{self.shown}") from None
        self._seen = self.shown.index(text, self._seen) + len(text)

    def answers(self, text: str) -> None:
        """Wait until it shows a text, and then the prompt: what is typed before that can be lost."""
        self.until(text)
        self.until("In [")

    def type(self, text: str) -> None:
        """Type it, and Enter, a carriage return."""
        os.write(self._own, f"{text}\r".encode())

    def press(self, control: str) -> None:
        """Press Ctrl and a key."""
        os.write(self._own, bytes([ord(control) - ord("A") + 1]))

    def cut(self) -> None:
        """Its connection breaks, and nobody says so to the other side."""
        [ssh] = [one for one in psutil.Process(self.process.pid).children(recursive=True) if one.name() == "ssh"]
        ssh.kill()


def test_a_console_is_the_same_after_its_connection_broke(laptop: Laptop) -> None:
    """Its variables are there, and what it computes goes on; it is in the release's environment, with workers."""
    with Terminal(laptop, "console") as first:
        first.until("A new console on the head of dev. It ends 2 h after its last use")
        first.until("In [")
        first.type("kept = 6 * 7; import bokeh, sys, examples.diabetes.fit; print('at', sys.prefix)")
        first.answers("at /srv/sweepfleet/sessions/console/environment")
        first.type("print('to' + 'fleet', fleet.client().submit(sum, [20, 22]).result())")
        first.answers("tofleet 42")
        first.type("print('on' + 'worker', executor.submit(lambda: __import__('socket').gethostname()).result())")
        first.answers("onworker ip-10-42-")
        first.type("executor.shutdown(); print('ru' + 'ns', fleet.client().id)")
        first.answers("runs Client-console-")
        assert "console-" in laptop.inv("status").stdout
        first.type("import time; print('com' + 'putes'); time.sleep(10000)")
        first.until("computes")
        first.cut()
        first.until("The connection broke. The console keeps its variables; come back: inv console")
        assert first.process.wait(timeout=PATIENCE_S) == 3
    with Terminal(laptop, "console") as second:
        second.until("The active console on the head of dev")
        second.until("Python is running a command.")
        second.press("C")
        second.until("In [")
        second.type("print('it is', kept)")
        second.answers("it is 42")
        second.type("exit")
        assert second.process.wait(timeout=PATIENCE_S) == 0
    with Terminal(laptop, "console") as third:
        third.until("In [")
        third.type("print('still', kept)")
        third.answers("still 42")
        third.press("D")
        assert third.process.wait(timeout=PATIENCE_S) == 0


def test_a_console_is_the_service_users_alone(laptop: Laptop) -> None:
    """Its sockets and its key are in a folder that no other user enters; no port of it leads outside.

    ipykernel's pipe for what child processes print is on the loopback, and takes what names a secret of the kernel.
    """
    nobody_enters(head_of(laptop), "/run/sweepfleet-console")
    kernel = head_of(laptop).run(["systemctl", "show", "-P", "MainPID", "sweepfleet-console"]).stdout.strip()
    lines = head_of(laptop).run(["ss", "-Hltunp"]).stdout.splitlines()
    assert all(line.split()[4].startswith("127.0.0.1:") for line in lines if f"pid={kernel}," in line)


def nobody_enters(machine: MachineHandle, *places: str) -> None:
    """Another user of a machine is refused there."""
    for place in places:
        assert machine.run(["test", "-e", place], check=False).returncode == 0
        said = machine.run(["runuser", "-u", "nobody", "--", "ls", f"{place}/"], check=False).stderr
        assert "Permission denied" in said


def test_a_console_ends_when_it_is_told_to(laptop: Laptop) -> None:
    assert laptop.inv("console", "--end").stdout.endswith("The console has ended.\n")
    assert laptop.inv("console", "--end").stdout.endswith("No console is active.\n")


@pytest.fixture(scope="module")
def forgotten(laptop: Laptop) -> None:
    """A console with another idle time that somebody has left; other things are tested meanwhile."""
    with Terminal(laptop, "console", "--idle", "1m") as console:
        console.until("A new console on the head of dev. It ends 1 min after its last use")
        console.until("In [")
        console.type("print('is it', 'kept' in globals())")
        console.answers("is it False")
        console.press("D")
        assert console.process.wait(timeout=PATIENCE_S) == 0


def active(laptop: Laptop, kind: str) -> bool:
    words = ["systemctl", "is-active", "--quiet", f"sweepfleet-{kind}"]
    return head_of(laptop).run(words, check=False).returncode == 0


# Notebook

ASK = """
import json, sys, urllib.request
address, token, method = sys.argv[1:]
asked = urllib.request.Request(address, method=method, data=b"{}" if method == "POST" else None)
if token:
    asked.add_header("Authorization", f"token {token}")
try:
    with urllib.request.urlopen(asked, timeout=60) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print("refused", error)
"""
COMPUTE = """
import asyncio, json, sys, uuid
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

async def main(address, token, kernel, code):
    request = HTTPRequest(f"{address}/api/kernels/{kernel}/channels", headers={"Authorization": f"token {token}"})
    socket = await websocket_connect(request)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "s", "username": "u"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    await socket.write_message(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "channel": "shell",
        "content": content, "buffers": []}))
    while True:
        message = json.loads(await socket.read_message())
        if message["parent_header"].get("msg_id") == header["msg_id"] and message["msg_type"] in ("stream", "error"):
            return print(message["content"])

asyncio.run(main(*sys.argv[1:]))
"""


def asked(laptop: Laptop, address: str, token: str = "", method: str = "GET") -> str:
    """What a program on the laptop gets: the status and the body."""
    return laptop.cloud.laptop.run([sys.executable, "-c", ASK, address, token, method]).stdout


@pytest.mark.usefixtures("forgotten")
def test_a_notebook_computes_through_the_tunnel_for_whoever_has_its_token(laptop: Laptop) -> None:
    """In the release's environment, with the cluster at hand; it is found again, and ends when it is told to."""
    with Terminal(laptop, "notebook", "--no-open") as first:
        first.until("A new notebook on the head of dev. It ends 2 h after its last use, or with: inv notebook --end")
        first.until("(Ctrl-C closes the tunnel; the notebook stays)")
        [(address, token)] = re.findall(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\S+)", first.shown)
        assert asked(laptop, f"{address}/api/kernels") == "403\n"
        assert asked(laptop, f"{address}/api/kernels", "0" * len(token)) == "403\n"
        assert asked(laptop, f"{address}/lab", token).startswith("200 <!doctype html>")
        assert asked(laptop, f"{address}/api/kernelspecs", token).count('"display_name"') == 1
        status, _, body = asked(laptop, f"{address}/api/kernels", token, "POST").partition(" ")
        assert status == "201"
        kernel = json.loads(body)["id"]
        assert "'2\\n'" in computed(laptop, address, token, kernel, "print(1 + 1)")
        assert "/srv/sweepfleet/sessions/notebook/environment" in computed(
            laptop, address, token, kernel, "import sys; print(sys.prefix)"
        )
        code = "print(fleet.client().submit(sum, [20, 22]).result())"
        assert "'42\\n'" in computed(laptop, address, token, kernel, code)
        code = "open('mine.txt', 'w').write('kept'); import os; print(os.getcwd())"
        assert "/srv/sweepfleet/notebooks" in computed(laptop, address, token, kernel, code)
        nobody_else_reaches_it(laptop)
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(timeout=PATIENCE_S) == 130
    assert asked(laptop, f"{address}/api/kernels", token).startswith("refused")
    assert "Notebook: active · inv notebook · inv notebook --end" in laptop.inv("status").stdout
    with Terminal(laptop, "notebook", "--no-open") as second:
        second.until("The active notebook on the head of dev.")
        second.until("(Ctrl-C closes the tunnel")
        assert token in second.shown
        assert kernel in asked(laptop, f"{address}/api/kernels", token)
        assert laptop.inv("notebook", "--end").stdout.endswith("The notebook has ended.\n")
    assert head_of(laptop).run(["cat", "/srv/sweepfleet/notebooks/mine.txt"]).stdout == "kept"
    with Terminal(laptop, "notebook", "--no-open") as third:
        third.until("(Ctrl-C closes the tunnel")
        assert token not in third.shown, "each has a token of its own"
    laptop.inv("notebook", "--end")


@pytest.mark.usefixtures("forgotten")
def test_a_console_that_nobody_uses_ends_by_itself_and_the_next_one_says_so(laptop: Laptop) -> None:
    until(lambda: not active(laptop, "console"), what="it ends by itself", timeout_s=PATIENCE_S)
    with Terminal(laptop, "console") as console:
        console.until("The console before ended by itself: 60 s without a command")
    laptop.inv("console", "--end")


def computed(laptop: Laptop, address: str, token: str, kernel: str, code: str) -> str:
    """What a cell prints, over the kernel's websocket."""
    words = [sys.executable, "-c", COMPUTE, address.replace("http", "ws"), token, kernel, code]
    return laptop.cloud.laptop.run(words, timeout_s=PATIENCE_S).stdout


def nobody_else_reaches_it(laptop: Laptop) -> None:
    """Not a worker; and on the head, no other user reads its token or its sockets."""
    head = head_of(laptop)
    ports = [line.split()[3] for line in head.run(["ss", "-Hltn"]).stdout.splitlines()]
    assert [port for port in ports if port.endswith(":8888")] == ["127.0.0.1:8888"]
    connect = f"exec 3<>/dev/tcp/{laptop.outputs.head_private_ip}/8888"
    assert worker_of(laptop).run(["timeout", "20", "bash", "-c", connect], check=False).returncode != 0
    data = "/srv/sweepfleet/sessions"
    nobody_enters(head, "/run/sweepfleet-notebook", f"{data}/notebook", f"{data}/home")
