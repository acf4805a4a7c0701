"""The pipeline in the rehearsal cloud: a cluster and its sweeps by commits, from a machine without an SSH key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.infra.layout import BucketLayout
from sweepfleet.machine.facts import KEYS
from tests.cloud import engine
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import STACK, Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
FIT = """\
import time
from pathlib import Path

def fit(a):
    return {"loss": (a - 3) ** 2}

def slow(a):
    time.sleep(0.05)
    return a

def gated(a, gate):
    while a >= 20 and not Path(gate).exists():
        time.sleep(0.1)
    return a
"""
GATE = "/run/gate-is-open"
GATED = (
    f"run: squares:gated\nparameters: {{a: {{range: [0, 200]}}, gate: {{value: {GATE}}}}}\nexecution: {{bundle: 1}}\n"
)
DEAR = "run: squares:slow\nparameters: {a: {range: [0, 1000000]}}\nexecution: {max_cost: 0.00001}\n"
GRID = "name: squares\nrun: squares:fit\nparameters: {a: [VALUES]}\nmetric: {name: loss}\n"
PATIENCE_S = 300
KEPT = "the operator's key"  # which no job has


class Runner:
    """A pipeline's machine: a fresh checkout for each job, with a role in AWS and nothing else."""

    def __init__(self, laptop: Laptop, tmp: Path) -> None:
        self.laptop = laptop
        self._summary = tmp / "summary.md"

    def merge(self, **files: str) -> str:
        """Commit files under sweeps/, as a merge does; the commit."""
        for name, text in files.items():
            file = self.laptop.path / "sweeps" / name.replace("__", ".")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return self.laptop.commit("A sweep")

    def job(self, *words: str, code: int = 0) -> str:
        """One job: what it prints, and what it says on standard error."""
        shutil.rmtree(self.laptop.path / ".sweepfleet", ignore_errors=True)
        self._summary.unlink(missing_ok=True)
        done = self.laptop.inv(*words, "--stack", STACK, code=code, GITHUB_STEP_SUMMARY=str(self._summary))
        return done.stdout + done.stderr

    @property
    def summary(self) -> str:
        """What the job has written into its summary."""
        return self._summary.read_text()

    def until_ended(self, sweep: str) -> None:
        """Wait until the head has said how what was handed over last has ended."""
        mark = self._stored(f"{BucketLayout().pipeline}{sweep}.json")
        until(
            lambda: self._stored(KEYS.ended(sweep)).get("submitted", 0.0) >= mark["submitted"],
            what=f"{sweep} has ended",
            timeout_s=PATIENCE_S,
        )

    def _stored(self, key: str) -> dict[str, Any]:
        s3 = self.laptop.cloud.client("s3")
        try:
            found = s3.get_object(Bucket=self.laptop.outputs.bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            return {}
        return dict(json.loads(found["Body"].read()))

    def results(self) -> None:
        """The job that tells of what has ended; squares is among it."""
        self.job("ci.results", "--into", str(self.laptop.home / "collected"))
        assert "### ✅ Sweep squares" in self.summary


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A stack whose settings are committed, of which nothing is made yet."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.configure(maxWorkers=1)
        (laptop.home / ".ssh").rename(laptop.home / KEPT)
        yield Runner(laptop, tmp_path_factory.mktemp("runner"))


def test_a_stack_that_was_reviewed_is_made_and_has_the_code(runner: Runner) -> None:
    """From nothing: the plan of the pull request is applied, and the commit pushed, and no SSH key is anywhere."""
    runner.merge(squares__yaml=GRID.replace("VALUES", "1, 2, 3"), squares__py=FIT)
    assert "There is no saved plan of exactly these files" in runner.job("ci.deploy", code=3)
    runner.job("ci.preview", "--base", "HEAD~1")
    assert "squares" in runner.summary
    said = runner.job("ci.deploy")
    assert "The cluster's release is" in said


def test_a_merged_sweep_runs_and_its_end_is_told_once(runner: Runner) -> None:
    said = runner.job("ci.sweeps")
    assert "sweeps/squares.yaml: Submitted to the head" in said
    assert "sweeps/squares.yaml: submitted before" in runner.job("ci.sweeps")
    runner.until_ended("squares")
    runner.results()
    assert "| Points done | 3 of 3 |" in runner.summary
    folder = runner.laptop.home / "collected" / "squares"
    assert "<html" in (folder / "report.html").read_text()
    assert pl.read_parquet(folder / "results.parquet")["metric.loss"].sort().to_list() == [0, 1, 4]
    runner.job("ci.results")
    assert runner.summary.strip() == "No sweep has ended since the last check."


def test_of_a_sweep_that_is_merged_again_only_what_is_new_runs(runner: Runner) -> None:
    runner.merge(squares__yaml=GRID.replace("VALUES", "1, 2, 3, 5"))
    assert "Submitted to the head" in runner.job("ci.sweeps")
    runner.until_ended("squares")
    runner.results()
    assert "| Points done | 4 of 4 |" in runner.summary
    summary = json.loads((runner.laptop.home / "collected" / "squares" / "summary.json").read_text())
    assert (summary["computed"], summary["resumed"]) == (1, 3)


def test_a_sweep_over_its_max_cost_is_refused_before_it_is_merged(runner: Runner) -> None:
    runner.merge(dear__yaml=DEAR)
    said = runner.job("ci.preview", "--base", "HEAD~1", code=1)
    assert "sweeps/dear.yaml" in said.partition("Refused:")[2]
    assert "raise execution" in runner.summary
    (runner.laptop.path / "sweeps" / "dear.yaml").unlink()


def test_a_deployment_during_a_sweep_loses_none_of_its_points(runner: Runner) -> None:
    """Settings change beneath it and there is a newer release; it keeps its own, and its points run once."""
    laptop = runner.laptop
    runner.merge(gated__yaml=GATED)
    assert "sweeps/gated.yaml: Submitted to the head" in runner.job("ci.sweeps")
    until(lambda: points_done(laptop, "gated") == 20, what="the points before the gate", timeout_s=PATIENCE_S)
    laptop.change(budgetUsd=50, maxWorkers=2)
    commit = laptop.commit("More workers")
    runner.job("ci.preview", "--base", "HEAD~1")
    assert "The cluster's release is" in runner.job("ci.deploy")
    group = laptop.group
    assert group["MaxSize"] == 2
    assert points_done(laptop, "gated") == 20

    def ended() -> bool:
        for one in group["Instances"]:
            laptop.cloud.machine(one["InstanceId"]).run(["touch", GATE])
        return points_done(laptop, "gated") == 200

    until(ended, what="the others", timeout_s=PATIENCE_S)
    runner.until_ended("gated")
    runner.job("ci.results", "--into", str(laptop.home / "collected"))
    rows = pl.read_parquet(laptop.home / "collected" / "gated" / "results.parquet")
    assert rows["metric.value"].sort().to_list() == list(range(200))
    assert set(rows["attempts"]) == {1}
    assert set(rows["infra_losses"]) == {0}
    assert rows["git_commit"].n_unique() == 1
    assert commit not in rows["git_commit"]


def points_done(laptop: Laptop, name: str) -> int:
    """The number of a run's points that are done, as the head says."""
    file = f"/srv/sweepfleet/jobs/{name}/progress.json"
    text = laptop.cloud.machine(laptop.outputs.head_id).run(["cat", file], check=False).stdout
    return int((json.loads(text or "{}").get("progress") or {}).get("done", 0))


def test_a_sweep_that_cannot_run_there_fails_its_job_and_no_other(runner: Runner) -> None:
    """It is handed over again with the next merge, when it was mended."""
    runner.merge(broken__yaml="run: nowhere:fit\nparameters: {a: [1]}\n", not_a_grid__yaml="run: [\n")
    said = runner.job("ci.sweeps", code=1)
    assert "sweeps/broken.yaml: Submitted to the head" in said
    assert "error: sweeps/not_a_grid.yaml" in said
    assert "sweeps/squares.yaml: submitted before" in said
    runner.until_ended("broken")
    assert "These runs failed: broken" in runner.job("ci.results", code=1)
    assert "sweeps/broken.yaml: Submitted to the head" in runner.job("ci.sweeps", code=1)


def test_a_head_that_sleeps_is_woken_by_what_needs_it_and_by_nothing_else(runner: Runner) -> None:
    """A status lets it sleep; a merged sweep and a typed one wake it and run, with what the runs had before."""
    laptop = runner.laptop
    (laptop.home / KEPT).rename(laptop.home / ".ssh")
    laptop.inv("outputs", "--refresh", "--stack", STACK)
    boots = laptop.cloud.machine(laptop.outputs.head_id).boots
    address = laptop.head_ip
    laptop.head_sleeps()
    said = laptop.inv("status").stdout
    assert "Head: asleep" in said
    assert "costs at rest: 5.60 USD a month" in said
    assert laptop.inv("stop").returncode == 0
    assert laptop.head_ip == ""
    for broken in ("broken.yaml", "not_a_grid.yaml"):  # of the test before
        (laptop.path / "sweeps" / broken).unlink(missing_ok=True)
    runner.merge(squares__yaml=GRID.replace("VALUES", "1, 2, 3, 5, 7"))
    said = runner.job("ci.sweeps")
    assert "The head is asleep; starting it." in said
    assert "sweeps/squares.yaml: Submitted to the head" in said
    runner.until_ended("squares")
    laptop.inv("outputs", "--refresh", "--stack", STACK)
    laptop.head_sleeps()
    runner.merge(squares__yaml=GRID.replace("VALUES", "1, 2, 3, 5, 7, 9"))
    done = laptop.inv("sweep", "--stack", STACK, "--grid", "sweeps/squares.yaml", "--json", "--push")
    assert "The head is asleep; starting it." in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["computed"], summary["resumed"]) == (1, 5)
    assert laptop.cloud.machine(laptop.outputs.head_id).boots == boots + 2
    assert laptop.head_ip not in {"", address}
