"""A point's checkpoint folder, as functions and commands have it, and `sweepfleet.checkpoint`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.slot import checkpoints
from sweepfleet.slot.target import find
from tests.support import context, grid

CONTINUES = """\
def fit(a, checkpoint_dir):
    file = checkpoint_dir / "count"
    count = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(count))
    if count < 3:
        raise RuntimeError(f"attempt {count}")
    return count
"""


def attempts(folder: Path, code: str, **rest: Any) -> Any:
    """A function that computes a sweep's first point."""
    plan = grid({"a": [1]})
    wanted = context(folder, code, plan, checkpoints=str(folder / "checkpoints"), **rest)
    compute, point = find(wanted, Space(plan)), Space(plan).point(0)
    return lambda: compute(point)


def test_an_attempt_finds_what_the_one_before_wrote(tmp_path: Path) -> None:
    attempt = attempts(tmp_path, CONTINUES)
    for number in (1, 2):
        with pytest.raises(RuntimeError, match=f"attempt {number}"):
            attempt()
    assert attempt() == 3


def test_a_command_finds_it_by_its_variable_and_its_placeholder(tmp_path: Path) -> None:
    """The words and the variable name the same folder, which is there."""
    code = (
        "import os, pathlib, sys\n"
        "folder = pathlib.Path(os.environ['SWEEPFLEET_CHECKPOINT_DIR'])\n"
        "assert sys.argv[1] == str(folder)\n"
        "old = [each.name for each in folder.iterdir()]\n"
        "(folder / str(len(old))).touch()\n"
        "print(len(old))\n"
    )
    words = (sys.executable, "-c", code, "{checkpoint_dir}")
    attempt = attempts(tmp_path, "", target=Target(command=words))
    assert [attempt() for _ in range(3)] == [0, 1, 2]


def test_a_folder_in_which_nothing_was_written_goes(tmp_path: Path) -> None:
    """A sweep of a million points that need none leaves no million folders."""
    code = "def fit(a, checkpoint_dir):\n    assert checkpoint_dir.is_dir()\n    return a\n"
    assert attempts(tmp_path, code)() == 1
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_without_a_run_it_is_gone_afterwards(tmp_path: Path) -> None:
    """`--test-point` has no run: the folder is there while the point runs."""
    plan = grid({"a": [1]})
    code = "def fit(a, checkpoint_dir):\n    (checkpoint_dir / 'x').touch()\n    return str(checkpoint_dir)\n"
    compute = find(context(tmp_path, code, plan), Space(plan))
    assert not Path(compute(Space(plan).point(0))).exists()


def test_checkpoint_makes_files_and_their_names_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file, then the folder that has its name; what is no file is skipped."""
    code = """\
import os
import sweepfleet as sf

def fit(a, checkpoint_dir):
    inner = checkpoint_dir / "inner"
    inner.mkdir()
    (inner / "weights").write_text("w")
    (checkpoint_dir / "state").write_text("s")
    (checkpoint_dir / "gone").symlink_to("nowhere")
    os.mkfifo(checkpoint_dir / "pipe")
    sf.checkpoint()
    return a
"""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    attempts(tmp_path, code)()
    folder = tmp_path / "checkpoints" / Space(grid({"a": [1]})).point(0).id
    assert synced == [
        str(each) for each in (folder / "state", folder, folder / "inner" / "weights", folder / "inner")
    ]


@pytest.mark.parametrize("code", ["", "def fit(a):\n    import sweepfleet as sf\n    sf.checkpoint()\n"])
def test_checkpoint_without_a_folder_says_what_to_write(tmp_path: Path, code: str) -> None:
    """Outside of a point, and in the point of a function that does not name its folder."""
    call = attempts(tmp_path, code) if code else sf.checkpoint
    with pytest.raises(sf.UsageError, match=r"keyword checkpoint_dir\.$"):
        call()


def test_the_folder_of_one_point_is_not_the_next_ones(tmp_path: Path) -> None:
    """The variable goes with the point, also when that raises."""
    with pytest.raises(RuntimeError):
        attempts(tmp_path, CONTINUES)()
    assert checkpoints.VARIABLE not in os.environ
