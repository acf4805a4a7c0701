"""A run's folder: one writer, and files that appear whole."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.run import folder as folders
from sweepfleet.run.folder import RunFolder, StorageError, read_json, write_whole
from tests.support import eventually

HOLD = """\
import sys, time
from pathlib import Path
from sweepfleet.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "mine")


def test_no_two_files_of_a_run_share_a_path(folder: RunFolder) -> None:
    """Every path is below the folder, and each is another's neighbour, not its twin."""
    paths = [
        *(folder.grid, folder.manifest, folder.ledger, folder.parquet, folder.csv, folder.summary, folder.report),
        *(folder.artifacts, folder.lock_file),
    ]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {folder.path}
    assert folder.name == "mine"


def test_a_second_writer_is_refused_and_told_who_the_first_is(folder: RunFolder) -> None:
    """Pid and host of the holder, and a name that is free; nothing is taken from the first."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(UsageError) as refusal, folder.locked():
                pass
            assert f"process {holder.pid} on {socket.gethostname()}" in str(refusal.value)
            assert "--name mine-2" in str(refusal.value)
            assert folder.running() == {"pid": holder.pid, "host": socket.gethostname()}
    finally:
        holder.kill()
        holder.communicate()
    assert folder.running() is None, "a lock ends with its process, however that ended"
    with folder.locked():
        assert folder.running() == {"pid": os.getpid(), "host": socket.gethostname()}


def test_a_look_at_the_lock_does_not_keep_a_writer_out(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inv runs` beside `inv sweep` holds the lock for an instant: the sweep waits that long, and starts."""
    with folder.locked():
        folder.ledger.touch()
    with folder.lock_file.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            fcntl.flock(looking, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", sleep)
        with folder.locked():
            assert len(pauses) == 1


def test_a_refusal_leaves_no_folder_behind(folder: RunFolder) -> None:
    """Where nothing was recorded nothing stays; where there is a ledger, or was a folder, everything does."""
    with pytest.raises(ValueError, match="refused"), folder.locked():
        raise ValueError("refused")
    assert not folder.path.exists()
    with folder.locked():
        folder.ledger.touch()
    assert folder.ledger.exists()
    with folder.locked():
        assert json.loads(folder.lock_file.read_text())["pid"] == os.getpid()
    assert folder.running() is None
    assert folder.ledger.exists()
    other = RunFolder(folder.path.parent / "other")
    other.path.mkdir()
    with other.locked():
        pass
    assert other.path.exists()


def test_a_folder_that_somebody_put_files_into_is_kept(folder: RunFolder) -> None:
    with folder.locked():
        (folder.path / "notes.txt").write_text("mine")
    assert (folder.path / "notes.txt").exists()


def test_nobody_runs_in_a_folder_that_is_not_there(folder: RunFolder) -> None:
    assert folder.running() is None
    assert not folder.path.exists()


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the file as it was, and nothing beside it."""
    path = tmp_path / "summary.json"
    write_whole(path, "first")
    assert path.read_text() == "first"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "x" * 10_000 + "\ud800")
    assert path.read_text() == "first"
    write_whole(path, "second")
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    assert path.read_text() == "second"


def test_a_reader_meets_only_whole_files(tmp_path: Path) -> None:
    """Whoever reads while it is being replaced gets the old text or the new one."""
    path = tmp_path / "summary.json"
    script = (
        "import sys\nfrom pathlib import Path\nfrom sweepfleet.run.folder import write_whole\n"
        "while True:\n    for text in 'ab': write_whole(Path(sys.argv[1]), text * 1_000_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    try:
        eventually(path.exists, "the first file")
        for _ in range(100):
            text = path.read_text()
            assert len(text) == 1_000_000
            assert len(set(text)) == 1
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "3", '{"a": 1'])
def test_json_that_is_not_there_or_not_whole_reads_as_empty(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "manifest.json"
    if text is not None:
        path.write_text(text)
    assert read_json(path) == {}
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}


FULL = """\
import resource, sys
from pathlib import Path
from sweepfleet.run.folder import RunFolder, StorageError, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: as on a full disk
path = Path(sys.argv[1])
try:
    write_whole(path / "summary.json", "new") if path.exists() else RunFolder(path).locked().__enter__()
except StorageError as error:
    sys.stderr.write(f"clear: {error}")
"""


def test_on_a_full_disk_no_folder_is_left_and_no_file_is_touched(folder: RunFolder) -> None:
    """An error that says what to do, before the run and in it."""

    def said() -> str:
        command = [sys.executable, "-c", FULL, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert said().startswith(f"clear: {folder.path} cannot be written: File too large.")
    assert "Make room" in said()
    assert not folder.path.exists()
    folder.path.mkdir(parents=True)
    folder.summary.write_text("old")
    assert said().startswith(f"clear: {folder.summary} cannot be written")
    assert folder.summary.read_text() == "old"
    assert list(folder.path.iterdir()) == [folder.summary]


@pytest.mark.parametrize("place", ["runs", "runs/mine"])
def test_a_file_where_the_folder_should_be_is_named(folder: RunFolder, tmp_path: Path, place: str) -> None:
    (folder.path.parent if "/" in place else tmp_path).mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"), folder.locked():
        pass
    assert (tmp_path / place).read_text() == "a file"


def test_a_lock_on_a_file_that_was_removed_is_not_taken_for_the_lock(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused writer removes folder and lock file between another one's opening it and locking it."""
    real = folders._flock
    calls: list[int] = []

    def after_another_left(number: int) -> bool:
        if not calls:
            folder.lock_file.unlink()
            folder.path.rmdir()
        calls.append(number)
        return real(number)

    monkeypatch.setattr(folders, "_flock", after_another_left)
    with folder.locked():
        assert len(calls) == 2
        assert folder.running() == {"pid": os.getpid(), "host": socket.gethostname()}
        with pytest.raises(UsageError), folder.locked():
            pass


@pytest.mark.parametrize("text", ["3", "{}", "", "["])
def test_a_lock_file_that_says_nothing_still_locks(folder: RunFolder, text: str) -> None:
    with folder.locked():
        folder.lock_file.write_text(text)
        assert folder.running() == {"pid": "unknown", "host": "unknown"}
        with pytest.raises(UsageError, match="process unknown on unknown"), folder.locked():
            pass
