"""What a console has of its fleet: a client and an Executor, each a job of the head, with real workers."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine import dask_command, start
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head import asked_jobs
from sweepfleet.machine.head.fleet_here import FleetHere, OwnExecutor
from sweepfleet.machine.head.job_here import submit
from sweepfleet.machine.job import CALLS, CLIENT, Job, JobFolder
from tests.calls_site import Site
from tests.command import ROOT
from tests.machine.test_run_calls import DRIVER
from tests.support import eventually

RELEASE = "a" * 64
LIKE = Job(
    *("like", RELEASE, "b" * 64, "engine", "", "", 7.0),
    retry_failed=False,
    workers_needed=3,
    slots_each=2,
    usd_per_worker_hour=0.1,
    kind=CLIENT,
)


class Head:
    """A head whose root starts units: drivers in processes of their own."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = Site(path)
        self.data = Data(path)
        for place in (self.data.jobs, self.data.runs, self.data.asked, path / "home" / "releases" / RELEASE):
            place.mkdir(parents=True)
        (path / "home" / "releases" / RELEASE / "scale.py").write_text("def scaled(a):\n    return 3 * a\n")
        self.commands: list[list[str]] = []
        self._over = threading.Event()
        monkeypatch.setattr(asked_jobs, "subprocess", SimpleNamespace(run=self._systemctl))
        self._root = threading.Thread(target=self._serve, daemon=True)
        self._root.start()

    def _serve(self) -> None:
        """Be the path unit."""
        while not self._over.wait(0.05):
            asked_jobs.serve(self.data)

    def _systemctl(self, words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(words)
        if words[1] == "restart":
            name = words[-1].removeprefix("sweepfleet-run@").removesuffix(".service")
            self.site.start("-c", DRIVER, str(self.data.jobs / name), str(self.data.path), self.site.address)
        return subprocess.CompletedProcess(words, 0)

    def jobs(self) -> list[JobFolder]:
        return [JobFolder(path) for path in sorted(self.data.jobs.iterdir())]

    def close(self) -> None:
        self._over.set()
        self._root.join()
        self.site.close()


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    made = Head(tmp_path, monkeypatch)
    monkeypatch.setattr(dask_command, "address", lambda _: made.site.address)
    monkeypatch.setattr(FleetHere, "_security", lambda _: None)
    try:
        yield made
    finally:
        made.close()


def fleet_of(data: Data, like: Job | None = LIKE) -> FleetHere:
    return FleetHere("dev", "127.0.0.1", data, "console", like, make=sf.Executor)


def test_the_executor_at_hand_begins_with_its_first_call_and_again_after_its_end(head: Head) -> None:
    """A job of the head, on workers, with the release's modules; what is typed goes by value."""

    def thrice(number: int) -> int:
        from scale import scaled  # the release's

        return int(scaled(number))

    executor = OwnExecutor(fleet_of(head.data))
    assert head.jobs() == []
    for count in (1, 2):
        assert list(executor.map(thrice, range(10))) == [3 * number for number in range(10)]
        assert executor.submit(thrice, number=7).result() == 21
        assert len(head.jobs()) == count
        executor.shutdown()
    job = Job.from_json(head.jobs()[0].job.read_text())
    assert job.name.startswith("console-calls-")
    assert (job.kind, job.release, job.workers_needed, job.durable) == (CALLS, RELEASE, 3, False)
    eventually(lambda: not any(folder.active.exists() for folder in head.jobs()), "its jobs end")
    assert not list(head.data.asked.iterdir())


def test_results_of_an_executor_with_a_name_are_found_by_the_next_one(head: Head, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def note(number: int, begun: str) -> int:
        with open(begun, "a") as file:  # noqa: PTH123
            file.write(f"{number}\n")
        return number

    for _ in range(2):
        with fleet_of(head.data).executor(1, run="kept") as executor:
            assert list(executor.map(note, range(5), [str(begun)] * 5)) == list(range(5))
        eventually(lambda: not any(folder.active.exists() for folder in head.jobs()), "the job ends")
    assert sorted(begun.read_text().split()) == list("01234")
    assert Job.from_json(head.jobs()[0].job.read_text()).workers_needed == 1


def test_what_the_client_needs_is_counted_and_another_job_follows_one_that_was_cancelled(head: Head) -> None:
    def wait(gate: str) -> int:
        import time
        from pathlib import Path

        while not Path(gate).exists():
            time.sleep(0.05)
        return 1

    fleet = fleet_of(head.data)
    client = fleet.client()
    [folder] = head.jobs()
    assert client.submit(sum, [20, 22]).result() == 42
    assert fleet.client() is client
    held = client.submit(wait, str(head.data.path / "gate"))
    eventually(lambda: folder.read_progress().get("workers_needed") == 1, "the keeper is told of its task")
    (head.data.path / "gate").touch()
    assert held.result() == 1
    folder.cancelled.touch()
    eventually(lambda: not folder.active.exists(), "the job ends")
    with fleet.client() as another:
        assert another is not client
        assert client.status == "closed"
        assert another.submit(sum, [1, 2]).result() == 3
    assert len(head.jobs()) == 2


@pytest.mark.parametrize(
    ("like", "ask", "error"),
    [
        (None, FleetHere.client, "An earlier version began this session"),
        (None, FleetHere.executor, "An earlier version began this session"),
        (
            replace(LIKE, usd_per_worker_hour=None, budget_usd=5.0),
            FleetHere.client,
            r"budgetUsd is 5 USD, and cannot be enforced.*fleet\.client\(unpriced=True\)",
        ),
    ],
)
def test_what_it_does_not_know_it_does_not_begin(
    tmp_path: Path, like: Job | None, ask: Callable[[FleetHere], Any], error: str
) -> None:
    with pytest.raises(UsageError, match=error):
        ask(fleet_of(Data(tmp_path), like))
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_is_active_is_not_replaced(tmp_path: Path) -> None:
    """One that keeps calls is joined, by another Executor of its release."""
    data = Data(tmp_path)
    data.jobs.mkdir()
    data.asked.mkdir()
    job = replace(LIKE, name="kept", kind=CALLS, durable=True)
    folder = submit(data, job)
    assert folder.active.exists()
    assert [asked.name for asked in data.asked.iterdir()] == ["kept"]
    assert submit(data, replace(job, submitted=8.0)) == folder
    assert Job.from_json(folder.job.read_text()).submitted == job.submitted
    for other in (replace(job, durable=False), replace(job, release="c" * 64), replace(job, kind=CLIENT)):
        with pytest.raises(UsageError, match="The run kept is active already"):
            submit(data, other)


def test_root_starts_active_jobs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the service user puts there, and it is gone afterwards."""
    data = Data(tmp_path)
    commands: list[str] = []
    run = lambda words, **_: commands.append(" ".join(words))  # noqa: E731
    monkeypatch.setattr(asked_jobs, "subprocess", SimpleNamespace(run=run))
    for name in ("good", "ended", "-bad"):
        (data.jobs / name).mkdir(parents=True)
    for name in ("good", "-bad"):
        JobFolder(data.jobs / name).active.touch()
    data.asked.mkdir()
    for name in ("good", "ended", "-bad", "none"):
        (data.asked / name).touch()
    (data.asked / "folder" / "deep").mkdir(parents=True)
    (data.asked / "link").symlink_to(data.jobs)
    asked_jobs.serve(data)
    unit = "sweepfleet-run@good.service"
    assert commands == [f"systemctl reset-failed {unit}", f"systemctl restart --no-block {unit}"]
    assert list(data.asked.iterdir()) == []
    assert (data.jobs / "good").exists()


def test_systemd_looks_where_programs_ask() -> None:
    """A unit file cannot ask Python for it."""
    unit = start.UNITS / start.ASKED
    assert f"DirectoryNotEmpty={Data(Path(MachinePaths().data)).asked}\n" in unit.read_text()
    assert "sweepfleet.machine.head.asked_jobs" in unit.with_suffix(".service").read_text()
