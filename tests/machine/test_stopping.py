"""How systemd stops a worker's machine: the start alone is told, and it waits for what the worker has in hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweepfleet.machine.worker import stopping
from sweepfleet.machine.worker.leaving import DRAIN_S
from tests.command import ROOT

# As `start` does it: a worker that takes a moment to leave, and whatever comes after it.
START = """
import subprocess, sys
from sweepfleet.machine.worker.stopping import Stop

WORKER = '''
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("leaves", flush=True), sys.exit(7)))
print("works", flush=True)
while True:
    signal.pause()
'''
worker = subprocess.Popen([sys.executable, "-c", WORKER])
stop = Stop(worker)
print("watches", flush=True)
print(worker.wait(), stop.came, flush=True)
"""


def test_the_worker_is_told_and_waited_for() -> None:
    """With `KillMode=mixed`, systemd sends SIGTERM to this process alone."""
    process = subprocess.Popen([sys.executable, "-c", START], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert {process.stdout.readline(), process.stdout.readline()} == {"works\n", "watches\n"}
        process.terminate()
        assert process.communicate(timeout=60)[0] == "leaves\n7 True\n"
        assert process.returncode == 0
    finally:
        process.kill()


def test_systemd_is_told_once_and_gives_the_worker_more_time_than_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a drop-in of the unit in which the start runs; what systemctl refuses is said, and stops nothing."""
    program, asked = tmp_path / "systemctl", tmp_path / "asked"
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    drop_in = tmp_path / "unit.d" / "leaving.conf"
    for _ in range(2):
        stopping.is_asked_gently(drop_in)
    assert asked.read_text() == "daemon-reload\n"
    settings = dict(line.split("=") for line in drop_in.read_text().splitlines() if "=" in line)
    assert settings["KillMode"] == "mixed"
    assert float(settings["TimeoutStopSec"]) > DRAIN_S
    program.write_text("#!/bin/sh\nexit 1\n")
    drop_in.unlink()
    stopping.is_asked_gently(drop_in)
    assert "without waiting for its points" in capsys.readouterr().out
