"""What points leave behind ends with their child, however that ends: real processes, in sessions of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweepfleet.slot.context import Context
from sweepfleet.slot.runner import Runner
from tests.support import context, eventually, everything, gone, grid, outcomes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans come to a subreaper on Linux alone")

STARTS = {
    "a session": "subprocess.Popen(['sleep', '3600'], start_new_session=True).pid",
    "a session below a session": (
        "int(subprocess.run(['setsid', 'sh', '-c', 'setsid sleep 3600 >/dev/null & echo $!'],"
        " stdout=subprocess.PIPE, check=True).stdout)"
    ),
    "a daemon": "daemon()",
    "a daemon of a daemon": "daemon(below=daemon)",
}
LEAVING = """\
import os, signal, subprocess, time
from pathlib import Path

def daemon(then=lambda: time.sleep(3600), below=os.getpid):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, str(below()).encode())
            os.close(write)
            then()
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))

def fit(a):
    if a == 0:
        Path("pid").write_text(str({start}))
    if a == 1:
        Path("second").touch()
        {second}
    return a
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    runners: list[Runner] = []

    def starting(wanted: Context) -> Runner:
        runners.append(Runner(wanted, name="host/0"))
        return runners[-1]

    yield starting
    for each in runners:
        each.close()


def left(folder: Path) -> int:
    return int((folder / "pid").read_text())


@pytest.mark.parametrize("start_it", STARTS)
def test_what_a_point_starts_in_a_session_of_its_own_lives_as_long_as_the_child(
    tmp_path: Path, start: Any, start_it: str
) -> None:
    """Later points may use it; it ends when the sweep does, before `close` returns."""
    code = LEAVING.format(start=STARTS[start_it], second="pass")
    runner = start(context(tmp_path, code, grid({"a": range(3)})))
    assert len(outcomes_of(everything(runner))) == 3
    pid = left(tmp_path)
    assert not gone(pid)
    assert os.getsid(pid) != os.getsid(runner.child.pid)
    runner.close()
    assert gone(pid)


ENDINGS = {
    "it exits": ("os._exit(3)", "ProcessExit"),
    "it crashes": ("os.abort()", "Crash"),
    "a timeout": ("time.sleep(3600)", "Timeout"),
    "too much memory": ("x = b'x' * 500_000_000; time.sleep(3600)", "MemoryLimit"),
    "killed from outside": ("os.kill(os.getpid(), signal.SIGKILL)", "ProcessLost"),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("start_it", ["a session", "a daemon"])
def test_it_ends_with_the_child_however_that_ends(tmp_path: Path, start: Any, start_it: str, ending: str) -> None:
    """Its end has come by the time that the next point runs."""
    second, error_type = ENDINGS[ending]
    code = LEAVING.format(start=STARTS[start_it], second=second)
    limits = {"timeout_s": 2.0 if ending == "a timeout" else 60.0, "memory_bytes": 300_000_000, "infra_retries": 0}
    runner = start(context(tmp_path, code, grid({"a": range(3)}), **limits))
    outcomes = dict(outcomes_of(everything(runner)))
    assert (outcomes[0], outcomes[1][0]) == ({"value": 0}, error_type)
    assert gone(left(tmp_path))


@pytest.mark.parametrize("killed", ["owner", "supervisor", "owner that holds the lock"])
@pytest.mark.parametrize("start_it", ["a session", "a daemon"])
def test_it_ends_when_a_process_above_the_child_is_killed(tmp_path: Path, start_it: str, killed: str) -> None:
    """SIGKILL of the owner ends all; of the supervisor, the child, whose owner starts another."""
    second = "__import__('ctypes').PyDLL(None).sleep(3600)" if "lock" in killed else "time.sleep(3600)"
    wanted = context(
        tmp_path, LEAVING.format(start=STARTS[start_it], second=second), grid({"a": range(2)}), infra_retries=0
    )
    script = (
        "import sys\nfrom sweepfleet.slot.context import Context\nfrom sweepfleet.slot.runner import Runner\n"
        "runner = Runner(Context.from_json(sys.stdin.readline()), name='x')\n"
        "print(runner.child.pid, flush=True)\n"
        "runner.run([(0, 2)])\nprint('came back', flush=True)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        owner.stdin.write(wanted.to_json() + "\n")
        owner.stdin.flush()
        child = int(owner.stdout.readline())
        eventually((tmp_path / "second").exists, "the second point")
        supervisor = psutil.Process(child).ppid()
        if killed == "supervisor":
            os.kill(supervisor, signal.SIGKILL)
            assert owner.stdout.readline() == "came back\n"
    finally:
        owner.kill()
        owner.communicate()
    eventually(lambda: gone(child), "the child's end")
    eventually(lambda: gone(supervisor), "the supervisor's end")
    if killed != "supervisor":
        eventually(lambda: gone(left(tmp_path)), "the end of what the point left")


def test_orphans_that_have_ended_do_not_pile_up(tmp_path: Path, start: Any) -> None:
    """A thousand points that each leave a daemon which ends do not fill the table of processes."""
    code = LEAVING.format(start="daemon(lambda: os._exit(0))", second="pass").replace("if a == 0:", "if a >= 0:")
    runner = start(context(tmp_path, code, grid({"a": range(100)})))
    assert len(outcomes_of(everything(runner))) == 100
    supervisor = psutil.Process(runner.child.pid).parent()
    eventually(lambda: len(supervisor.children()) == 1, "all but the child's end")


def test_a_point_that_kills_the_process_above_it_takes_no_sweep_with_it(tmp_path: Path, start: Any) -> None:
    """Its parent is not the driver; it is lost with its child, and the other points are done."""
    code = """\
        import os, time
        def fit(a):
            if a == 1:
                os.kill(os.getppid(), 9)
                time.sleep(60)
            return a
        """
    runner = start(context(tmp_path, code, grid({"a": range(3)}), infra_retries=1))
    outcomes = dict(outcomes_of(everything(runner)))
    assert (outcomes[0], outcomes[1][0], outcomes[2]) == ({"value": 0}, "ProcessLost", {"value": 2})
