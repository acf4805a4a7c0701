"""Runs from afar, without a cluster: what travels, what is shown of it, and what is fetched; AWS is moto."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sweepfleet.fleet.runs.fetch as fetching
import sweepfleet.machine.head.travelled as travelling
from sweepfleet.fleet.errors import CancelledError, ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import HostKeyError
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs import travel, watch
from sweepfleet.fleet.runs.fetch import MARK, PARTS, _say_skipped, check_place, fetch
from sweepfleet.fleet.runs.fetch_names import sort_out
from sweepfleet.fleet.runs.jobs import State, progress_of
from sweepfleet.fleet.runs.on_stack import fetched
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.load import load
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.facts import Home
from sweepfleet.machine.head.follow import follow
from sweepfleet.machine.head.snapshot import alone, copy
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.run.folder import RunFolder, StorageError
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.run_files import write_files
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.summary import Facts
from tests.cloud.moto import Moto, moto_server
from tests.support import batches, space

REGION = "eu-west-1"
BUCKET = "sweepfleet-dev-0123"
GRID = "name: trial\nrun: fit:fit\nparameters: {a: [1, 2]}\npoints: [extra.csv, deep/more.json, ../shared.csv]\n"


def outputs_of(stack: str) -> Outputs:
    values = {"str": "text", "int": 3, "tuple[str, ...]": ("a",)}
    made = {one.name: values[str(one.type)] for one in dataclasses.fields(Outputs)}
    return Outputs(**made | {"stack": stack, "bucket": BUCKET})


OUTPUTS = outputs_of("dev")


def job_of(grid: str, **other: Any) -> Job:
    values: dict[str, Any] = {"name": "trial", "release": "a" * 64, "environment": "e", "engine": "n", "grid": grid}
    values |= {"command_line": "inv sweep", "submitted": 0.0, "retry_failed": False, "workers_needed": 1}
    return Job(**values | other)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a grid that names points files in its folder, below and beside it."""
    root = tmp_path / "project"
    folder = root / "sweeps" / "trial"
    (folder / "deep").mkdir(parents=True)
    (folder / "grid.yaml").write_text(GRID)
    (folder / "extra.csv").write_text("a\n3\n")
    (folder / "unused.csv").write_text("a\n9\n")
    (folder / "deep" / "more.json").write_text('[{"a": 4}]')
    (root / "sweeps" / "shared.csv").write_text("a\n5\n")
    return root


# What travels


def test_a_grid_travels_with_the_points_files_that_it_names_and_no_others(project: Path, tmp_path: Path) -> None:
    """Each at its place in the project, so that the same grid finds them over there, in subfolders and above."""
    grid = project / "sweeps" / "trial" / "grid.yaml"
    here = load(grid, overrides=["a=7"])
    job = job_of(travel.grid_place(here, root=project))
    travel.pack(tmp_path / "job.tar", here, job, root=project)
    there = tmp_path / "there"
    with tarfile.open(tmp_path / "job.tar") as tar:
        names = sorted(tar.getnames())
        tar.extractall(there, filter="data")
    places = ("extra.csv", "deep/more.json", "grid.yaml")
    assert names == sorted(
        ["job.json", "grid/sweeps/shared.csv", *(f"grid/sweeps/trial/{place}" for place in places)]
    )
    assert Job.from_json((there / "job.json").read_text()) == job
    assert load(there / "grid" / job.grid).plan == here.plan
    assert travel.sha256_of(here) == hashlib.sha256(GRID.encode()).hexdigest()


@pytest.mark.parametrize("inside", [True, False])
def test_a_points_file_that_would_not_be_found_on_the_cluster_is_refused(project: Path, *, inside: bool) -> None:
    """An absolute path leads nowhere there, even where it leads into the project here; and nothing else travels."""
    elsewhere = project / "far.csv" if inside else project.parent / "far.csv"
    elsewhere.write_text("a\n1\n")
    grid = project / "sweeps" / "trial" / "grid.yaml"
    grid.write_text(f"run: fit:fit\npoints: {elsewhere}\n")
    with pytest.raises(UsageError, match=r"points: .*far\.csv is an absolute path.*--local"):
        travel.points_files(load(grid), root=project)
    if not inside:
        grid.write_text("run: fit:fit\npoints: ../../../far.csv\n")
        with pytest.raises(UsageError, match=r"points: \.\./\.\./\.\./far\.csv is outside the project"):
            travel.points_files(load(grid), root=project)


def test_a_grid_outside_the_project_is_refused_and_one_reached_by_a_link_is_not(project: Path) -> None:
    link = project.parent / "link"
    link.symlink_to(project)
    assert travel.grid_place(load(link / "sweeps/trial/grid.yaml"), root=project) == "sweeps/trial/grid.yaml"
    outside = project.parent / "grid.yaml"
    outside.write_text("run: fit:fit\nparameters: {a: [1]}\n")
    with pytest.raises(UsageError, match="outside the project"):
        travel.grid_place(load(outside), root=project)


# On the head


def travelled(project: Path, place: Path, *, text: str = GRID) -> tuple[JobFolder, Job]:
    """A job's folder on the head, and the job."""
    grid = project / "sweeps" / "trial" / "grid.yaml"
    grid.write_text(text)
    sweep = load(grid)
    job = job_of(travel.grid_place(sweep, root=project), grid_sha256=travel.sha256_of(sweep))
    travel.pack(place / "job.tar", sweep, job, root=project)
    with tarfile.open(place / "job.tar") as tar:
        tar.extractall(place / "job", filter="data")
    return JobFolder(place / "job"), job


def test_files_that_the_release_has_otherwise_are_named_in_the_results(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid need not be committed; whoever reads its results learns that the commit does not have it."""
    home = Home(tmp_path / "home")
    monkeypatch.setattr(travelling, "HOME", home)
    folder, job = travelled(project, tmp_path)
    release = home.release(job.release)
    (release / "sweeps").mkdir(parents=True)
    sweep = travelling.sweep_of(folder, job)
    assert sweep.source == release / "sweeps" / "trial" / "grid.yaml"
    (note,) = sweep.warnings
    for name in ("sweeps/shared.csv", "sweeps/trial/deep/more.json", "sweeps/trial/grid.yaml"):
        assert name in note
    for name in ("shared.csv", "trial/deep/more.json", "trial/extra.csv", "trial/grid.yaml"):
        (release / "sweeps" / name).parent.mkdir(parents=True, exist_ok=True)
        (release / "sweeps" / name).write_bytes((project / "sweeps" / name).read_bytes())
    assert travelling.sweep_of(folder, job).warnings == ()
    (release / "sweeps" / "shared.csv").write_text("a\n6\n")
    (note,) = travelling.sweep_of(folder, job).warnings
    assert note.startswith("sweeps/shared.csv: ")


def test_a_command_in_a_folder_that_the_release_lacks_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run nowhere; a function needs no folder."""
    monkeypatch.setattr(travelling, "HOME", Home(tmp_path / "home"))
    folder, job = travelled(project, tmp_path, text="command: [awk, -f, fit.awk]\nparameters: {a: [1]}\n")
    with pytest.raises(UsageError, match=r"sweeps/trial, the grid's folder.*inv push"):
        travelling.sweep_of(folder, job)


def test_a_job_of_a_later_version_can_be_read() -> None:
    job = job_of("grid.yaml")
    assert Job.from_json(json.dumps(json.loads(job.to_json()) | {"more": 1})) == job


def record(folder: RunFolder, indexes: range) -> None:
    """Points of `space` that have ended, in the folder's ledger."""
    here = space({"a": range(10)})
    folder.path.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(here)
        ledger.record(batches([(here.point(i), float(i)) for i in indexes]), git_commit=None, env_hash=None)


def test_results_while_a_run_goes_on_are_those_that_are_committed(tmp_path: Path) -> None:
    """Copied beside a driver that has its ledger open, writes before and after, and is not held up."""
    run, target = RunFolder(tmp_path / "runs" / "trial"), RunFolder(tmp_path / "copy" / "trial")
    with pytest.raises(UsageError, match="The run trial has no results yet"):
        copy(run, target)
    here = space({"a": range(10)})
    run.path.mkdir(parents=True)
    with run.locked(), contextlib.closing(Ledger(run.ledger)) as ledger:
        ledger.adopt(here)
        ledger.record(batches([(here.point(i), float(i)) for i in range(4)]), git_commit=None, env_hash=None)
        copy(run, target)
        ledger.record(batches([(here.point(4), 4.0)]), git_commit=None, env_hash=None)
    assert pl.read_parquet(target.parquet)["param.a"].to_list() == [0, 1, 2, 3]
    summary = json.loads(target.summary.read_text())
    assert (summary["name"], summary["state"], summary["done"], summary["points"]) == ("trial", "interrupted", 4, 10)
    assert {file.name for file in target.path.iterdir() if file.name.startswith("ledger")} == {"ledger.sqlite"}


def test_the_summary_of_a_run_that_has_ended_meanwhile_stays_its_own(tmp_path: Path) -> None:
    """A copy made a moment after the end does not take away what the run's command knew of itself."""
    run, target = RunFolder(tmp_path / "runs" / "trial"), RunFolder(tmp_path / "copy" / "trial")
    record(run, range(10))
    progress = Progress(total=10, exact=True, resumed=0, done=10, computed=10, slots=3)
    write_files(run, Facts(metric=None, progress=progress))
    copy(run, target)
    assert json.loads(target.summary.read_text())["slots"] == 3


def test_one_stores_at_a_time(tmp_path: Path) -> None:
    """Else older results that were on their way longer would come last."""
    folder, order = JobFolder(tmp_path), []

    def second() -> None:
        with alone(folder):
            order.append("second")

    with alone(folder):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_whoever_follows_hears_of_every_change_and_last_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the head's clock beside it, which is not a change."""
    folder = JobFolder(tmp_path)
    folder.job.touch()
    folder.active.touch()
    steps: Iterator[Any] = iter(
        [
            lambda: folder.write(folder.progress, '{"state": "waiting"}'),
            lambda: None,
            lambda: folder.write(folder.notes, '[{"at": 1.0, "text": "AWS has none"}]'),
            lambda: (folder.write(folder.progress, '{"state": "ended", "exit_code": 1}'), folder.active.unlink()),
        ]
    )
    monkeypatch.setattr("sweepfleet.machine.head.follow.time.sleep", lambda _: next(steps)())
    follow(folder)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    states = [(None, False), ("waiting", False), ("waiting", False), ("ended", True)]
    assert [(one.get("state"), one["ended"]) for one in said] == states
    assert [one.get("notes") for one in said] == [None, None, ["AWS has none"], ["AWS has none"]]
    assert all(isinstance(one["now"], float) for one in said)


def test_a_run_whose_head_goes_down_has_not_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its volume is gone before its connections are, and is back after they can be made again."""
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    folder.job.touch()
    folder.active.touch()
    monkeypatch.setattr(
        "sweepfleet.machine.head.follow.time.sleep", lambda _: folder.path.rename(tmp_path / "unmounted")
    )
    for said_before in ([False], []):
        with pytest.raises(SystemExit, match="does not exist"):
            follow(folder)
        assert [json.loads(line)["ended"] for line in capsys.readouterr().out.splitlines()] == said_before


class Breaking:
    """A head whose connection breaks while it takes a sweep over."""

    def ask(self, *_: str) -> str:
        return "incoming\n"

    def put(self, file: Path, _: str) -> None:
        assert tarfile.is_tarfile(file)

    def run(self, *_: str, **__: bool) -> Any:
        raise ClusterError("the connection broke")


def test_whoever_cannot_know_whether_a_sweep_was_taken_over_is_told_how_to_find_out(project: Path) -> None:
    """It may go on there, and cost."""
    sweep = load(project / "sweeps" / "trial" / "grid.yaml")
    job = job_of(travel.grid_place(sweep, root=project), grid_sha256=travel.sha256_of(sweep))
    head: Any = Breaking()
    with pytest.raises(ClusterError, match=r"connection broke.*inv status.*inv attach --name \S+.*inv cancel --name"):
        runs.submit(head, sweep, job, root=project)


@pytest.mark.parametrize("mounted", [True, False])
def test_what_needs_the_data_volume_is_done_on_it_or_not_at_all(
    *, mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_volume, "DATA", "/" if mounted else str(tmp_path))
    script = data_volume.needed('touch "$1"; echo done')
    done = subprocess.run(
        ["sh", "-c", script, "it", str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert (tmp_path / "file").exists() == mounted
    assert (done.returncode, done.stdout) == ((0, "done\n") if mounted else (1, ""))
    assert mounted or done.stderr.strip() == data_volume.NOT_MOUNTED


# What is shown


def state(kind: str, **more: Any) -> State:
    return State.of({"state": kind, "now": time.time()} | more)


RUNNING = {"progress": dataclasses.asdict(Progress(total=4, exact=True, resumed=0, done=1)), "best": "best loss 1"}
ENDED = {"ended": True, "exit_code": 0}


class Afar:
    """A cluster whose head says these things, one list a connection; an error ends a connection, or refuses one."""

    def __init__(self, *connections: list[State | Exception]) -> None:
        self.connections = list(connections)

    @contextlib.contextmanager
    def head(self) -> Iterator[Iterator[State]]:
        said = self.connections.pop(0)
        if said and isinstance(said[0], Exception):
            raise said[0]
        yield self._say(said)

    def _say(self, said: list[State | Exception]) -> Iterator[State]:
        for one in said:
            if isinstance(one, Exception):
                raise one
            yield one


def seen(monkeypatch: pytest.MonkeyPatch, *connections: list[State | Exception]) -> State:
    """Watch a run on such a cluster."""
    monkeypatch.setattr(watch.time, "sleep", lambda _: None)
    monkeypatch.setattr(runs, "follow", lambda head, _: head)
    fleet: Any = Afar(*connections)
    return watch.watch(fleet, "trial", quiet=False)


def test_a_line_that_breaks_is_told_once_and_taken_up_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it breaks without a word, and when the head cannot be reached for a while."""
    gone = ClusterError("the line broke")
    last = seen(
        monkeypatch,
        [state("running", **RUNNING), gone],
        [gone],
        [gone],
        [state("running", **RUNNING)],
        [state("ended", **ENDED)],
    )
    assert (last.ended, last.exit_code) == (True, 0)
    said = capsys.readouterr().out
    assert said.count("The connection is lost; the sweep is running") == 2
    assert said.count("The connection is back") == 2


def test_what_the_keeper_says_of_missing_workers_is_on_the_terminal_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the run waits, and while it runs."""
    said = ["AWS starts too few workers: no spot.", "2 on-demand workers in place of spot instances."]
    states = [
        state("waiting", waiting_for="workers", notes=said[:1]),
        state("running", notes=said[:1], **RUNNING),
        state("running", notes=said, **RUNNING),
        state("ended", notes=said, **ENDED),
    ]
    seen(monkeypatch, list(states))
    shown = " ".join(capsys.readouterr().out.split())
    assert [shown.count(one) for one in said] == [1, 1]


def test_a_head_that_stays_away_is_given_up_and_the_run_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE_S", -1.0)
    with pytest.raises(ClusterError, match=r"gone The sweep is running\. Watch it again: inv attach --name trial"):
        seen(monkeypatch, [ClusterError("gone")])


def test_another_head_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostKeyError):
        seen(monkeypatch, [state("running", **RUNNING)], [HostKeyError("another key")])


def test_a_stack_that_was_taken_down_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownError):
        seen(monkeypatch, [state("running", **RUNNING)], [DownError("taken down elsewhere")])


def test_a_head_that_is_gone_is_waited_for_and_another_one_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Made meanwhile by this checkout. Nothing runs without one, and nobody says that it does."""
    monkeypatch.setattr(watch.time, "sleep", lambda _: StackFolder(tmp_path, "dev").keep(OUTPUTS))
    tries = iter(range(3))
    monkeypatch.setattr(runs, "follow", lambda _, __: iter([state("ended", **ENDED)]))
    old = dataclasses.replace(OUTPUTS, head_id="i-old")

    @contextlib.contextmanager
    def head(fleet: Fleet) -> Iterator[None]:
        assert next(tries, None) is not None, "the other head is not found"
        if fleet.outputs.head_id == "i-old":
            raise GoneError("AWS has no head i-old any more.")
        yield None

    monkeypatch.setattr(Fleet, "head", head)
    monkeypatch.setattr(Fleet, "awake_head", head)
    assert watch.watch(Fleet(tmp_path, old, Cloud("us-east-1")), "trial", quiet=False).ended
    said = capsys.readouterr().out
    assert "The head is gone. Trying again. (AWS has no head i-old any more.)" in said
    assert "The connection is back." in said
    assert "the sweep is running" not in said


class Screen:
    """Writes down what is shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def say(self, text: str) -> None:
        self.seen.append(text)

    def update(self, progress: Progress) -> None:
        self.seen.append(f"{progress.done} of {progress.total}")

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        self.seen.append(f"+{what}")
        yield
        self.seen.append(f"-{what}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.seen.append("+bar")
        yield
        self.seen.append("-bar")


def test_one_thing_is_on_the_screen_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on this machine: what is waited for, then the bar up to its last state, then what is waited for."""
    screen = Screen()
    monkeypatch.setattr(watch, "observer_of", lambda *_, **__: screen)
    all_done = {"progress": RUNNING["progress"] | {"done": 4}}
    seen(
        monkeypatch,
        [
            state("starting"),
            state("waiting", waiting_for="workers"),
            state("waiting", waiting_for="workers"),
            state("running", **RUNNING),
            state("waiting", waiting_for="storing the results", **all_done),
            state("ended", **ENDED, **all_done),
        ],
    )
    assert screen.seen == [
        *("+starting", "Waiting for workers", "-starting", "+waiting for workers", "-waiting for workers"),
        *("+bar", "1 of 4", "4 of 4", "-bar", "+storing the results", "-storing the results"),
    ]


def test_a_sweep_that_ended_between_two_looks_has_its_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on this machine, where the last state stays on the screen."""
    screen = Screen()
    monkeypatch.setattr(watch, "observer_of", lambda *_, **__: screen)
    all_done = {"progress": RUNNING["progress"] | {"done": 4}}
    seen(monkeypatch, [state("starting"), state("ended", **ENDED, **all_done)])
    assert screen.seen == ["+starting", "-starting", "+bar", "4 of 4", "-bar"]


def test_times_are_shown_by_this_machines_clock() -> None:
    """A head whose clock is an hour ahead makes the rate no other."""
    there = time.time() + 3600
    progress = dataclasses.asdict(Progress(total=4, exact=True, resumed=0, first_submit_s=there - 10))
    here = progress_of(State.of({"progress": progress | {"later": 1}, "now": there}))
    assert here.first_submit_s is not None
    assert here.first_submit_s == pytest.approx(time.time() - 10, abs=60)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"exit_code": 2, "error": "no such target"}, UsageError, "no such target"),
        ({}, CancelledError, "cancelled before it had results"),
        ({"exit_code": 1, "error": "Traceback"}, ClusterError, "ended without results: Traceback"),
    ],
)
def test_a_run_that_ended_without_results_says_why(
    said: dict[str, Any], error: type[SweepfleetError], words: str, tmp_path: Path
) -> None:
    nobody: Any = None
    with pytest.raises(error, match=words):
        fetched(nobody, state("ended", **said), "trial", runs_folder=tmp_path, steps=Steps())


# What is fetched


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture
def cloud(server: Moto, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server.reset()
    server.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Cloud(REGION, endpoint_url=server.endpoint)


class Stored:
    """A run in the bucket, as the head has stored it."""

    def __init__(self, server: Moto, place: Path) -> None:
        self.s3 = server.client("s3")
        self.folder = RunFolder(place / "head" / "trial")
        self.grow(range(3))

    def grow(self, indexes: range) -> None:
        """Have these points ended, too, and store everything."""
        record(self.folder, indexes)
        write_files(self.folder, Facts(metric=None))
        for file in self.folder.path.iterdir():
            self.put(file.name, file.read_bytes())

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=f"runs/trial/{name}", Body=data)


@pytest.fixture
def stored(cloud: Cloud, server: Moto, tmp_path: Path) -> Stored:
    return Stored(server, tmp_path)


def bring(cloud: Cloud, runs: Path, outputs: Outputs = OUTPUTS) -> RunFolder:
    return fetch(cloud, outputs, "trial", runs=runs, steps=Steps(say=lambda _: None))


def without_steps(said: list[str]) -> list[str]:
    """What stays to be read when it has ended."""
    return [line for line in said if not line.startswith(("Looking in the bucket", "Fetching the results"))]


def contents(folder: RunFolder) -> dict[str, bytes]:
    """Every file, but the mark and the lock."""
    files = (path for path in folder.path.rglob("*") if path.is_file())
    return {
        file.relative_to(folder.path).as_posix(): file.read_bytes()
        for file in files
        if file.name not in {MARK, ".lock"}
    }


def test_a_run_is_fetched_with_all_its_files_and_again_only_what_has_changed(
    cloud: Cloud, stored: Stored, tmp_path: Path
) -> None:
    """Looking at it in between is no change of it."""
    stored.put("artifacts/ab/plot.png", b"png")
    folder = bring(cloud, tmp_path / "runs")
    assert contents(folder) == contents(stored.folder) | {"artifacts/ab/plot.png": b"png"}
    before = {name: (folder.path / name).stat().st_ino for name in contents(folder)}
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        assert ledger.counts().done == 3
    bring(cloud, tmp_path / "runs")
    assert {name: (folder.path / name).stat().st_ino for name in contents(folder)} == before
    stored.grow(range(3, 6))
    bring(cloud, tmp_path / "runs")
    assert (folder.path / "artifacts/ab/plot.png").stat().st_ino == before["artifacts/ab/plot.png"]
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        assert ledger.counts().done == 6


def test_an_older_clock_or_a_touched_file_hides_no_change(cloud: Cloud, stored: Stored, tmp_path: Path) -> None:
    """What is the same is told by its content, not by times on two machines."""
    folder = bring(cloud, tmp_path / "runs")
    stored.put("summary.json", stored.folder.summary.read_bytes().replace(b"trial", b"other"))
    os.utime(folder.summary, (2e9, 2e9))
    bring(cloud, tmp_path / "runs")
    assert b"other" in folder.summary.read_bytes()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=["Ctrl-C", "full"])
def test_a_fetch_that_is_broken_off_leaves_whole_files_and_goes_on(
    cloud: Cloud, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """Wherever it is broken off: in the first file, in the last, in a second fetch."""
    came: list[str] = []
    limit = 0

    class S3:
        """Ends in the middle of a file."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def download_file(self, bucket: str, key: str, file: str, **more: Any) -> None:
            if len(came) == limit:
                Path(file).write_bytes(b"half")
                raise stop
            came.append(key.removeprefix("runs/trial/"))
            self._real.download_file(bucket, key, file, **more)

    real = Cloud.client
    monkeypatch.setattr(Cloud, "client", lambda self, service: S3(real(self, service)))
    folder = RunFolder(tmp_path / "runs" / "trial")
    whole = contents(stored.folder)
    error = StorageError if isinstance(stop, OSError) else KeyboardInterrupt
    for limit in range(len(whole)):  # noqa: B007 - S3 reads it
        with pytest.raises(error):
            bring(cloud, tmp_path / "runs")
        assert contents(folder) == {name: whole[name] for name in came}
    limit = len(whole)
    bring(cloud, tmp_path / "runs")
    assert came[0] == "ledger.sqlite"  # of which all others can be made
    assert sorted(came) == sorted(whole)  # each once
    stored.grow(range(3, 6))
    came.clear()
    limit = 0
    with pytest.raises(error):
        bring(cloud, tmp_path / "runs")
    assert contents(folder) == whole
    limit = len(whole)
    bring(cloud, tmp_path / "runs")
    assert contents(folder) == contents(stored.folder)


def test_a_fetch_that_was_killed_leaves_nothing_in_the_way(
    cloud: Cloud, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the ledger takes its place, or after: the next fetch goes on, and clears up."""
    folder = RunFolder(tmp_path / "runs" / "trial")
    expect, write = fetching._expect, fetching.Mark.write

    class Killed(BaseException):
        """Nothing of ours runs after it."""

    def before(*arguments: Any) -> None:
        expect(*arguments)
        raise Killed

    def after(self: Any, folder: RunFolder) -> None:
        write(self, folder)
        if folder.ledger.exists():
            raise Killed

    for more in (range(0), range(3, 6)):  # the first time, and over what was fetched before
        if more:
            stored.grow(more)
        for place, name, kill in ((fetching, "_expect", before), (fetching.Mark, "write", after)):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, kill)
                with pytest.raises(Killed):
                    bring(cloud, tmp_path / "runs")
            (folder.path / PARTS).mkdir(exist_ok=True)
            (folder.path / PARTS / "half").write_bytes(b"half")
        bring(cloud, tmp_path / "runs")
        assert contents(folder) == contents(stored.folder)


def test_a_log_of_the_ledger_before_is_not_read_with_the_new_one(
    cloud: Cloud, stored: Stored, tmp_path: Path
) -> None:
    folder = bring(cloud, tmp_path / "runs")
    stored.grow(range(3, 6))
    for log in ("-wal", "-shm"):
        folder.path.joinpath(f"ledger.sqlite{log}").write_bytes(b"")
    bring(cloud, tmp_path / "runs")
    assert contents(folder) == contents(stored.folder)


def test_a_run_of_this_machine_or_another_stack_is_left_alone(cloud: Cloud, stored: Stored, tmp_path: Path) -> None:
    """And so is a fetched one that went on here: its new points are nowhere else."""
    mine = RunFolder(tmp_path / "here" / "trial")
    record(mine, range(2))
    theirs = bring(cloud, tmp_path / "theirs")
    went_on = bring(cloud, tmp_path / "on")
    record(went_on, range(7, 9))
    for folder, outputs, words in (
        (mine, OUTPUTS, "made on this machine"),
        (theirs, outputs_of("lab"), "a run of the stack dev"),
        (went_on, OUTPUTS, "was resumed on this machine"),
    ):
        before = contents(folder)
        for refused in (
            lambda folder=folder, outputs=outputs: bring(cloud, folder.path.parent, outputs),
            lambda folder=folder, outputs=outputs: check_place(folder, outputs),
        ):
            with pytest.raises(UsageError, match=f"{words}.*--name trial-2"):
                refused()
        assert contents(folder) == before


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("../../evil.txt", "points outside"),
        ("artifacts/../ledger.sqlite", "points outside"),
        ("artifacts//evil.txt", "points outside"),
        ("./evil.txt", "points outside"),
        ("/etc/artifacts/evil.txt", "points outside"),
        ("results.parquet/artifacts/x", "only artifacts are"),
        ("report.html/artifacts/x", "only artifacts are"),
        ("new.json/artifacts/x", "only artifacts are"),
        ("artifacts", "artifacts is a folder"),
        ("artifacts/good/x/artifacts/deeper", "artifacts/good/x is a file, not a folder"),
        (f"artifacts/good/{'n' * 256}", "too long"),
        (f"artifacts/good/{'é' * 128}", "too long"),
        (f"artifacts/good/{'/'.join(['n' * 200] * 4)}", ""),
    ],
)
def test_no_name_of_an_object_keeps_the_others_from_being_fetched(
    cloud: Cloud, stored: Stored, tmp_path: Path, key: str, why: str
) -> None:
    """Workers choose names. Each that can be no file is said with its reason, and nothing is out of its place."""
    stored.put("artifacts/good/x", b"good")
    stored.put(key, b"evil")
    expected = contents(stored.folder) | {"artifacts/good/x": b"good"} | ({} if why else {key: b"evil"})
    for _ in range(2):
        said: list[str] = []
        folder = fetch(cloud, OUTPUTS, "trial", runs=tmp_path / "runs", steps=Steps(say=said.append))
        said = without_steps(said)
        assert contents(folder) == expected
        assert (why in said[0], len(said)) == (True, 3 if why else 1), said
        assert all(line.isprintable() for line in said)
    assert not (tmp_path / "evil.txt").exists()


def test_a_file_that_became_a_folder_meanwhile_keeps_no_other_from_being_fetched(
    cloud: Cloud, stored: Stored, tmp_path: Path
) -> None:
    stored.put("artifacts/ab/model", b"1")
    bring(cloud, tmp_path / "runs")
    stored.s3.delete_object(Bucket=BUCKET, Key="runs/trial/artifacts/ab/model")
    stored.put("artifacts/ab/model/weights", b"2")
    stored.put("artifacts/ab/other", b"3")
    said: list[str] = []
    folder = fetch(cloud, OUTPUTS, "trial", runs=tmp_path / "runs", steps=Steps(say=said.append))
    assert (folder.artifacts / "ab" / "other").read_bytes() == b"3"
    assert without_steps(said)[0].startswith("Skipped artifacts/ab/model/weights: ")


def test_of_thousands_of_skipped_objects_the_first_are_named() -> None:
    said: list[str] = []
    _say_skipped(
        sort_out([f"x/artifacts/{n}" for n in range(5000)], one_case=False)[1], "s3://b/runs/x/", said.append
    )
    assert len(said) == 11
    assert said[-1].endswith("4,990 more were skipped.")


@pytest.mark.parametrize(
    ("one_case", "kept"),
    [
        (False, {"artifacts/1/A", "artifacts/1/a", "artifacts/1/\u00e9", "artifacts/1/e\u0301", "artifacts/2/B/x"}),
        (True, {"artifacts/1/A", "artifacts/1/e\u0301"}),
    ],
)
def test_names_that_differ_in_case_alone_are_one_file_where_the_file_system_says_so(
    *, one_case: bool, kept: set[str]
) -> None:
    """The first of them in the order of their letters; else one would silently overwrite the other."""
    names = {
        "artifacts/1/A",
        "artifacts/1/a",
        "artifacts/1/\u00e9",
        "artifacts/1/e\u0301",
        "artifacts/2/b",
        "artifacts/2/B/x",
    }
    good, skipped = sort_out(names, one_case=one_case)
    assert set(good) == kept | {"artifacts/2/b"}
    assert {one.name for one in skipped} == names - set(good)


def test_a_fetch_shows_what_it_does_and_how_much_has_come(cloud: Cloud, stored: Stored, tmp_path: Path) -> None:
    stored.put("artifacts/ab/model", bytes(3_000_000))
    seen: list[str] = []

    class Heard(Steps):
        def step(self, text: str) -> None:
            seen.append(text)

        update = say = step

    fetch(cloud, OUTPUTS, "trial", runs=tmp_path / "runs", steps=Heard())
    assert seen[0] == "Looking in the bucket for the results of trial"
    what, _, size = seen[1].rpartition(", ")
    assert what == "Fetching the results of trial"
    assert seen[-2:] == [f"{what}, {size.removesuffix(' MB')} of {size}", f"Fetched {size}"]


@pytest.mark.parametrize("name", [".w.part1", ".cache.parts/x", "n" * 255])
def test_artifacts_may_have_any_name(cloud: Cloud, stored: Stored, tmp_path: Path, name: str) -> None:
    stored.put(f"artifacts/ab/{name}", b"mine")
    for _ in range(2):
        folder = bring(cloud, tmp_path / "runs")
        assert (folder.artifacts / "ab" / name).read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["", "..", "../trial", "a/b"])
def test_a_name_that_is_a_path_is_refused(cloud: Cloud, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looks like a path"):
        fetch(cloud, OUTPUTS, name, runs=tmp_path, steps=Steps())


def test_a_run_without_results_makes_no_folder(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no results of the run trial yet"):
        bring(cloud, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
