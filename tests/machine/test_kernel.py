"""The Python of a console, for real: it has the project at hand, is left by `exit`, and ends when nobody uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Event
from jupyter_client import BlockingKernelClient

from sweepfleet.machine.facts import Data
from sweepfleet.machine.head import kernel_idle
from sweepfleet.machine.head.kernel_idle import Activity, watch
from sweepfleet.machine.session import Session, SessionFolder
from tests.one_worker import one_worker
from tests.processes import ends_with_test

DEADLINE_S = 120
FACTS = {
    "SWEEPFLEET_ROLE": "head",
    "SWEEPFLEET_STACK": "dev",
    "SWEEPFLEET_BUCKET": "bucket",
    "SWEEPFLEET_ROLE_ID": "AROA",
    "SWEEPFLEET_HEAD": "127.0.0.1",
    "SWEEPFLEET_PACKAGE_INDEX": "https://pypi.org/simple",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Console:
    """A console's kernel as its unit starts it, and a client of it."""

    def __init__(self, folder: Path, *, idle_s: int) -> None:
        self.data = Data(folder / "data")
        session = SessionFolder(self.data.sessions / "console")
        release, self.connection = folder / "release", folder / "run" / "kernel.json"
        for place in (session.path, self.data.sessions_home, self.data.notebooks, release, self.connection.parent):
            place.mkdir(parents=True)
        (release / "model.py").write_text("def fit(a):\n    return 2 * a\n")
        session.release.symlink_to(release)
        session.environment.symlink_to(sys.prefix)
        session.jupyter.symlink_to(sys.prefix)
        session.session.write_text(Session("console", "a" * 64, idle_s, 0).to_json())
        given = {"SWEEPFLEET_DATA": str(self.data.path), "SWEEPFLEET_SESSION": str(session.path)}
        self.process = ends_with_test(
            subprocess.Popen(
                [sys.executable, "-m", "sweepfleet.machine.head.kernel", self.connection],
                env=os.environ | FACTS | given | {"HOME": str(self.data.sessions_home)},
                cwd=self.data.notebooks,
            )
        )

    def client(self) -> BlockingKernelClient:
        until(self.connection.exists)
        client = BlockingKernelClient(connection_file=str(self.connection))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=DEADLINE_S)
        return client

    def ask(self, code: str) -> tuple[str, dict[str, Any]]:
        """What a client that comes for one question gets: what is printed, and the reply."""
        client = self.client()
        try:
            printed: list[str] = []
            hook: Callable[[dict[str, Any]], None] = lambda message: printed.append(  # noqa: E731
                message["content"].get("text", "")
            )
            reply = client.execute_interactive(code, output_hook=hook, timeout=DEADLINE_S)
        finally:
            client.stop_channels()
        assert reply["content"]["status"] == "ok", reply
        return "".join(printed), reply["content"]


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, "it does not come"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    console = Console(tmp_path_factory.mktemp("c"), idle_s=3600)
    yield console
    console.process.kill()
    console.process.wait()


def test_the_next_client_finds_the_variables_of_the_one_before(console: Console) -> None:
    console.ask("import model; kept = model.fit(21)")
    assert console.ask("print(kept, sf.__name__, fleet)")[0].startswith("42 sweepfleet <the fleet of dev")


def test_it_is_reached_through_files_of_its_user_alone(console: Console) -> None:
    """No port of any network: who may open the folder may talk to it."""
    console.ask("1")
    info = json.loads(console.connection.read_text())
    assert info["transport"] == "ipc"
    assert Path(info["ip"]).parent == console.connection.parent
    assert console.connection.stat().st_mode & 0o077 == 0


def test_exit_leaves_it_and_does_not_end_it(console: Console) -> None:
    for word in ("exit", "quit()"):
        [payload] = console.ask(word)[1]["payload"]
        assert (payload["source"], payload["keepkernel"]) == ("ask_exit", True)
    assert console.ask("print('still there')")[0] == "still there\n"


def test_the_projects_own_packages_come_before_jupyters(console: Console) -> None:
    said = console.ask("import sys; print([p for p in sys.path if 'site-packages' in p][-1], sys.path[:2])")[0]
    assert said.split()[0].endswith("site-packages")
    assert str(console.data.notebooks) in said
    assert said.index(str(console.data.notebooks)) < said.index("release")


def test_one_that_nobody_uses_ends_and_says_why(tmp_path: Path) -> None:
    console = Console(tmp_path, idle_s=4)
    console.ask("1")
    assert console.process.wait(timeout=DEADLINE_S) != 0
    assert console.data.ended("console").read_text() == "4 s without a command"


class Events:
    """IPython's, as far as they are used here."""

    def __init__(self) -> None:
        self.events = self
        self.told: dict[str, Callable[[], None]] = {}

    def register(self, name: str, do: Callable[[], None]) -> None:
        self.told[name] = do


def test_what_runs_or_has_tasks_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    shell, now, tasks = Events(), [100.0], [False]
    monkeypatch.setattr(kernel_idle, "has_tasks", lambda: tasks[0])
    activity = Activity(shell, clock=lambda: now[0])
    now[0] = 150
    assert activity.idle_s() == 50
    shell.told["pre_execute"]()
    now[0] = 9000
    assert activity.idle_s() == 0
    shell.told["post_execute"]()
    now[0] = 9010
    assert activity.idle_s() == 10
    tasks[0], now[0] = True, 9900
    assert activity.idle_s() == 0
    tasks[0], now[0] = False, 9930
    assert activity.idle_s() == 30


def test_tasks_of_any_client_count_until_they_have_ended() -> None:
    with one_worker() as cluster, Client(cluster) as client:
        assert not kernel_idle.has_tasks()
        gate = Event("gate", client=client)
        future = client.submit(lambda: Event("gate").wait() or 1)
        assert kernel_idle.has_tasks()
        gate.set()
        future.result()
        assert not kernel_idle.has_tasks()


def test_a_notebook_server_hears_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends idle kernels itself, by the messages that they send."""
    sent: list[str] = []

    class Kernel:
        iopub_socket = object()

        class session:  # noqa: N801
            send = staticmethod(lambda _socket, name, _content: sent.append(name))

    class Stop(Exception):  # noqa: N818
        pass

    def no_sleep(_: float) -> None:
        if len(sent) == 2:
            raise Stop

    monkeypatch.setattr(kernel_idle, "has_tasks", lambda: True)
    monkeypatch.setattr(kernel_idle.time, "sleep", no_sleep)
    with pytest.raises(Stop):
        watch(Activity(Events()), Kernel, 60, None)
    assert sent == [kernel_idle.ALIVE] * 2
