"""An Executor's calls as a job: `sf.Executor` by way of relay and driver, as on a head, with workers on loopback.

The SSH connection and the bucket are left out; all else is what a cluster runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.api.calls.errors import ExecutorBrokenError
from sweepfleet.fleet.calls.channel import PipeConnection, await_driver
from sweepfleet.fleet.calls.ended import NotActiveError
from sweepfleet.fleet.calls.link import Link
from sweepfleet.machine.job import CALLS, Job, JobFolder
from tests.calls_site import Site
from tests.command import ROOT
from tests.support import eventually

JOB = Job(
    *("kept", "a" * 64, "b" * 64, "engine", "", "a script", 7.0),
    retry_failed=False,
    workers_needed=1,
    slots_each=2,
    kind=CALLS,
    durable=True,
)
# `run_job` on a head, without AWS and TLS.
DRIVER = """
import contextlib, json, os, sys
from pathlib import Path
from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Facts, Home
from sweepfleet.machine.head import run_calls, run_job, snapshot
from sweepfleet.machine.job import JobFolder
from sweepfleet.run.machine_port import OWN_MACHINE
from sweepfleet.run.engine_errors import ClusterError
folder, data, address = sys.argv[1:]
dask_command.address = lambda _: address
dask_command.environment = lambda *_: {}
run_calls.HOME = Home(Path(data, "home"))
run_calls.ClusterMachine = lambda _: OWN_MACHINE
run_job._fleet_engine = lambda: None
run_job.refuse_lost = lambda *_: None
run_job._store = lambda *_: ""
run_job.tell_end = lambda *_, **__: None
facts = Facts("head", "dev", "bucket", "id", "127.0.0.1", "", "us-east-1", "", data, "")
try:
    print("ended with", run_job.run(JobFolder(Path(folder)), facts))
except ClusterError as error:
    print(error)
    sys.exit(75)
"""


class Head:
    """A head with one job; `Cluster` of a link."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.site = Site(path)
        self.folder = JobFolder(path / "jobs" / JOB.name)
        self.release = path / "home" / "releases" / JOB.release
        self.release.mkdir(parents=True)
        (self.release / "scale.py").write_text("def scaled(a):\n    return 3 * a\n")
        (path / "runs").mkdir()
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.starts = 0

    def start(self) -> None:
        """Take the job over, as the head does, and keep its driver running, as systemd does."""
        self.starts += 1
        shutil.rmtree(self.folder.path, ignore_errors=True)
        self.folder.path.mkdir(parents=True)
        self.folder.job.write_text(JOB.to_json())
        self.folder.active.touch()
        self.drive()

    def drive(self) -> None:
        words = ("-c", DRIVER, str(self.folder.path), str(self.path), self.site.address)
        self.drivers.append(self.site.start(*words))

    def connect(self) -> PipeConnection:
        connection = PipeConnection([sys.executable, "-m", "sweepfleet.machine.head.relay", str(self.folder.path)])
        try:
            await_driver(connection, lambda _: None)
        except NotActiveError:
            connection.close()
            raise
        return connection


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    made = Head(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    links: list[Link] = []

    class Start:
        pending: Any = staticmethod(lambda: 0)

        def __call__(self) -> Link:
            made.folder.active.exists() or made.start()
            links.append(Link(made, durable=True, pending=lambda: self.pending()))  # noqa: PLW0108 - it is set later
            return links[-1]

    monkeypatch.setattr("sweepfleet.api.executor._start_far", lambda *_: Start())
    try:
        yield made
    finally:
        made.site.close()


def test_an_executor_goes_through_relay_and_driver_and_finds_what_was_kept(head: Head, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def twice(number: int, begun: str) -> int:
        from scale import scaled  # the release's

        with open(begun, "a") as file:  # noqa: PTH123
            file.write(f"{number}\n")
        if number < 0:
            raise ValueError("negative")
        return int(scaled(number))

    with sf.Executor(stack="dev", run=JOB.name) as executor:
        assert list(executor.map(twice, range(100), [str(begun)] * 100)) == [3 * number for number in range(100)]
        error = executor.submit(twice, -1, str(begun)).exception()
        assert isinstance(error, ValueError)
        assert "in twice" in str(error.__cause__)
        assert executor.submit(os.getcwd).result() == str(head.release)
        times = []
        for number in range(20):
            began_s = time.perf_counter()
            assert executor.submit(abs, -number).result() == number
            times.append(time.perf_counter() - began_s)
        said = head.folder.read_progress()
        assert said["workers_needed"] <= 1
        # The driver is killed, and the next one goes on beneath the same Executor.
        head.drivers[-1].kill()
        head.drivers[-1].wait()
        head.drive()
        assert executor.submit(twice, 200, str(begun)).result() == 600
    print(f"submit to result, warm: {1000 * sorted(times)[10]:.1f} ms")
    eventually(lambda: not head.folder.active.exists(), "the job ends")
    said = head.folder.read_progress()
    assert (said["state"], said["exit_code"]) == ("ended", 0)
    assert said["summary"]["state"] == "done"
    before = begun.read_text()

    with sf.Executor(stack="dev", run=JOB.name) as executor:  # the job has ended: it is started again
        assert list(executor.map(twice, range(100), [str(begun)] * 100)) == [3 * number for number in range(100)]
    assert begun.read_text() == before
    assert head.starts == 2


def wait_for(gate: str) -> None:
    """A call that ends when the gate is there."""
    import time
    from pathlib import Path

    while not Path(gate).exists():
        time.sleep(0.05)


def test_an_initializer_is_called_on_the_workers(head: Head) -> None:
    def begin(word: str) -> None:
        os.environ["BEGUN"] = word

    def begun() -> str:
        return os.environ["BEGUN"]

    with sf.Executor(stack="dev", run=JOB.name, initializer=begin, initargs=("so",)) as executor:
        assert executor.submit(begun).result() == "so"


def test_a_run_that_is_cancelled_breaks_its_executor_and_is_not_started_again(head: Head, tmp_path: Path) -> None:
    """As `inv cancel` does it: the mark, the driver's end, and then no active job."""
    with sf.Executor(stack="dev", run=JOB.name) as executor:
        assert executor.submit(abs, -1).result() == 1
        out = [executor.submit(wait_for, str(tmp_path / f"gate-{number}")) for number in range(9)]
        eventually(lambda: any(each.running() for each in out), "calls run")
        head.folder.cancelled.touch()
        head.drivers[-1].send_signal(signal.SIGINT)
        head.drivers[-1].wait()
        head.folder.active.unlink(missing_ok=True)
        errors = [each.exception() for each in out]
    assert {type(error) for error in errors} == {ExecutorBrokenError}
    assert {str(error) for error in errors} == {"It was cancelled."}
    assert head.starts == 1
    with sf.Executor(stack="dev", run=JOB.name) as executor:
        assert executor.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"exit_code": 2, "error": "The cluster runs another version"}, sf.UsageError),
        ({"exit_code": 130, "error": ""}, ExecutorBrokenError),
    ],
)
def test_a_job_that_ended_with_an_error_is_not_started_again(said: dict[str, Any], error: type[Exception]) -> None:
    """Also where its client has had nothing of it yet: it would start and end without end."""
    starts: list[int] = []

    class Refuses:
        def connect(self) -> None:
            raise NotActiveError(said)

        def start(self) -> None:
            starts.append(1)

    link = Link(Refuses(), durable=True)  # type: ignore[arg-type]
    frame = link.receive()
    assert frame is not None
    assert frame.kind == "broken"
    assert (frame.header["broken"] == "usage") == (error is sf.UsageError)
    assert frame.header["why"] == (said["error"] or "The run was cancelled.")
    assert starts == []


def test_a_relay_without_an_active_job_says_so(tmp_path: Path) -> None:
    for there in (tmp_path / "none", tmp_path / "ended"):
        if there.name == "ended":
            there.mkdir()
            JobFolder(there).write_progress(
                json.dumps({"state": "ended", "exit_code": 2, "error": "It was refused."})
            )
        connection = PipeConnection([sys.executable, "-m", "sweepfleet.machine.head.relay", str(there)])
        with contextlib.closing(connection), pytest.raises(NotActiveError) as ended:
            await_driver(connection, lambda _: None)
        assert ("refused" in str(ended.value)) == (there.name == "ended")
