"""With too little memory, a sweep ends with its reason, instead of waiting for what cannot come."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.bundles import Bundle
from sweepfleet.run.engines import _started, local_engine
from sweepfleet.run.shortage import ShortageError, shortages_explained
from tests.command import DEADLINE_S, ROOT, Project
from tests.support import context, grid


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
    with pytest.raises(ShortageError) as told, shortages_explained():
        raise error
    assert (str(error) or "MemoryError") in str(told.value)
    assert "--workers 1" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), OSError(errno.ENOENT, "none"), UsageError("wrong")])
def test_what_is_no_shortage_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as kept, shortages_explained():
        raise error
    assert kept.value is error


def test_a_worker_whose_threads_cannot_all_start_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """dask would wait for ever for what the last one was to do; those that have started are let go."""
    starting, started = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(self)
        starting(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        _started(4)


TEST_ENDED = threading.Event()


def never_begun(*_: object, **__: object) -> None:
    """In the place of `run_bundle`: no runner hears of it."""
    TEST_ENDED.wait(DEADLINE_S)


def test_bundles_that_dask_has_lost_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its loop has met a MemoryError: here its worker takes none up."""
    monkeypatch.setattr("sweepfleet.run.engine.IDLE_S", 0.2)
    with local_engine(context(tmp_path, "def fit(a): return a", grid({"a": [1, 2]})), slots=1) as engine:
        engine.submit(Bundle(1, ((0, 1),)))
        while not engine.wait(0.1):
            pass
        monkeypatch.setattr("sweepfleet.run.engine.run_bundle", never_begun)
        engine.submit(Bundle(2, ((1, 2),)))
        try:
            with pytest.raises(ShortageError, match="no slot is running it"):
                [engine.wait(0.1) for _ in range(100)]
        finally:
            TEST_ENDED.set()


def test_a_sweep_with_too_little_memory_to_start_ends_with_its_reason(tmp_path: Path) -> None:
    project = Project(tmp_path).write("run: fit:fit\nparameters: {x: [1, 2]}\n", "def fit(x): return x\n")
    inv = f"{sys.executable} -m invoke --search-root {ROOT} sweep --grid {project.grid} --local --workers 2"
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
    assert process.returncode == 1
    assert "error: The system's limits are too low to run a sweep: 2 slots need an address space of" in err
    assert "ulimit -v 400000" in err
    assert not project.runs.exists() or not list(project.runs.glob("*/ledger.sqlite"))
