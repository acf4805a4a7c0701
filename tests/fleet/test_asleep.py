"""While the head is asleep, runs and money are shown out of the bucket, as of when it stored them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sweepfleet.fleet.runs.status as statuses
from sweepfleet.api.cluster_run import find
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.bill import bill
from sweepfleet.fleet.reach import remote
from sweepfleet.fleet.runs.answers import STOPPED, active_runs, costs
from sweepfleet.fleet.runs.on_stack import bring
from sweepfleet.fleet.steps import Steps
from sweepfleet.fleet.workers.group import Group
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.facts import KEYS, Data
from sweepfleet.machine.head.answers import answers
from sweepfleet.machine.head.run_parts import store
from sweepfleet.machine.job import JobFolder
from sweepfleet.run.folder import RunFolder
from tests.cloud.moto import Moto
from tests.fleet.test_awake import REGION
from tests.fleet.test_awake import fleet as fleet  # noqa: PLC0414 - the fixture
from tests.machine.test_stored_parts import Bucket, driver, job, record

pytest_plugins = ["tests.cloud.fixtures"]
BUCKET = "asleep-bucket"
PROGRESS = {"total": 1000, "exact": True, "resumed": 0, "done": 300}
DAY = {"worker_s": 7200.0, "usd": 3.5, "unused_usd": 0.5, "unpriced_s": 0.0}


class Sleeper:
    """A head that is stopped, with its data volume and its bucket."""

    def __init__(self, fleet: Fleet, moto: Moto, place: Path) -> None:
        self.s3, self.place = moto.client("s3", REGION), place
        self.data, self.bucket = Data(place / "volume"), Bucket(None, place / "bucket")
        for folder in (self.data.runs, self.data.jobs, self.data.keeper, self.bucket.folder):
            folder.mkdir(parents=True)
        self.s3.create_bucket(Bucket=BUCKET)
        self.fleet = replace(fleet, outputs=replace(fleet.outputs, bucket=BUCKET))

    def falls_asleep(self) -> None:
        """What its service does as the machine stops."""
        for folder in sorted(self.data.jobs.iterdir()):
            if JobFolder(folder).active.exists():
                store(JobFolder(folder), self.data, self.bucket)
        said = self.bucket.folder / KEYS.answers
        said.parent.mkdir(exist_ok=True)
        said.write_text(json.dumps(answers(self.data, now_s=time.time())))
        for file in (path for path in self.bucket.folder.rglob("*") if path.is_file()):
            self.s3.upload_file(str(file), BUCKET, file.relative_to(self.bucket.folder).as_posix())

    def bring(self, name: str) -> Any:
        """What `inv results --fetch` does, with what it says."""
        said: list[str] = []
        with Steps(say=said.append) as steps:
            return bring(self.fleet, name, runs_folder=self.place / "here", steps=steps), said


@pytest.fixture
def head(fleet: Fleet, moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    """One with an active run of 300 points and a cancelled one."""
    monkeypatch.setattr(remote, "head", lambda *_: pytest.fail("it connects to a head that is asleep"))
    monkeypatch.setattr(statuses, "current_release", lambda *_: None)
    monkeypatch.setattr("sweepfleet.fleet.workers.group.group", lambda *_: Group(0, 3, ()))
    found = Sleeper(fleet, moto, tmp_path)
    active, ended = job(found.data, "long"), job(found.data, "short", active=False)
    active.write_progress(json.dumps({"state": "running", "progress": PROGRESS, "at": 5.0}))
    active.meter.write_text(json.dumps({"worker_s": 3600.0, "at": 5.0, "paid_usd": 0.25}))
    ended.write_progress(json.dumps({"state": "ended", "exit_code": 130, "summary": {}, "at": time.time() - 60}))
    found.data.spending.write_text(
        json.dumps(
            {"days": {datetime.now(UTC).date().isoformat(): DAY}, "at": 0.0, "workers": 0, "usd_per_hour": 0.0}
        )
    )
    with driver(found.data, "long") as ledger:
        record(ledger, 0, 300)
        found.falls_asleep()
    return found


def test_status_is_as_of_when_it_went_to_sleep_and_does_not_wake_it(head: Sleeper) -> None:
    found = statuses.look(head.fleet)
    lines = list(found.lines())
    assert any(line.startswith("Head: asleep") and "A sweep wakes it" in line for line in lines)
    assert any(re.fullmatch(r"As of 20.* UTC, when the head last stored what it knew:", line) for line in lines)
    [run] = found.runs
    assert (run.name, run.state, run.done, run.total, run.cost.usd) == ("long", STOPPED, 300, 1000, 0.25)
    assert f"Run long: {STOPPED}, 300 of 1,000 points · inv attach --name long" in lines
    assert [(one.name, one.state) for one in found.ended] == [("short", "error")]
    assert (found.error, found.head) == (None, None)
    assert head.fleet.state().word == "stopped"


def test_an_interrupted_runs_rows_are_those_that_it_had_when_the_head_stopped(head: Sleeper) -> None:
    """With tables, and the artifacts that workers have stored; by its name or as the active one."""
    head.s3.put_object(Bucket=BUCKET, Key="runs/long/artifacts/ab/plot.txt", Body=b"plot")
    for name in ("", "long"):
        brought, said = head.bring(name)
        assert (brought.name, brought.ended) == ("long", False)
        assert said[0] == "The head is asleep. The run long is stopped with the head; this is what the bucket has:"
    folder = RunFolder(head.place / "here" / "long")
    table = pl.read_parquet(folder.parquet)
    assert table["metric.x"].to_list() == [index + 0.5 for index in range(300)]
    assert (folder.artifacts / "ab" / "plot.txt").read_text() == "plot"
    assert folder.report.exists()
    run = find(head.fleet, None, runs=head.place / "here")
    assert (run.name, run.state) == ("long", "running")
    with pytest.raises(UsageError, match=r"The cluster has no run other\. It has: long, short"):
        head.bring("other")
    with pytest.raises(ClusterError, match="The bucket has no results of the run short yet"):
        head.bring("short")
    assert head.fleet.state().word == "stopped"


def test_results_that_are_newer_than_the_last_part_are_taken(head: Sleeper) -> None:
    """As after `inv results --fetch` of the active run, or its end."""
    with driver(head.data, "long") as ledger:
        record(ledger, 300, 400)
    file = RunFolder(head.data.runs / "long").ledger
    last = head.s3.list_objects_v2(Bucket=BUCKET, Prefix=KEYS.parts("long"))["Contents"][-1]["LastModified"]
    head.s3.upload_file(str(file), BUCKET, "runs/long/ledger.sqlite")
    assert head.s3.head_object(Bucket=BUCKET, Key="runs/long/ledger.sqlite")["LastModified"] >= last
    head.bring("long")
    assert (head.place / "here" / "long" / "ledger.sqlite").read_bytes() == file.read_bytes()


def test_money_is_shown_without_waking_it(head: Sleeper) -> None:
    [run] = active_runs(head.fleet)
    assert run.cost.usd == 0.25
    assert {name: one.usd for name, one in costs(head.fleet).items()}["long"] == 0.25
    ec2 = head.fleet.cloud.client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    fleet = replace(head.fleet, outputs=replace(head.fleet.outputs, data_volume_id=volume))
    found = bill(fleet, since_s=400 * 86400.0)
    assert (found.worker_hours, found.workers_usd) == (2.0, 3.5)
    assert head.fleet.state().word == "stopped"


def test_a_head_that_has_stored_nothing_is_said_to_and_still_not_woken(head: Sleeper) -> None:
    head.s3.delete_object(Bucket=BUCKET, Key=KEYS.answers)
    found = statuses.look(head.fleet)
    assert "It has stored nothing that could be shown" in str(found.error)
    assert found.asleep is not None
    with pytest.raises(ClusterError, match="Wake it: inv ssh"):
        head.bring("long")
    assert head.fleet.state().word == "stopped"
