"""The process that makes a run's files: ready early, out of the points' way, and gone with its owner."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from sweepfleet.run.files_writer import FilesError, FilesWriter
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.summary import Facts
from tests.support import batches, space

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a priority to a thread")
DEADLINE_S = 60.0

OWNER = """
import sys, time
from pathlib import Path
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.files_writer import FilesWriter
writer = FilesWriter(RunFolder(Path(sys.argv[1])))
writer.start()
print(writer._early.pid, flush=True)
time.sleep(600)
"""
PRIORITIES = """
import json, os, sys, threading
from pathlib import Path
import sweepfleet.run.files_process as process

ready = threading.Event()

def prepare():
    global at_import
    at_import = os.sched_getscheduler(0)
    real()
    ready.set()

real, process._prepare = process._prepare, prepare
facts = process._facts_later()
ready.wait()  # as whoever sends the facts does
process._write(sys.argv[1], facts)
print()
tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
names = {task: Path(f"/proc/self/task/{task}/comm").read_text() for task in tasks}
at_work = {os.sched_getscheduler(task) for task in tasks if task == os.getpid() or names[task].startswith("polars-0")}
print(json.dumps([at_import, sorted(at_work), sum(name.startswith("polars-0") for name in names.values())]))
"""


class Watched(FilesWriter):
    """A writer that remembers its processes."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.processes: list[subprocess.Popen[bytes]] = []

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        self.processes.append(super()._start(*options))
        return self.processes[-1]

    @property
    def codes(self) -> list[int | None]:
        return [process.returncode for process in self.processes]

    def wait_until_ready(self) -> None:
        """Without taking from the pipe that it is."""
        (early,) = self.processes
        assert early.stdout is not None
        assert select.select([early.stdout], [], [], DEADLINE_S)[0]


class Starved(Watched):
    """One whose early process gets no core."""

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        if not options:
            return super()._start()
        pipe = subprocess.PIPE
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        self.processes.append(subprocess.Popen(sleeper, stdin=pipe, stdout=pipe, stderr=pipe))
        self._running.append(self.processes[-1])
        return self.processes[-1]


def one_row(path: Path) -> RunFolder:
    path.mkdir(parents=True)
    folder, here = RunFolder(path), space({"a": [1]})
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(here)
        ledger.record(batches([(here.point(0), 1.0)]), git_commit=None, env_hash=None)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return one_row(tmp_path / "run")


def written(folder: RunFolder) -> bool:
    return folder.report.exists() and folder.summary.exists() and pl.read_parquet(folder.parquet).height == 1


def vanished(pid: int) -> bool:
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


@linux
def test_a_process_that_is_ready_does_the_work_alone(folder: RunFolder) -> None:
    with Watched(folder) as writer:
        writer.start()
        writer.wait_until_ready()
        assert writer.write(Facts(metric=None)).done == 1
    assert writer.codes == [0]
    assert written(folder)


def test_without_an_early_process_one_is_started_when_it_is_needed(folder: RunFolder) -> None:
    with Watched(folder) as writer:
        assert writer.write(Facts(metric=None)).done == 1
    assert writer.codes == [0]
    assert written(folder)


@linux
@pytest.mark.parametrize("ready", [False, True])
def test_a_process_that_was_killed_is_replaced(folder: RunFolder, *, ready: bool) -> None:
    """As when memory was short while points ran."""
    with Watched(folder) as writer:
        writer.start()
        if ready:
            writer.wait_until_ready()
        writer.processes[0].kill()
        writer.processes[0].wait()
        assert writer.write(Facts(metric=None)).done == 1
    assert writer.codes == [-signal.SIGKILL, 0]
    assert written(folder)


@linux
def test_a_process_that_never_gets_ready_is_not_waited_for(folder: RunFolder) -> None:
    """As where other programs hold every core; nothing of it is left."""
    with Starved(folder) as writer:
        writer.start()
        assert writer.write(Facts(metric=None)).done == 1
    assert writer.codes == [-signal.SIGKILL, 0]
    assert written(folder)


@linux
def test_a_process_that_is_killed_at_its_work_is_replaced(folder: RunFolder) -> None:
    with Watched(folder) as writer:
        writer.start()
        writer.wait_until_ready()
        writer.processes[0].send_signal(signal.SIGSTOP)
        killer = threading.Timer(0.2, writer.processes[0].kill)
        killer.start()
        assert writer.write(Facts(metric=None)).done == 1
        killer.join()
    assert writer.codes == [-signal.SIGKILL, 0]
    assert written(folder)


@linux
def test_without_files_for_its_pipes_no_early_process_is_started(folder: RunFolder) -> None:
    """It is a help, and its want no error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Watched(folder) as writer:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))  # noqa: PTH208
        try:
            writer.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert writer.processes == []
        assert writer.write(Facts(metric=None)).done == 1


@linux
@pytest.mark.parametrize("early", [False, True])
def test_what_is_wrong_is_said_once_and_without_a_traceback(folder: RunFolder, *, early: bool) -> None:
    folder.parquet.mkdir()
    (folder.parquet / "file").touch()
    with Watched(folder) as writer:
        if early:
            writer.start()
            writer.wait_until_ready()
        with pytest.raises(FilesError, match="cannot be written") as refusal:
            writer.write(Facts(metric=None))
    assert "Traceback" not in str(refusal.value)
    assert f"inv report --name {folder.name}" in str(refusal.value)
    assert writer.codes == [1], "another process would say the same"


@linux
def test_whoever_leaves_takes_the_early_process_along(folder: RunFolder) -> None:
    with contextlib.suppress(KeyboardInterrupt), Watched(folder) as writer:
        writer.start()
        raise KeyboardInterrupt
    assert writer.codes == [-signal.SIGKILL]


@linux
@pytest.mark.parametrize("ready", [False, True])
def test_a_killed_driver_leaves_no_process(folder: RunFolder, *, ready: bool) -> None:
    command = [sys.executable, "-c", OWNER, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        end_s = time.monotonic() + DEADLINE_S
        while ready and b"polars" not in Path(f"/proc/{pid}/maps").read_bytes() and time.monotonic() < end_s:
            time.sleep(0.01)
        owner.kill()
    assert vanished(pid)
    assert not folder.report.exists()


@linux
def test_ctrl_c_does_not_reach_it_and_it_shares_its_owners_session(folder: RunFolder) -> None:
    """Linux can give sessions the same share of the cores, whatever the priorities in them."""
    with Watched(folder) as writer:
        writer.start()
        (process,) = writer.processes
        assert os.getpgid(process.pid) == process.pid
        assert os.getsid(process.pid) == os.getsid(0)


def test_an_early_process_ends_when_nobody_asks_it(folder: RunFolder) -> None:
    script = "import sweepfleet.run.files_process as process\nprocess.KEEP_S = 0.0\nprocess.main()"
    command = [sys.executable, "-c", script, str(folder.path), "--early"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.wait(DEADLINE_S) == 0
    assert not folder.report.exists()


@linux
def test_it_gets_ready_at_the_lowest_priority_and_works_at_the_ordinary_one(folder: RunFolder) -> None:
    """Its main thread, and polars' threads, which do the work."""
    command = [sys.executable, "-c", PRIORITIES, str(folder.path)]
    done = subprocess.run(command, input=Facts(metric=None).to_json(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    at_import, at_work, threads = json.loads(done.stdout.strip().splitlines()[-1])
    assert at_import == os.SCHED_IDLE
    assert at_work == [os.SCHED_OTHER]
    assert threads


@linux
def test_two_runs_at_once_have_each_its_own(tmp_path: Path) -> None:
    folders = [one_row(tmp_path / name) for name in ("one", "two")]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(Watched(folder)) for folder in folders]
        for writer in writers:
            writer.start()
        names = [writer.write(Facts(metric=None)).name for writer in writers]
    assert names == ["one", "two"]
    assert all(written(folder) for folder in folders)
