"""Checkpoints of a cluster's points: in the bucket while they matter, and found by the next attempt elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.machine.head.stored import StoredCheckpoints
from sweepfleet.machine.in_process import InProcess
from sweepfleet.machine.worker import checkpoints as stored_checkpoints
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.summary import Summary
from sweepfleet.run.sweep import run_sweep
from sweepfleet.slot.archives import pack, unpack
from sweepfleet.slot.checkpoints import OUTBOX, VARIABLE
from tests.cloud.moto import Moto
from tests.here import bucket_here
from tests.one_worker import one_worker
from tests.support import eventually

BUCKET = "stack-bucket"
PREFIX = "checkpoints/trial/"
# Each attempt counts, asks or not as the parameter says, and ends well once there is a file `go`.
FIT = """
import time
from pathlib import Path
import sweepfleet as sf

HERE = Path(__file__).parent

def fit(how, checkpoint_dir):
    file = checkpoint_dir / "count"
    count = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(count))
    if how == "asks":
        sf.checkpoint()
        file.write_text("half of a che")
    (HERE / f"{how}-{count}").touch()
    if how == "waits":
        while not (HERE / "stored").exists():
            time.sleep(0.01)
    if how != "quick" and not (HERE / "go").exists():
        raise RuntimeError("not yet")
    return count
"""
GRID = """
name: trial
run: fit:fit
parameters: {how: [%s]}
execution: {retries: %d, checkpoint_every: 1s}
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    with bucket_here(monkeypatch, BUCKET) as moto:
        yield moto


def stored(s3: Moto) -> dict[str, dict[str, str]]:
    """The files of each checkpoint in the bucket, by the point's id."""
    client = s3.client("s3")
    found = {}
    for one in client.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX).get("Contents", ()):
        data = client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            files = {each.name: archive.extractfile(each) for each in archive.getmembers() if each.isreg()}
            found[one["Key"].removeprefix(PREFIX)] = {
                name: each.read().decode() for name, each in files.items() if each
            }
    return found


def sweep(
    folder: Path, *hows: str, retries: int = 0, redo: str = "", machine: ClusterMachine | None = None
) -> Summary:
    """Run the grid on a scheduler and a worker as a cluster has them, whose disk is new."""
    (folder / "grid.yaml").write_text(GRID % (", ".join(hows), retries))
    (folder / "fit.py").write_text(FIT)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    facts: Any = SimpleNamespace(bucket=BUCKET)
    with one_worker() as cluster:
        request = Request(
            runs=folder / "runs",
            root=folder,
            command_line="test",
            born_s=time.time(),
            address=cluster.scheduler_address,
            redo=redo,
            artifacts=folder / "scratch" / "artifacts",
            checkpoints=folder / "scratch" / "checkpoints",
            stored=StoredCheckpoints(InProcess(facts), PREFIX),
            machine=machine or ClusterMachine(f"s3://{BUCKET}/runs/trial/artifacts", f"s3://{BUCKET}/{PREFIX[:-1]}"),
        )
        return run_sweep(load(folder / "grid.yaml"), request, Silent())[0]


def key(folder: Path, index: int = 0) -> str:
    return Space(load(folder / "grid.yaml").plan).point(index).id + ".tar"


def values(folder: Path) -> dict[str, int]:
    import polars as pl

    table = pl.read_parquet(folder / "runs" / "trial" / "results.parquet").filter(status="done")
    return dict(zip(table["param.how"], table["metric.value"], strict=True))


def test_what_a_failed_point_left_is_stored_and_found_on_a_new_disk(s3: Moto, tmp_path: Path) -> None:
    """By a retry, and by another command; it is gone from bucket and disk when the point is done."""
    summary = sweep(tmp_path, "quick", "fails", retries=1)
    assert (summary.done, summary.failed) == (1, 1)
    assert (tmp_path / "fails-2").exists()
    assert stored(s3) == {key(tmp_path, 1): {"./count": "2"}}
    (tmp_path / "go").touch()
    assert sweep(tmp_path, "quick", "fails", redo="failed").failed == 0
    assert values(tmp_path) == {"quick": 1, "fails": 3}
    assert stored(s3) == {}
    scratch = tmp_path / "scratch" / "checkpoints"
    assert [path.name for path in scratch.iterdir()] == [OUTBOX]
    assert list((scratch / OUTBOX).iterdir()) == []


def test_from_the_beginning_means_without_it(s3: Moto, tmp_path: Path) -> None:
    """`--redo all` of a failed point."""
    sweep(tmp_path, "fails")
    assert len(stored(s3)) == 1
    (tmp_path / "go").touch()
    sweep(tmp_path, "fails", redo="all")
    assert values(tmp_path) == {"fails": 1}


def test_what_a_point_asked_for_is_not_replaced_by_what_it_wrote_since(s3: Moto, tmp_path: Path) -> None:
    """Its next attempt gets exactly what stood there when it asked, also where that attempt has not asked yet."""
    sweep(tmp_path, "asks")
    assert stored(s3) == {key(tmp_path): {".sweepfleet-asked": "", "./count": "1"}}
    (tmp_path / "go").touch()
    sweep(tmp_path, "asks", redo="failed")
    assert values(tmp_path) == {"asks": 2}


def test_a_running_point_is_stored_now_and_then(s3: Moto, tmp_path: Path) -> None:
    """Every `checkpoint_every`: a machine that dies without a word costs no more than that."""
    found: list[dict[str, dict[str, str]]] = []

    def look() -> None:
        found.append(eventually(lambda: stored(s3), "a checkpoint in the bucket"))
        (tmp_path / "go").touch()
        (tmp_path / "stored").touch()

    thread = threading.Thread(target=look)
    thread.start()
    sweep(tmp_path, "waits")
    thread.join()
    assert found == [{key(tmp_path): {"./count": "1"}}]
    assert values(tmp_path) == {"waits": 1}
    assert stored(s3) == {}


def test_a_machine_that_may_not_store_says_so_and_computes(
    s3: Moto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rights of an older version: only what points leave is lost."""
    nowhere = ClusterMachine(f"s3://{BUCKET}/runs/trial/artifacts", "s3://no-such-bucket/checkpoints/trial")
    assert sweep(tmp_path, "quick", machine=nowhere).done == 1
    assert "checkpoints are not stored: " in capsys.readouterr().out


def test_a_refused_checkpoint_fails_its_point(s3: Moto, tmp_path: Path) -> None:
    """Whoever asks is told."""
    nowhere = ClusterMachine(f"s3://{BUCKET}/runs/trial/artifacts", "s3://no-such-bucket/checkpoints/trial")
    sweep(tmp_path, "asks", machine=nowhere)
    failures = json.loads((tmp_path / "runs" / "trial" / "summary.json").read_text())["failures"]
    assert "the checkpoint cannot be stored: " in json.dumps(failures)


@pytest.fixture(params=["this Python's tarfile", "Debian 12's"])
def tarfiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has a filter since 3.11.4; before, it does not know the word."""
    if request.param == "Debian 12's":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        extract = tarfile.TarFile.extract

        def without_filter(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
            extract(archive, member, path)

        monkeypatch.setattr(tarfile.TarFile, "extract", without_filter)


@pytest.mark.usefixtures("tarfiles")
def test_an_archive_has_files_folders_and_links_and_says_who_chose_the_moment(tmp_path: Path) -> None:
    folder = tmp_path / "point"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_bytes(bytes(1000))
    (folder / "latest").symlink_to("inner/weights")
    for asked in (True, False):
        pack(folder, tmp_path / "a.tar", asked=asked)
        assert unpack(tmp_path / "a.tar", tmp_path / "again") is asked
        assert sorted(path.name for path in (tmp_path / "again").rglob("*")) == ["inner", "latest", "weights"]
        assert (tmp_path / "again" / "latest").read_bytes() == bytes(1000)


@pytest.mark.usefixtures("tarfiles")
@pytest.mark.parametrize("kind", ["above", "absolute", "behind a link", "device"])
def test_an_archive_cannot_leave_its_folder(tmp_path: Path, kind: str) -> None:
    """Any worker may write it."""
    outside = tmp_path / "inner" / "outside"
    outside.mkdir(parents=True)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        one = tarfile.TarInfo({"above": "../outside/it", "absolute": str(outside / "it")}.get(kind, "link"))
        if kind == "behind a link":
            one.type, one.linkname = tarfile.SYMTYPE, "../outside"
            archive.addfile(one)
            one = tarfile.TarInfo("link/it")
        elif kind == "device":
            one.type = tarfile.FIFOTYPE
        archive.addfile(one, io.BytesIO())
    with pytest.raises(tarfile.TarError):
        unpack(tmp_path / "a.tar", tmp_path / "inner" / "point")
    assert not (tmp_path / "inner" / "point").exists()
    assert list(outside.iterdir()) == []


def test_whoever_asks_waits_until_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call returns when the worker has taken the archive away, not before."""
    folder = tmp_path / "1234"
    folder.mkdir()
    (folder / "count").write_text("1")
    (tmp_path / OUTBOX).mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    returned = threading.Event()
    thread = threading.Thread(target=lambda: (sf.checkpoint(), returned.set()))
    thread.start()
    archive = tmp_path / OUTBOX / "1234.tar"
    eventually(archive.exists, "the archive")
    going = archive.replace(archive.with_suffix(".going"))
    assert not returned.is_set()
    going.unlink()
    assert returned.wait(60)
    thread.join()
    assert archive.suffix == stored_checkpoints.SUFFIX
