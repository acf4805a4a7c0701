"""`inv version`: what a report of a problem needs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sweepfleet.tasks.version import last_start, versions
from tests.command import ROOT


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_named_and_told_from_changed_files(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v9")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert versions(tmp_path)["commit"] == commit
    (tmp_path / "a").write_text("2")
    assert versions(tmp_path)["commit"] == f"{commit}-dirty"


def test_outside_a_repository_and_without_git_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "commit" not in versions(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "commit" not in versions(ROOT)


def test_inv_version_says_it_and_imports_no_dask() -> None:
    watched = (
        "import sys; from invoke import program; program.Program().run(['inv', 'version', '--json'], exit=False);"
    )
    watched += "print([name for name in ('dask', 'distributed', 'polars') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", watched], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    said, imported = done.stdout.splitlines()
    found = json.loads(said)
    assert imported == "[]"
    assert found["python"] == platform.python_version()
    assert found["dask"] == importlib.metadata.version("dask")
    assert set(found) - {"commit"} == {
        "sweepfleet",
        "python",
        "dask",
        "distributed",
        "polars",
        "platform",
        "compiled",
    }


def test_how_the_slots_of_the_last_sweep_were_started_is_said(tmp_path: Path) -> None:
    """Of the last run that started any; what is no summary, or an older one, is passed over."""
    assert last_start(tmp_path) == {}
    starts = [
        {"how": "spawn", "against": ["threads are running: x", "a timer is set"]},
        {"how": "fork", "against": []},
        None,
    ]
    summaries = [*(json.dumps({"start": start}) for start in starts), "{}", "[]", "{"]
    for number, text in enumerate(summaries):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "summary.json").write_text(text)
        os.utime(folder / "summary.json", (number, number))
    assert last_start(tmp_path) == {"start": "fork (run run1)"}
    os.utime(tmp_path / "run0" / "summary.json", (9, 9))
    assert last_start(tmp_path) == {"start": "spawn (run run0): threads are running: x; a timer is set"}
