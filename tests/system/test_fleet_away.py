"""What a sweep on the cluster waits for, in the rehearsal cloud: S3 that is away, and a data volume that is full.

It says so, goes on by itself, loses nothing and computes nothing twice.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsal.network import SERVICES
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
AWAY_S = 40.0  # in which AWS's endpoints cannot be reached from the head and one worker
PATIENCE_S = 300  # for a broken program to give up, not a measure of a good one
POINTS = 400
FIT = """
import time
from pathlib import Path

def fit(a, gate, artifact_dir):
    if not Path(gate).exists():
        time.sleep(0.5)
    (artifact_dir / "a.txt").write_text(str(a))
    return {"twice": 2.0 * a}
"""
GRID = """
name: {name}
run: away.fit:fit
parameters:
  a: {{range: [0, {POINTS}, 1]}}
  gate: {{value: /run/{name}}}
"""
IDS = """
import json, sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(json.dumps([row[0] for row in ledger.execute("SELECT id FROM points")]))
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A cluster with two workers that stay, which has its code."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up(maxWorkers=2, dataVolumeGb=1)
        folder = Path(laptop.path, "away")
        folder.mkdir()
        (folder / "fit.py").write_text(FIT)
        laptop.commit("A target that writes artifacts")
        laptop.push()
        yield laptop


def start(laptop: Laptop, name: str) -> subprocess.Popen[str]:
    """A sweep, with a client that waits for its end."""
    (laptop.path / "away" / f"{name}.yaml").write_text(GRID.format(name=name, POINTS=POINTS))
    return laptop.start("sweep", "--grid", f"away/{name}.yaml")


def head(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


def told(laptop: Laptop, name: str) -> set[str]:
    """The ids of the points that the ledger on the head has."""
    ledger = f"/srv/sweepfleet/runs/{name}/ledger.sqlite"
    done = head(laptop).run(["python3", "-c", IDS, ledger], check=False)
    return set(json.loads(done.stdout)) if done.returncode == 0 else set()


def stored(laptop: Laptop, name: str) -> set[str]:
    """The ids of the points whose files are in the bucket."""
    pages = laptop.cloud.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=laptop.outputs.bucket, Prefix=f"runs/{name}/artifacts/")
    return {one["Key"].split("/")[3] for page in found for one in page.get("Contents", ())}


def says(laptop: Laptop, name: str, words: str) -> str:
    """The line of `inv status` with these words; "" while there is none."""
    lines = laptop.inv("status", code=None).stdout.splitlines()
    return next((line for line in lines if words in line), "")


def ends_whole(laptop: Laptop, name: str, client: subprocess.Popen[str]) -> str:
    """The client ends well, with every point once and computed once; what it said."""
    assert client.poll() is None, client.communicate()[0]
    open_gates(laptop, f"/run/{name}", client, run=name, timeout_s=2 * PATIENCE_S)
    said = client.communicate()[0]
    assert client.returncode == 0, said
    table = pl.read_parquet(laptop.path / "runs" / name / "results.parquet")
    assert table["param.a"].sort().to_list() == list(range(POINTS))
    assert set(table["attempts"]) == {1}
    assert set(table["infra_losses"]) == {0}
    assert stored(laptop, name) == set(table["point_id"])
    return said


def test_a_sweep_with_artifacts_outlives_s3_that_is_away(laptop: Laptop) -> None:
    """Points go on, no row is told whose files are not there, `inv status` says what is waited for."""
    laptop.inv("start", "--workers", "2")  # the sweep alone asks for one: its points are short
    client = start(laptop, "s3")
    until(lambda: len(told(laptop, "s3")) > 4, what="the first points", timeout_s=PATIENCE_S)
    workers = [name for name, leader in laptop.cloud.machines().items() if leader and name != laptop.outputs.head_id]
    cut = [head(laptop), laptop.cloud.machine(min(workers))]
    routes = [machine.run(["ip", "route", "show", SERVICES]).stdout.split() for machine in cut]
    for machine in cut:
        machine.run(["ip", "route", "replace", "blackhole", SERVICES])
    back_s = time.monotonic() + AWAY_S
    until(lambda: says(laptop, "s3", "waiting for S3: "), what="status says it", timeout_s=PATIENCE_S)
    there = len(told(laptop, "s3"))
    until(lambda: len(told(laptop, "s3")) > there, what="the other worker's points are told", timeout_s=PATIENCE_S)
    until(lambda: time.monotonic() > back_s, what="S3 is back", timeout_s=2 * AWAY_S)
    assert told(laptop, "s3") <= stored(laptop, "s3")
    for machine, route in zip(cut, routes, strict=True):
        machine.run(["ip", "route", "replace", *route])
    until(lambda: not says(laptop, "s3", "waiting for S3: "), what="it waits no more", timeout_s=PATIENCE_S)
    said = ends_whole(laptop, "s3", client)
    assert "waiting for S3: " in said
    assert "waiting for S3: " in head(laptop).journal("-u", "sweepfleet-run@s3.service")


def test_a_full_data_volume_pauses_a_sweep_which_then_goes_on_by_itself(laptop: Laptop) -> None:
    """Status says which volume it is and what grows it."""
    client = start(laptop, "full")
    until(lambda: len(told(laptop, "full")) > 4, what="the first points", timeout_s=PATIENCE_S)
    head(laptop).run(["sh", "-c", "cat /dev/zero > /srv/sweepfleet/ballast"], check=False)
    line = until(lambda: says(laptop, "full", "waiting for disk space"), what="status says it", timeout_s=PATIENCE_S)
    assert "the data volume (/srv/sweepfleet, " in line
    assert "pulumi config set dataVolumeGb 10 && inv up" in line
    there = told(laptop, "full")
    head(laptop).run(["rm", "/srv/sweepfleet/ballast"])
    until(lambda: len(told(laptop, "full")) > len(there), what="it goes on", timeout_s=PATIENCE_S)
    ends_whole(laptop, "full", client)
