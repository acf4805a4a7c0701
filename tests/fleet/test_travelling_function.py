"""A function that was sent by value, on its way to the head and into the rows: the release has no file of it."""

from __future__ import annotations

import shutil
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import polars as pl
import pytest

import sweepfleet.machine.head.run_job as driving
from sweepfleet.fleet.runs import travel
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import loads
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine.facts import Home
from sweepfleet.machine.head import travelled
from sweepfleet.machine.head.snapshot import copy
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.sweep import run_sweep
from sweepfleet.slot.by_value import to_bytes
from tests.fleet.test_runs_far import job_of
from tests.machine.test_job import facts

SCRIPT = "import near\ndef fit(a):\n    return near.twice(a)\n"
NEAR = "def twice(a):\n    return 2 * a\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a script's function in a run's folder, and a module that it imports."""
    root = tmp_path / "project"
    (root / "study").mkdir(parents=True)
    (root / "runs" / "s").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    (root / "study" / "near.py").write_text(NEAR)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT.replace("import near\n", "").replace("    return", "    import near\n    return"), space)  # noqa: S102
    data = to_bytes(cloudpickle.dumps(space["fit"]), name="__main__:fit", code="0")
    RunFolder(root / "runs" / "s").function.write_bytes(data)
    return root


def sweep_of(project: Path) -> Sweep:
    """As `sweepfleet.sweep` makes it: the grid is no file."""
    text = "name: s\nrun: __main__:fit\npickle: ../runs/s/function.pickle\nparameters: {a: [1, 2, 3]}\n"
    return loads(text, source=project / "study" / "s.yaml")


def sent(project: Path, place: Path) -> tuple[JobFolder, Job]:
    """The job's folder on the head."""
    sweep = sweep_of(project)
    job = replace(job_of(travel.grid_place(sweep, root=project), grid_sha256=travel.sha256_of(sweep)), name="s")
    place.mkdir()
    travel.pack(place / "job.tar", sweep, job, root=project)
    with tarfile.open(place / "job.tar") as tar:
        tar.extractall(place / "s", filter="data")
    return JobFolder(place / "s"), job


def request(root: Path, runs: Path, **more: Any) -> Request:
    return Request(runs=runs, root=root, command_line="python", born_s=time.time(), workers=1, **more)


def test_the_rows_and_their_code_are_those_of_the_run_here(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays with the run and with what is fetched of it, so that it can be resumed anywhere."""
    folder, job = sent(project, tmp_path / "jobs")
    monkeypatch.setattr(travelled, "HOME", Home(tmp_path / "home"))
    release = Home(tmp_path / "home").release(job.release)
    shutil.copytree(project, release, ignore=lambda *_: {"runs"})
    there = travelled.sweep_of(folder, job)
    assert there.warnings == ()
    function = folder.function.read_bytes()
    run_sweep(there, request(release, tmp_path / "there", function=function), Silent())
    run_sweep(sweep_of(project), request(project, project / "runs"), Silent())
    rows = [
        pl.read_parquet(place / "s" / "results.parquet").select("point_id", "param.a", "metric.value", "code")
        for place in (tmp_path / "there", project / "runs")
    ]
    assert rows[0].equals(rows[1])
    assert rows[0]["metric.value"].to_list() == [2, 4, 6]
    run = RunFolder(tmp_path / "there" / "s")
    assert run.function.read_bytes() == function
    copy(run, RunFolder(tmp_path / "copy" / "s"))
    assert RunFolder(tmp_path / "copy" / "s").function.read_bytes() == function


def test_the_driver_gets_it_from_the_jobs_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it starts."""
    folder, _ = sent(project, tmp_path / "jobs")
    seen: list[bytes | None] = []

    def run(_: Sweep, asked: Request, __: object) -> None:
        seen.append(asked.function)
        raise UsageError("stop")

    for module in (driving, travelled):
        monkeypatch.setattr(module, "HOME", Home(tmp_path / "home"))
    monkeypatch.setattr(driving, "run_sweep", run)
    monkeypatch.setattr(driving, "refuse_lost", lambda *_: None)
    monkeypatch.setattr(driving, "tell_end", lambda *_, **__: None)
    for _ in range(2):
        driving.run(folder, facts(tmp_path))
    assert seen == [RunFolder(project / "runs" / "s").function.read_bytes()] * 2


def test_a_function_whose_file_is_gone_is_refused_here(project: Path, tmp_path: Path) -> None:
    RunFolder(project / "runs" / "s").function.unlink()
    with pytest.raises(UsageError, match=r"function\.pickle cannot be read"):
        sent(project, tmp_path / "jobs")
