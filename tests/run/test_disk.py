"""A full disk is told as one, waited for, and costs no result: on a small file system that is really full."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from sweepfleet.grid.load import load
from sweepfleet.machine.job import PROGRESS_BYTES, JobFolder
from sweepfleet.run.disk import Disk, FullDiskError, StoppedFullError, full_disk, is_full
from sweepfleet.run.driver import WINDOW
from sweepfleet.run.folder import write_whole
from sweepfleet.run.outputs import Outputs
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.summary import Summary
from sweepfleet.run.sweep import run_sweep
from tests.run.test_ledger import can_mount

DEADLINE_S = 120.0  # for a broken program to be told from a slow machine
POINTS = 40
GRID = f"""
name: trial
run: fit:fit
parameters: {{a: {{range: [0, {POINTS}]}}}}
execution: {{bundle: 1}}
"""
FIT = """
from pathlib import Path

def fit(a):
    print("point", a)
    (Path(__file__).parent / f"ran-{a}").touch()
    return {"twice": 2 * a}
"""
mounts = pytest.mark.skipif(not can_mount(), reason="needs root that may mount in a namespace of its own")


@dataclass
class Small:
    """A file system of some megabytes, and what fills it."""

    path: Path

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1)):
                pass

    def make_room(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "small", str(path)], check=True)
    try:
        yield Small(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


class Watching(Silent):
    """Sees the sweep's progress and what is said, and does something then; one that does not end is a failure."""

    def __init__(
        self, then: Callable[[Progress], None] = lambda _: None, hears: Callable[[str], None] = lambda _: None
    ) -> None:
        self._then, self._hears = then, hears
        self._end_s = time.monotonic() + DEADLINE_S

    def update(self, progress: Progress) -> None:
        """See it."""
        assert time.monotonic() < self._end_s, f"it does not end: {progress}"
        self._then(progress)

    def say(self, text: str) -> None:
        """Hear it."""
        assert time.monotonic() < self._end_s, f"it does not end: {text}"
        self._hears(text)


def sweep(small: Small, project: Path, observer: Silent) -> tuple[Summary, int]:
    (project / "grid.yaml").write_text(GRID)
    (project / "fit.py").write_text(FIT)
    request = Request(
        runs=small.path / "runs",
        root=project,
        command_line="test",
        born_s=time.time(),
        workers=2,
        loaded=lambda: None,
    )
    return run_sweep(load(project / "grid.yaml"), request, observer)


def whole(small: Small) -> bool:
    """Whether every point is in the table once."""
    table = pl.read_parquet(small.path / "runs/trial/results.parquet")
    return table["param.a"].sort().to_list() == list(range(POINTS)) and set(table["attempts"]) == {1}


@mounts
def test_a_sweep_waits_for_room_and_goes_on_by_itself(small: Small, tmp_path: Path) -> None:
    """What is in flight ends and is kept, nothing more is sent out; it says which disk and what makes room."""
    paused: list[Progress] = []

    def look(progress: Progress) -> None:
        if progress.done >= 4 and not paused and not small.ballast.exists():
            small.fill()
        if progress.paused:
            paused.append(progress)
            ran = len(list(tmp_path.glob("ran-*")))
            assert progress.done < ran <= progress.done + 2 * WINDOW, "of two slots"
            assert f"the disk small ({small.path}, " in progress.waits
            assert "is full" in progress.waits
            assert f"du -xh --max-depth=2 {small.path}" in progress.waits
            if small.ballast.exists():
                small.make_room()

    summary, code = sweep(small, tmp_path, Watching(look))
    assert paused
    assert (summary.done, summary.computed, code) == (POINTS, POINTS, 0)
    with contextlib.closing(Outputs(small.path / "runs/trial/output.sqlite", readonly=True)) as outputs:
        ids = pl.read_parquet(small.path / "runs/trial/results.parquet")["point_id"]
        assert all(outputs.of(point_id) for point_id in ids), "what points printed is kept, too"
    assert whole(small)


@mounts
def test_a_sweep_that_is_stopped_on_a_full_disk_resumes(small: Small, tmp_path: Path) -> None:
    """130, and what was not written is computed again."""
    stopped: list[int] = []

    def look(progress: Progress) -> None:
        if progress.done >= 4 and not small.ballast.exists():
            small.fill()
        if progress.paused and not stopped:
            stopped.append(progress.done)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoppedFullError, match=r"(?s)Stopped\. waiting for disk space: .* computed again"):
        sweep(small, tmp_path, Watching(look))
    assert StoppedFullError.exit_code == 130
    small.make_room()
    summary, code = sweep(small, tmp_path, Silent())
    assert (summary.done, summary.resumed, code) == (POINTS, stopped[0], 0)
    assert whole(small)


@mounts
def test_tables_and_report_wait_for_room(small: Small, tmp_path: Path) -> None:
    """The disk is full just when the last point has been written."""
    said: list[str] = []

    def hear(text: str) -> None:
        if text.startswith("Waiting for room to write tables and report: the disk small"):
            said.append(text)
            small.make_room()

    summary, code = sweep(
        small, tmp_path, Watching(lambda progress: small.fill() if progress.done == POINTS else None, hear)
    )
    assert len(said) == 1
    assert (summary.done, code) == (POINTS, 0)
    assert whole(small)


@mounts
def test_a_progress_file_is_whole_and_new_also_on_a_full_disk(small: Small) -> None:
    folder = JobFolder(small.path)
    folder.write_progress(json.dumps({"n": -1}))
    small.fill()
    with pytest.raises(OSError, match="No space left"):
        (small.path / "another").write_text("x" * PROGRESS_BYTES)
    for n in range(50):
        with folder.progress.open() as earlier:
            folder.write_progress(json.dumps({"n": n}))
            assert json.load(earlier) == {"n": n - 1}, "it was written over while it was read"
        assert folder.read_progress() == {"n": n}


@mounts
def test_a_small_file_that_has_no_room_is_left_as_it_was(small: Small) -> None:
    file = small.path / "manifest.json"
    write_whole(file, "old")
    small.fill()
    with pytest.raises(FullDiskError, match=r"manifest\.json cannot be written: the disk small \(.* is full"):
        write_whole(file, "new" * 10_000)
    assert file.read_text() == "old"
    assert sorted(path.name for path in small.path.iterdir()) == ["ballast", "manifest.json"]


def test_the_data_volume_is_told_with_the_command_that_grows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPFLEET_DATA", str(tmp_path))
    disk = Disk(str(tmp_path), "/dev/nvme1n1", total=50 << 30, free=0, data_volume=True)
    assert Disk.of(tmp_path / "runs" / "trial").data_volume
    assert not Disk.of(Path("/")).data_volume
    assert disk.name == f"the data volume ({tmp_path}, 53.7 GB of 53.7 GB used)"
    assert disk.fix == "grow it: pulumi config set dataVolumeGb 100 && inv up"
    assert "the data volume" in str(full_disk(tmp_path / "runs"))


def test_other_errors_are_not_told_as_a_full_disk(tmp_path: Path) -> None:
    """Neither a file that may not grow nor one that may not be written is waited for."""
    assert not is_full(tmp_path, PermissionError(13, "Permission denied"))
    assert not is_full(tmp_path, OSError(27, "File too large"))
    assert not is_full(tmp_path, "something else")
    assert is_full(tmp_path, OSError(28, "No space left on device"))
