"""The ends of sweeps that the pipeline handed over: each told once, in a job summary that a golden file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.grid.load import load
from sweepfleet.machine.facts import KEYS
from sweepfleet.pipeline import submit
from sweepfleet.pipeline.collect import collect, mark_reported, summary_part
from sweepfleet.pipeline.marks import Mark, Marks
from sweepfleet.pipeline.sweeps import digest
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.sweep import run_sweep
from tests.cloud.moto import moto_server
from tests.fleet.test_runs_far import OUTPUTS

REGION = "us-east-1"
GOLDEN = Path(__file__).parents[1] / "golden" / "job-summary.md"
FIT = """
def fit(a, kind):
    if a == 3:
        raise ValueError("three")
    return {"loss": (a - 1) ** 2 / 3, "note|d": a}
"""
GRID = """
name: {name}
run: fit:fit
parameters: {{a: [0, 1, 2, {last}], kind: ["@everyone | <b>*x*</b>"]}}
metric: {{name: loss, goal: minimize}}
"""


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fleet]:
    """A cluster of which there is only the bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with moto_server(REGION) as moto:
        moto.client("s3").create_bucket(Bucket=OUTPUTS.bucket)
        yield Fleet(tmp_path, OUTPUTS, Cloud(REGION, endpoint_url=moto.endpoint))


def put(fleet: Fleet, key: str, body: bytes) -> None:
    fleet.cloud.client("s3").put_object(Bucket=OUTPUTS.bucket, Key=key, Body=body)


def run(fleet: Fleet, folder: Path, name: str, *, last: int) -> None:
    """A run as the head leaves it in the bucket; the times that differ each time are set."""
    run_of(fleet, folder, name, grid=GRID.format(name=name, last=last), code=FIT)


def run_of(fleet: Fleet, folder: Path, name: str, *, grid: str, code: str, where: tuple[str, ...] = ()) -> None:
    """Likewise, of any grid; of its points only those that meet `where` are run."""
    folder.mkdir(exist_ok=True)
    (folder / "grid.yaml").write_text(grid)
    (folder / "fit.py").write_text(code)
    request = Request(runs=folder / "runs", root=folder, command_line="test", born_s=0.0, workers=1)
    run_sweep(load(folder / "grid.yaml", where=where), request, Silent())
    made = folder / "runs" / name
    summary = json.loads((made / "summary.json").read_text())
    (made / "summary.json").write_text(json.dumps(summary | {"wall_s": 4000.0}))
    for file in ("report.html", "summary.json", "results.csv", "results.parquet"):
        put(fleet, f"runs/{name}/{file}", (made / file).read_bytes())


def handed_over(fleet: Fleet, name: str, submitted: float, *, volume: str = OUTPUTS.data_volume_id) -> Mark:
    mark = Mark(name, f"sweeps/{name}.yaml", f"digest of {name}", "c" * 40, submitted, volume=volume)
    Marks(fleet.cloud, fleet.outputs).put(mark)
    return mark


def ended(fleet: Fleet, name: str, submitted: float, **more: object) -> None:
    """What the head writes last."""
    said = {"submitted": submitted, "ended": 9.0, "exit_code": 0, "error": "", "worker_hours": 1.25, "usd": 0.5}
    put(fleet, KEYS.ended(name), json.dumps(said | {"budget_usd": 25.0} | more).encode())


def test_each_end_is_told_once_and_what_goes_on_is_named(fleet: Fleet, tmp_path: Path) -> None:
    """Of a run that went well, one with failed points, one refused, one that goes on, and one that began anew."""
    run(fleet, tmp_path / "a", "well", last=5)
    run(fleet, tmp_path / "b", "badly", last=3)
    for name in ("well", "badly", "refused", "going-on", "anew"):
        handed_over(fleet, name, 7.0)
    ended(fleet, "well", 7.0)
    ended(fleet, "badly", 7.0, exit_code=1, usd=None)
    ended(fleet, "refused", 7.0, exit_code=2, error="run: fit:fit: there is no module 'fit' | @here")
    ended(fleet, "anew", 6.0)
    handed_over(fleet, "lost-with-its-cluster", 7.0, volume="vol-of-one-that-was-taken-down")
    ends, active = collect(fleet, into=tmp_path / "collected")
    said = summary_part(ends, active)
    if os.environ.get("SWEEPFLEET_GOLDEN"):
        GOLDEN.write_text(said)
    assert said == GOLDEN.read_text()
    found = {file.relative_to(tmp_path / "collected").as_posix() for file in (tmp_path / "collected").rglob("*.html")}
    assert found == {"well/report.html", "badly/report.html"}
    again, _ = collect(fleet, into=tmp_path / "again")
    assert [one.mark for one in again] == [one.mark for one in ends], "not told, so not forgotten"
    mark_reported(fleet, ends)
    assert collect(fleet, into=tmp_path / "collected") == ([], active)
    marks = {mark.name: mark for mark in Marks(fleet.cloud, fleet.outputs).all()}
    assert marks["refused"].digest == "", "the next merge hands it over again"
    assert marks["well"] == replace(handed_over(fleet, "well", 7.0), collected=True)


def test_what_a_cluster_that_was_taken_down_was_asked_for_is_asked_of_the_next(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data volume tells them apart: with it the run has gone."""
    grid = tmp_path / "sweeps" / "one.yaml"
    grid.parent.mkdir()
    grid.write_text("name: one\nrun: fit:fit\nparameters: {a: [1]}\n")
    Marks(fleet.cloud, fleet.outputs).put(replace(handed_over(fleet, "one", 1.0), digest=digest(load(grid))))

    def order(*_: object, **__: object) -> None:
        raise ClusterError("It is asked for.")

    monkeypatch.setattr(submit, "order", order)
    said: list[str] = []
    assert submit.submit_changed(fleet, say=said.append) == []
    assert said == ["sweeps/one.yaml: submitted before"]
    new = replace(fleet, outputs=replace(OUTPUTS, data_volume_id="vol-of-the-next"))
    assert submit.submit_changed(new, say=said.append) == ["sweeps/one.yaml: It is asked for."]


def test_a_configuration_of_which_only_some_points_have_run_is_never_the_best(fleet: Fleet, tmp_path: Path) -> None:
    """Of a run that is not complete, the table is the summary's best, which knows the plan."""
    grid = "name: part\nrun: fit:fit\nparameters: {a: [0, 1], fold: [0, 1, 2]}\nmetric: {name: loss, over: fold}\n"
    code = "def fit(a, fold):\n    return {'loss': 0.25 if a else 0.5}\n"
    run_of(fleet, tmp_path / "a", "part", grid=grid, code=code, where=("a == 0 or fold == 0",))
    handed_over(fleet, "part", 7.0)
    ended(fleet, "part", 7.0, exit_code=1)
    said = summary_part(*collect(fleet, into=tmp_path / "collected"))
    assert "| a | mean | sd | n | of |" in said
    assert "| 0 | 0.5 | 0 | 3 | 3 |" in said
    assert "0.25" not in said


def test_nothing_to_tell(fleet: Fleet, tmp_path: Path) -> None:
    assert collect(fleet, into=tmp_path / "collected") == ([], [])
    assert summary_part([], []) == "No sweep has ended since the last check.\n"
    assert not (tmp_path / "collected").exists()
