"""With too little memory, a sweep ends with its reason, instead of waiting for what cannot come."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from grid.errors import UsageError
from sweep.shortage import ShortageError, shortages_told
from tests.command import DEADLINE_S, ROOT, Project


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
def test_what_is_a_shortage_is_told_in_one_line(error: Exception) -> None:
    with pytest.raises(ShortageError) as told, shortages_told():
        raise error
    assert (str(error) or "MemoryError") in str(told.value)
    assert "--workers 1" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), OSError(errno.ENOENT, "none"), UsageError("wrong")])
def test_what_is_no_shortage_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as kept, shortages_told():
        raise error
    assert kept.value is error


def test_a_sweep_with_too_little_memory_to_start_ends_with_its_reason(tmp_path: Path) -> None:
    project = Project(tmp_path).write("run: fit:fit\nparameters: {x: [1, 2]}\n", "def fit(x): return x\n")
    inv = f"{sys.executable} -m invoke --search-root {ROOT} sweep --grid {project.grid} --local"
    process = subprocess.Popen(
        ["bash", "-c", f"ulimit -v 400000; INVOKE_RUNS={project.runs} exec {inv}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode in {1, 2}
    assert "error: " in err
    assert "Traceback" not in err
