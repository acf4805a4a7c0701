"""The cluster at work, in the rehearsal cloud: real machines, real SSH, real TLS, as an operator types it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
GRID = "examples/diabetes/grid.yaml"
EQUAL = ["point_id", "replicate", "seed", "status"]  # and every parameter and metric


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up and has its code."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up()
        assert "The cluster's release is" in laptop.inv("push").stdout
        yield laptop


def rows(folder: Path) -> pl.DataFrame:
    """What must be the same wherever the points ran."""
    table = pl.read_parquet(folder / "results.parquet")
    keep = [name for name in table.columns if name.startswith(("param.", "metric."))]
    return table.select(*EQUAL, *keep).sort("point_id")


def test_a_sweep_on_three_workers_has_the_rows_of_one_here(laptop: Laptop) -> None:
    """And its files are here, as after a sweep on this machine."""
    said = laptop.inv("sweep", "--grid", GRID).stdout
    assert said.startswith("Target: stack dev in us-east-1")
    assert "Done: 915 of 915 points done" in said
    laptop.inv("sweep", "--grid", GRID, "--local", "--name", "here")
    far, here = laptop.path / "runs" / "diabetes", laptop.path / "runs" / "here"
    assert rows(far).equals(rows(here))
    assert {file.name for file in here.iterdir() if not file.name.startswith(".")} <= {f.name for f in far.iterdir()}
    workers = set(pl.read_parquet(far / "results.parquet")["worker"])
    assert all(worker.startswith("ip-10-42-") for worker in workers)


def test_a_push_of_the_same_commit_sends_nothing(laptop: Laptop) -> None:
    assert "has this release already" in laptop.inv("push").stdout


def test_changed_files_are_refused_and_shipped_only_when_said(laptop: Laptop) -> None:
    readme = laptop.path / "README.md"
    before = readme.read_text()
    readme.write_text(before + "\n")
    try:
        assert "Changed and not committed: README.md" in laptop.inv("push", code=2).stderr
    finally:
        readme.write_text(before)


def test_another_host_key_stops_everything(laptop: Laptop) -> None:
    """Nothing is sent to a machine that is not the one that published its key."""
    outputs = laptop.outputs
    key = f"hosts/{outputs.head_identity}/ssh_host_ed25519_key.pub"
    s3 = laptop.cloud.client("s3")
    published = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=outputs.bucket, Key=key, Body=laptop.public_key.encode())
    try:
        assert "is not the one that the machine published" in laptop.inv("status", code=3).stderr
    finally:
        s3.put_object(Bucket=outputs.bucket, Key=key, Body=published)
    laptop.inv("status")
