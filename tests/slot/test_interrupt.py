"""Points are told that their machine leaves: by `sweepfleet.leaving`, and by SIGTERM where they have a handler."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.leaving import VARIABLE, announce
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from tests.support import context, eventually, grid, outcomes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux says who has a handler")
FUNCTION = """\
import signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def fit(a):
    if a == "handles":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stored"))
    (HERE / "began").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return 1.0
"""
SCRIPT = """\
import pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
def stop(*_):
    (here / "stored").touch()
    sys.exit(1)
if sys.argv[2] == "handles":
    signal.signal(signal.SIGTERM, stop)
(here / "began").touch()
while not (here / "go").exists():
    time.sleep(0.01)
print(1.0)
"""


def begun(folder: Path, a: str, **rest: Any) -> Iterator[tuple[Runner, list[Packet], threading.Thread]]:
    runner = Runner(context(folder, FUNCTION, grid({"a": [a]}), **rest), name="host/0")
    packets: list[Packet] = []
    thread = threading.Thread(target=lambda: packets.append(Packet.from_bytes(runner.run([(0, 1)]))))
    thread.start()
    eventually((folder / "began").exists, "the point's start")
    yield runner, packets, thread
    runner.close()


def script(folder: Path, *, shell: bool) -> Target:
    (folder / "script.py").write_text(SCRIPT)
    words = (sys.executable, str(folder / "script.py"), str(folder), "{a}")
    # The shell stays above the script, as it has another command to run after it.
    return Target(command=("sh", "-c", f"{' '.join(words)}; exit $?") if shell else words)


@pytest.mark.parametrize("how", ["function", "command", "shell"])
def test_a_point_with_a_handler_is_told_and_does_not_fail(tmp_path: Path, how: str) -> None:
    """A function, a program, and a program below a shell."""
    target = {} if how == "function" else {"target": script(tmp_path, shell=how == "shell")}
    for runner, packets, thread in begun(tmp_path, "handles", **target):
        runner.interrupt()
        thread.join(timeout=120)
        assert [(outcomes_of(packet), packet.unfinished) for packet in packets] == [([], [0])]
        assert (tmp_path / "stored").exists() == (how != "function")


@pytest.mark.parametrize("how", ["function", "command", "shell"])
def test_a_point_without_a_handler_may_still_finish(tmp_path: Path, how: str) -> None:
    """The signal would end it at once."""
    target = {} if how == "function" else {"target": script(tmp_path, shell=how == "shell")}
    for runner, packets, thread in begun(tmp_path, "no", **target):
        runner.interrupt()
        (tmp_path / "go").touch()
        thread.join(timeout=120)
        assert [(outcomes_of(packet), packet.unfinished) for packet in packets] == [([(0, {"value": 1.0})], [])]


def test_a_point_sees_how_long_its_machine_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None until it is announced, and then the seconds down to 0, in whatever process of the machine."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert sf.leaving() is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "leaving"))
    assert sf.leaving() is None
    code = """\
        import sweepfleet as sf
        def fit(a): return sf.leaving() or -1.0
        """
    runner = Runner(context(tmp_path, code, grid({"a": [1, 2]})), name="host/0")
    try:
        assert outcomes_of(Packet.from_bytes(runner.run([(0, 1)]))) == [(0, {"value": -1.0})]
        announce(tmp_path / "leaving", time.monotonic() + 3600)
        [(_, found)] = outcomes_of(Packet.from_bytes(runner.run([(1, 2)])))
        assert 0 < found["value"] <= 3600
    finally:
        runner.close()
    announce(tmp_path / "leaving", time.monotonic() - 1)
    assert sf.leaving() == 0.0
