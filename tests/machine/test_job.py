"""The driver of a run on the cluster, when what it needs is away: it asks for no more than it can use, and ends."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sweepfleet
import sweepfleet.machine.head.reporter as reporter_module
import sweepfleet.machine.head.run_job as driving
import sweepfleet.machine.head.snapshot as snapshot_module
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import Facts, Home
from sweepfleet.machine.head import travelled
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.head.run_job import run
from sweepfleet.machine.head.travelled import sweep_of
from sweepfleet.machine.job import PROGRESS_BYTES, Job, JobFolder
from sweepfleet.run.disk import full_disk
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.folder import RunFolder, StorageError
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.selection import Selection

JOB = Job("trial", "a" * 64, "b" * 64, "engine", "grid.yaml", "inv sweep", 7.0, retry_failed=False, workers_needed=2)


@pytest.fixture(autouse=True)
def nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket has nothing of any run that the head has not."""
    monkeypatch.setattr(driving, "refuse_lost", lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job that goes on."""
    made = JobFolder(tmp_path / "jobs" / "trial")
    (made.path / "grid").mkdir(parents=True)
    (made.grid / "grid.yaml").write_text("name: trial\nrun: fit:fit\nparameters: {a: [1]}\n")
    made.job.write_text(JOB.to_json())
    made.active.touch()
    return made


@dataclass(frozen=True)
class Away(Aws):
    """A bucket that cannot be reached at first."""

    facts: Any = None
    left: list[AwsError] = field(default_factory=list)
    stored: list[tuple[str, str]] = field(default_factory=list)

    def sync(self, folder: Path, prefix: str) -> None:
        if self.left:
            raise self.left.pop()
        self.stored.append((folder.name, prefix))


def test_results_are_stored_however_often_it_takes_and_no_worker_is_asked_for_again(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("sweepfleet.machine.head.run_job.time.sleep", lambda _: seen.append(folder.read_progress()))
    reporter, bucket = Reporter(folder, workers_needed=2), Away(left=[AwsError("it does not answer")] * 2)
    reporter.needs_no_workers()
    driving._store(folder, reporter, bucket, tmp_path / "runs" / "trial")
    assert bucket.stored == [("trial", "runs/trial/")]
    assert [one["workers_needed"] for one in (*seen, folder.read_progress())] == [0, 0, 0]
    assert seen[1]["waiting_for"] == "storing the results: it does not answer"


@pytest.mark.parametrize("spent", [True, False])
def test_a_run_that_no_worker_joins_goes_on_until_it_has_cost_its_budget(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, spent: bool
) -> None:
    def nobody_came(*_: object) -> None:
        if spent:
            folder.spent.touch()
        raise ClusterError("No worker came.")

    ends: list[tuple[int, str]] = []
    for module in (driving, travelled):
        monkeypatch.setattr(module, "HOME", Home(tmp_path / "home"))
    monkeypatch.setattr(driving, "run_sweep", nobody_came)
    monkeypatch.setattr(driving, "tell_end", lambda *_, exit_code, error, **__: ends.append((exit_code, error)))
    if spent:
        assert run(folder, facts(tmp_path)) == 1
        assert ends == [(1, "It has cost its budget. No worker came.")]
        assert not folder.active.exists()
        last = json.loads(folder.progress.read_text())
        assert (last["state"], last["exit_code"], last["workers_needed"]) == ("ended", 1, 0)
    else:
        with pytest.raises(ClusterError):
            run(folder, facts(tmp_path))
        assert folder.active.exists()


def test_a_run_that_broke_off_on_a_full_volume_ends_and_is_stored_however_often_it_takes(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that began again would run into the same, with all its workers."""
    ledger = RunFolder(tmp_path / "runs" / "trial").ledger

    def full(*_: object) -> None:
        ledger.parent.mkdir(parents=True)
        ledger.touch()
        (folder.path / f".{folder.progress.name}.new").mkdir()  # there is no place for another file
        raise StorageError("No space is left.")

    bucket, pauses, ends = Away(left=[AwsError("it does not answer")] * 2), [], []
    for module in (driving, travelled):
        monkeypatch.setattr(module, "HOME", Home(tmp_path / "home"))
    monkeypatch.setattr(driving, "run_sweep", full)
    monkeypatch.setattr(driving, "Aws", lambda _: bucket)
    monkeypatch.setattr(driving, "tell_end", lambda *_, exit_code, error, **__: ends.append((exit_code, error)))
    monkeypatch.setattr("sweepfleet.machine.head.run_job.time.sleep", pauses.append)
    assert run(folder, facts(tmp_path)) == StorageError.exit_code
    assert bucket.stored == [("trial", "runs/trial/")]
    assert len(pauses) == 2
    assert ends == [(StorageError.exit_code, "No space is left.")]
    assert not folder.active.exists()
    last = folder.read_progress()
    assert (last["state"], last["error"], last["workers_needed"]) == ("ended", "No space is left.", 0)


@pytest.mark.parametrize("has_results", [True, False])
def test_a_cancelled_run_whose_head_went_down_before_it_was_stored_is_stored_and_computes_no_more(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_results: bool
) -> None:
    """Its unit starts with the head; S3 does not answer at first."""
    if has_results:
        sweepfleet.sweep(lambda a: a, {"a": [1, 2, 3]}, name="trial", runs=tmp_path / "runs")
    folder.cancelled.touch()
    bucket, ends = Away(left=[AwsError("it does not answer")] if has_results else []), []
    monkeypatch.setattr(snapshot_module, "Aws", lambda _: bucket)
    monkeypatch.setattr(snapshot_module, "tell_end", lambda *_, exit_code, error: ends.append((exit_code, error)))
    monkeypatch.setattr(Facts, "read", lambda: facts(tmp_path))
    monkeypatch.setattr(driving, "run_sweep", lambda *_: pytest.fail("it computes"))
    monkeypatch.setattr(sys, "argv", ["run_job", str(folder.path)])
    if has_results:
        assert driving.main() == driving.EXIT_AGAIN
        assert folder.active.exists()
    assert driving.main() == 0
    assert (folder.active.exists(), folder.cancelled.exists()) == (False, False)
    assert bucket.stored == ([("trial", "runs/trial/")] if has_results else [])
    assert set(ends) == {(130, "It was cancelled.")}
    assert folder.read_progress().get("exit_code") == (130 if has_results else None)


def test_progress_that_has_no_room_is_an_error_and_what_was_said_before_stays(folder: JobFolder) -> None:
    """The spare file has one size, which two of them need to change names; it does not grow."""
    folder.write_progress('{"n": 1}')
    (folder.path / f".{folder.progress.name}.new").mkdir()  # there is no place for another file
    with pytest.raises(OSError, match="new"):
        folder.write_progress(json.dumps({"n": "x" * PROGRESS_BYTES}))
    assert folder.read_progress() == {"n": 1}
    folder.write_progress('{"n": 2}')
    assert folder.read_progress() == {"n": 2}
    assert folder.progress.stat().st_size == PROGRESS_BYTES


def test_the_end_is_written_however_long_that_takes(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the run reads how it ended."""
    pauses, write = list[float](), JobFolder.write_progress

    def refused(self: JobFolder, text: str) -> None:
        if len(pauses) < 3:
            raise OSError("Input/output error")
        write(self, text)

    monkeypatch.setattr(JobFolder, "write_progress", refused)
    monkeypatch.setattr("sweepfleet.machine.head.run_job.time.sleep", pauses.append)
    Reporter(folder, workers_needed=2).end(exit_code=0)
    assert folder.read_progress()["state"] == "ended"
    assert len(pauses) == 3


def test_a_run_that_waits_for_room_has_no_workers_after_a_while_and_has_them_again(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(reporter_module, "time", SimpleNamespace(monotonic=lambda: now_s, time=lambda: now_s))
    reporter = Reporter(folder, workers_needed=2)
    wanted = []
    for passes_s, paused in ((0, True), (reporter_module.PAUSED_S - 1, True), (2, True), (2, False), (2, True)):
        now_s += passes_s
        reporter.update(Progress(total=100, exact=True, resumed=0, computed=10, busy_s=600, paused=paused))
        wanted.append(folder.read_progress()["workers_needed"])
    assert wanted == [2, 2, 0, 2, 2]


def test_while_results_are_stored_no_worker_is_asked_for(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[int] = []
    summary = SimpleNamespace(to_dict=lambda: {"done": 1})
    for module in (driving, travelled):
        monkeypatch.setattr(module, "HOME", Home(tmp_path / "home"))
    monkeypatch.setattr(driving, "run_sweep", lambda *_: (summary, 0))
    monkeypatch.setattr(driving, "_store", lambda *_: wanted.append(folder.read_progress()["workers_needed"]) or "")
    monkeypatch.setattr(driving, "tell_end", lambda *_, **__: None)
    assert run(folder, facts(tmp_path)) == 0
    assert wanted == [0]


def test_a_run_is_refused_while_the_fleet_has_another_runs_code(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers would compute with that."""
    home, said = Home(tmp_path / "home"), list[str]()
    home.path.mkdir()
    home.fleet_engine.write_text("another\n")
    for module in (driving, travelled):
        monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(driving, "run_sweep", lambda *_: pytest.fail("it runs"))
    monkeypatch.setattr(driving, "tell_end", lambda *_, error, **__: said.append(error))
    assert run(folder, facts(tmp_path)) == 2
    assert "another version of the project's code" in said[0]


def test_what_the_bucket_will_never_take_is_told_at_once(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No try after the first; the results are where the message says."""
    monkeypatch.setattr("sweepfleet.machine.head.run_job.time.sleep", lambda _: pytest.fail("it waits"))
    bucket = Away(left=[AwsError("An error occurred (AccessDenied) when calling PutObject")])
    said = driving._store(folder, Reporter(folder, workers_needed=2), bucket, tmp_path / "runs" / "trial")
    assert "AccessDenied" in said
    assert str(tmp_path / "runs" / "trial") in said
    assert bucket.stored == []


def test_a_volume_that_is_full_before_the_first_point_is_waited_for_without_workers(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run begins when there is room; whoever looks meanwhile reads which volume, and how to grow it."""
    monkeypatch.setenv("SWEEPFLEET_DATA", str(tmp_path))
    full = iter([full_disk(tmp_path), full_disk(tmp_path)])

    def begin(*_: object) -> tuple[str, int]:
        for error in full:
            raise error
        return "summary", 0

    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(driving, "run_sweep", begin)
    monkeypatch.setattr("sweepfleet.machine.head.run_job.time.sleep", lambda _: seen.append(folder.read_progress()))
    reporter = Reporter(folder, workers_needed=2)
    reporter.counted(7)
    assert driving._run_with_room(None, None, reporter) == ("summary", 0)  # type: ignore[arg-type]
    assert [one["workers_needed"] for one in seen] == [0, 0]
    assert "the data volume" in seen[0]["waiting_for"]
    assert "pulumi config set dataVolumeGb" in seen[0]["waiting_for"]
    assert folder.read_progress()["workers_needed"] == 1


def facts(data: Path) -> Facts:
    return Facts("head", "dev", "bucket", "role", "10.0.0.1", "", "us-east-1", "", data=str(data), group="group")


def test_a_job_carries_what_the_command_chose_and_asked_for_again(tmp_path: Path) -> None:
    """As JSON and back; a job of an older version has neither, and one with --retry-failed still means that."""
    job = dataclasses.replace(JOB, where=("a < 2", "b > 1"), redo="stale")
    assert Job.from_json(job.to_json()) == job
    older = {name: value for name, value in json.loads(JOB.to_json()).items() if name not in ("where", "redo")}
    assert Job.from_json(json.dumps(older | {"later": 1})) == JOB
    folder = JobFolder(tmp_path)
    grid = folder.grid / job.grid
    grid.parent.mkdir(parents=True)
    grid.write_text("run: fit:fit\nparameters: {a: [1, 2], b: [1, 2]}\n")
    sweep = sweep_of(folder, job)
    assert sweep.chosen == job.where
    assert [point.params for point in Selection(sweep).space.points(0, 9)] == [{"a": 1, "b": 2}]
