"""What points write on a cluster's workers comes into the bucket before their rows are known, and leaves the disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweepfleet.grid.load import load
from sweepfleet.machine import in_process
from sweepfleet.machine.refusals import is_final
from sweepfleet.machine.worker import artifacts
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.run.engine_errors import BrokenSweepError
from sweepfleet.run.pauses import pauses
from sweepfleet.run.progress import Observer, Silent
from sweepfleet.run.request import Request
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.summary import Summary
from sweepfleet.run.sweep import run_sweep
from tests.cloud.line import Line, line_to
from tests.cloud.moto import Moto
from tests.here import bucket_here
from tests.one_worker import one_worker

BUCKET = "stack-bucket"
URL = f"s3://{BUCKET}/runs/trial/artifacts"
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


def sweep(
    folder: Path,
    *,
    url: str | None = URL,
    grid: str = GRID,
    fit: str = FIT,
    observer: Observer | None = None,
    spent: Callable[[], bool] = lambda: False,
) -> tuple[Summary, int]:
    """Run the grid on a scheduler and a worker as a cluster has them."""
    (folder / "grid.yaml").write_text(grid)
    (folder / "fit.py").write_text(fit)
    with one_worker() as cluster:
        request = Request(
            runs=folder / "runs",
            root=folder,
            command_line="test",
            born_s=time.time(),
            address=cluster.scheduler_address,
            artifacts=folder / "scratch",
            machine=ClusterMachine(url),
            spent=spent,
        )
        return run_sweep(load(folder / "grid.yaml"), request, observer or Silent())


def ids(folder: Path) -> dict[int, str]:
    """The id of each point, by its parameter."""
    import polars as pl

    table = pl.read_parquet(folder / "runs" / "trial" / "results.parquet")
    return dict(zip(table["param.a"], table["point_id"], strict=True))


def test_what_points_wrote_is_in_the_bucket_and_nowhere_else(s3: Moto, tmp_path: Path) -> None:
    """Also what those wrote that failed or died; not what is no file, and nothing for a point that wrote nothing."""
    summary, _ = sweep(tmp_path)
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


# ---- While S3 does not answer.


DEADLINE_S = 120.0  # for a broken program to be told from a slow machine
POINTS = 24
MANY = f"""
name: trial
run: fit:fit
parameters: {{a: {{range: [0, {POINTS}]}}}}
execution: {{bundle: 1, timeout: 60s}}
"""
WRITES = """
def fit(a, artifact_dir):
    (artifact_dir / "a.txt").write_text(str(a))
    return {"loss": a}
"""


@pytest.fixture
def line(s3: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The way to the bucket, cut; and no time is lost with it."""
    with line_to(s3.endpoint) as line:
        line.go_down()
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        monkeypatch.setattr(in_process, "RETRIES", 0)
        monkeypatch.setattr(artifacts, "FREE_BYTES", 0)  # however full the disk of this machine is
        monkeypatch.setattr(artifacts, "pauses", lambda: pauses(first_s=0.01, longest_s=0.1))
        in_process.bucket.cache_clear()
        yield line


class Watching(Silent):
    """Sees the sweep's progress, and does something then; a sweep that does not end is a failure."""

    def __init__(self, then: Callable[[Progress], None]) -> None:
        self._then = then
        self._end_s = time.monotonic() + DEADLINE_S

    def update(self, progress: Progress) -> None:
        """See it."""
        assert time.monotonic() < self._end_s, f"it does not end: {progress}"
        self._then(progress)


def ended(folder: Path) -> int:
    """How many points have ended on the worker: each has its folder until its files are stored."""
    return len(list((folder / "scratch").glob("*/a.txt")))


def test_while_s3_is_away_points_go_on_and_no_row_is_told_before_its_files_are_there(
    line: Line, s3: Moto, tmp_path: Path
) -> None:
    """All points of two slots end meanwhile; then S3 answers, and the sweep is whole."""
    said: list[str] = []

    def look(progress: Progress) -> None:
        if line.cut:
            assert progress.done == 0
            said.append(progress.waits)
            if progress.waits.startswith(f"waiting for S3: {POINTS} results wait"):
                assert ended(tmp_path) == POINTS
                assert progress.waits_since is not None
                line.come_up()

    summary, code = sweep(tmp_path, grid=MANY, fit=WRITES, observer=Watching(look))
    assert (summary.done, summary.computed, code) == (POINTS, POINTS, 0)
    assert line.refused > 0
    assert said[-1] == f"waiting for S3: {POINTS} results wait for their files"
    assert {key.rpartition("/")[0].rpartition("/")[2] for key in stored(s3)} == set(ids(tmp_path).values())
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_worker_holds_no_more_results_than_it_may(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its slots wait, too, and begin no more points until S3 answers."""
    monkeypatch.setattr(artifacts, "HELD_BUNDLES", 3)
    full = 3 + 2  # of two slots
    looks: list[int] = []

    def look(progress: Progress) -> None:
        if line.cut and progress.waits.startswith(f"waiting for S3: {full} results wait"):
            looks.append(ended(tmp_path))
            if len(looks) == 20:
                line.come_up()

    summary, _ = sweep(tmp_path, grid=MANY, fit=WRITES, observer=Watching(look))
    assert set(looks) == {full}
    assert (summary.done, summary.computed) == (POINTS, POINTS)


@pytest.mark.parametrize(
    ("total_gb", "free_gb", "leaves"), [(30, 7, True), (30, 5, False), (1000, 9, True), (1000, 7, False)]
)
def test_bundles_leave_their_slots_while_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total_gb: int, free_gb: int, *, leaves: bool
) -> None:
    """A fifth of a small disk stays for points, and eight gigabytes of a large one."""
    usage = SimpleNamespace(total=total_gb * 10**9, free=free_gb * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    held = artifacts._Held()
    assert held.take(1000, tmp_path) is leaves


def test_a_sweep_that_stops_while_s3_is_away_leaves_nothing_behind_and_resumes(line: Line, tmp_path: Path) -> None:
    """What waited is computed again: nobody was told that it was done."""
    waits: list[str] = []
    summary, _ = sweep(
        tmp_path,
        grid=MANY,
        fit=WRITES,
        observer=Watching(lambda progress: waits.append(progress.waits) if progress.waits else None),
        spent=lambda: bool(waits),
    )
    assert (summary.done, summary.computed, summary.failed) == (0, 0, 0)
    line.come_up()
    summary, code = sweep(tmp_path, grid=MANY, fit=WRITES)
    assert (summary.done, code) == (POINTS, 0)


def test_what_can_never_work_is_told_from_what_passes() -> None:
    """By the codes that S3 gives, within what `aws` and obstore make of them."""
    assert is_final(
        "aws s3 cp: upload failed: An error occurred (AccessDenied) when calling PutObject: Access Denied"
    )
    assert is_final("<Error><Code>KeyTooLongError</Code>")
    assert is_final("An error occurred (NoSuchBucket) when calling the PutObject operation")
    for passes in ("SlowDown", "ServiceUnavailable", "RequestTimeout", "InternalError", "ExpiredToken", "NoSuchKey"):
        assert not is_final(f"An error occurred ({passes}) when calling PutObject")
    assert not is_final('Could not connect to the endpoint URL: "https://b.s3.amazonaws.com/"')


def test_pauses_grow_to_a_limit_and_differ() -> None:
    found = [next(one) for one in [pauses(first_s=1.0, longest_s=8.0) for _ in range(20)]]
    assert len(set(found)) > 1
    some = pauses(first_s=1.0, longest_s=8.0)
    for longest in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        assert longest / 2 <= next(some) <= longest
