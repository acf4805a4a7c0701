"""What points write on a cluster's workers comes into the bucket before their rows are known, and leaves the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dask.config
import pytest
from distributed import LocalCluster

from grid.load import load
from sweep.engine_errors import BrokenSweepError
from sweep.engines import CONFIG, LOOPBACK
from sweep.progress import Silent
from sweep.run import Request, run_sweep
from sweep.summary import Summary
from tests.cloud.moto import Moto
from tests.here import bucket_here

BUCKET = "stack-bucket"
GRID = """
name: trial
run: fit:fit
parameters: {a: {range: [0, 12]}}
execution: {bundle: 5, timeout: 60s}
"""
FIT = """
import os

def fit(a, artifact_dir):
    if a != 3:
        (artifact_dir / "deep er").mkdir()
        (artifact_dir / "deep er" / f"{a}.txt").write_text(str(a))
        (artifact_dir / "gone").symlink_to("nowhere")
        os.mkfifo(artifact_dir / "fifo")
    if a == 4:
        raise ValueError(a)
    if a == 5:
        os._exit(9)
    return {"loss": a}
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    """A bucket, for what machines do in this process."""
    with bucket_here(monkeypatch, BUCKET) as moto:
        yield moto


def stored(s3: Moto) -> dict[str, bytes]:
    """What is in the bucket."""
    client = s3.client("s3")
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
    return {one["Key"]: client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}


def sweep(folder: Path, *, url: str | None) -> tuple[Summary, int]:
    """Run the grid on a scheduler and a worker as a cluster has them."""
    (folder / "grid.yaml").write_text(GRID)
    (folder / "fit.py").write_text(FIT)
    with (
        dask.config.set(CONFIG),
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            scheduler_kwargs={"dashboard": False, "dashboard_address": LOOPBACK},
            worker_dashboard_address=LOOPBACK,
            memory_limit=0,
        ) as cluster,
    ):
        request = Request(
            runs=folder / "runs",
            root=folder,
            command_line="test",
            born_s=time.time(),
            address=cluster.scheduler_address,
            artifacts=folder / "scratch",
            artifacts_url=url,
        )
        return run_sweep(load(folder / "grid.yaml"), request, Silent())


def ids(folder: Path) -> dict[int, str]:
    """The id of each point, by its parameter."""
    import polars as pl

    table = pl.read_parquet(folder / "runs" / "trial" / "results.parquet")
    return dict(zip(table["param.a"], table["point_id"], strict=True))


def test_what_points_wrote_is_in_the_bucket_and_nowhere_else(s3: Moto, tmp_path: Path) -> None:
    """Also what those wrote that failed or died; not what is no file, and nothing for a point that wrote nothing."""
    summary, _ = sweep(tmp_path, url=f"s3://{BUCKET}/runs/trial/artifacts")
    assert (summary.done, summary.failed) == (10, 2)
    known = ids(tmp_path)
    expected = {f"runs/trial/artifacts/{known[a]}/deep er/{a}.txt": str(a).encode() for a in range(12) if a != 3}
    assert stored(s3) == expected
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_point_whose_files_cannot_be_stored_is_not_done(s3: Moto, tmp_path: Path) -> None:
    """The sweep breaks off and says what could not be stored, and where."""
    with pytest.raises(BrokenSweepError, match=r"the artifact '\d+.txt' cannot be stored as runs/.*NoSuchBucket"):
        sweep(tmp_path, url="s3://no-such-bucket/runs/trial/artifacts")
    assert not (tmp_path / "runs" / "trial" / "results.parquet").exists()
    assert len(list((tmp_path / "scratch").iterdir())) > 0, "nor are they lost"


def test_without_a_place_to_bring_it_to_it_stays(s3: Moto, tmp_path: Path) -> None:
    sweep(tmp_path, url=None)
    wrote = {point_id for a, point_id in ids(tmp_path).items() if a != 3}
    assert {folder.name for folder in (tmp_path / "scratch").iterdir()} == wrote
    assert stored(s3) == {}
