"""`inv rehearsal`: a cloud to try things in by hand, and clear words where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.rehearsal import __main__ as command
from tests.cloud.rehearsal import host, lease

REPOSITORY = Path(__file__).parents[2]


def inv(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """A task as typed, and what is typed into it."""
    return subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=REPOSITORY,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture
def no_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lease, "CLOUDS", tmp_path)


@pytest.mark.parametrize("words", [[], ["sideways"], ["up", "here"], ["down", "one", "two"]])
def test_what_it_does_not_know_it_says(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    assert "up | shell [NAME] | down [NAME] | status" in capsys.readouterr().err


def test_where_it_cannot_run_one_sentence_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(command, "why_not", host.why_not.__wrapped__)
    assert command.main(["up"]) == 3
    assert capsys.readouterr().err.startswith("error: the rehearsal cloud needs ")


def test_without_a_cloud_each_word_says_so(no_clouds: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["status"]) == 0
    assert "Start one: inv rehearsal up" in capsys.readouterr().out
    assert command.main(["down"]) == 0
    assert command.main(["down", "sweepfleet-1-0"]) == 2
    assert command.main(["shell"]) == 2
    assert "No cloud is up" in capsys.readouterr().err


@pytest.mark.rehearsal
@pytest.mark.skipif(host.why_not() is not None, reason=str(host.why_not()))
def test_a_cloud_by_hand_has_a_laptop_on_which_the_stack_is_up() -> None:
    """It stays after the command that started it, and is gone after `down`."""
    said = inv("rehearsal", "up")
    assert said.returncode == 0, said.stderr
    name = said.stdout.split(" is up: ")[0].split()[-1]
    try:
        assert f"{name}: up" in inv("rehearsal", "status").stdout
        there = inv("rehearsal", "shell", "--name", name, typed="pwd; inv status; exit 7\n")
        assert there.returncode == 7
        assert "/laptop/project\n" in there.stdout
        assert "Stack dev in us-east-1\nRelease: none yet" in there.stdout
    finally:
        assert f"{name}: gone" in inv("rehearsal", "down", "--name", name).stdout
    assert name not in inv("rehearsal", "status").stdout
    assert not (lease.CLOUDS / name).exists()
