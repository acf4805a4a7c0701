"""What active runs have is in the bucket every hour and at a stop, and comes back from there after a lost volume."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import KEYS, Data, Facts
from sweepfleet.machine.head import run_parts, store
from sweepfleet.machine.head.answers import answers
from sweepfleet.machine.head.restore import refuse_lost, restore
from sweepfleet.machine.head.run_parts import Note, finish
from sweepfleet.machine.head.run_parts import store as store_run
from sweepfleet.machine.head.store import EVERY_S, Store
from sweepfleet.machine.in_process import InProcess
from sweepfleet.machine.job import CLIENT, Job, JobFolder
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.parts import PartError
from tests.folder_bucket import FolderBucket
from tests.here import bucket_here
from tests.machine.test_machine import MACHINE
from tests.support import batches, grid

JOB = Job("trial", "r", "e", "g", "grid.yaml", "inv sweep", 7.0, retry_failed=False, workers_needed=2)
PLAN = grid({"a": range(1000)})


class KilledError(BaseException):
    """The process was killed here."""


@dataclasses.dataclass(frozen=True)
class Bucket(FolderBucket):
    """One that may refuse, and knows what was stored."""

    put_keys: list[str] = dataclasses.field(default_factory=list)
    says: list[str] = dataclasses.field(default_factory=list)  # while there is something, it refuses with this
    after: list[Callable[[], None]] = dataclasses.field(default_factory=list)  # done after the next puts

    def put(self, file: Path, key: str) -> None:
        if self.says:
            raise AwsError(self.says[0])
        super().put(file, key)
        self.put_keys.append(key)
        if self.after:
            self.after.pop()()

    def parts(self) -> list[str]:
        return [one.key for one in self.list(KEYS.all_parts)]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    data = Data(tmp_path / "volume")
    for folder in (data.runs, data.jobs, data.keeper):
        folder.mkdir(parents=True)
    return data


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    (tmp_path / "bucket").mkdir()
    return Bucket(None, tmp_path / "bucket")


def job(data: Data, name: str = "trial", *, active: bool = True, kind: str = "sweep") -> JobFolder:
    folder = JobFolder(data.jobs / name)
    folder.path.mkdir(exist_ok=True)
    folder.job.write_text(dataclasses.replace(JOB, name=name, kind=kind).to_json())
    if active:
        folder.active.touch()
    else:
        folder.active.unlink(missing_ok=True)
    return folder


@contextlib.contextmanager
def driver(data: Data, name: str = "trial") -> Iterator[Ledger]:
    """The driver's own ledger, open as it is while a run is active."""
    run = RunFolder(data.runs / name)
    run.path.mkdir(exist_ok=True)
    with contextlib.closing(Ledger(run.ledger)) as ledger:
        ledger.adopt(Space(PLAN))
        yield ledger


def record(ledger: Ledger, start: int, stop: int) -> None:
    points = [(point, {"x": point.index + 0.5}) for point in Space(PLAN).points(start, stop)]
    ledger.record(batches(points), git_commit="c0ffee", env_hash="env")


def rows(run: Path) -> list[Any]:
    with contextlib.closing(Ledger(run / "ledger.sqlite", readonly=True)) as ledger:
        return [row for chunk in ledger.scan(chunk=100) for row in chunk]


def lost(data: Data, tmp_path: Path) -> Data:
    """A new, empty volume in its place."""
    new = Data(tmp_path / f"new-{len(list(tmp_path.iterdir()))}")
    for folder in (new.runs, new.jobs, new.keeper):
        folder.mkdir(parents=True)
    return new


def test_a_lost_volumes_run_comes_back_as_it_was_when_it_was_last_stored(
    data: Data, bucket: Bucket, tmp_path: Path
) -> None:
    """In parts, the same rows; what came after the last part is to be computed again, and nothing else."""
    folder = job(data)
    with driver(data) as ledger:
        for start in range(0, 500, 100):
            record(ledger, start, start + 100)
            at = store_run(folder, data, bucket)
        stored = rows(data.runs / "trial")
        record(ledger, 500, 600)
    assert len(bucket.parts()) == 5
    new = lost(data, tmp_path)
    back = restore("trial", new, bucket)
    assert (back.done, back.failed, back.finished, back.at) == (500, 0, False, at)
    assert rows(new.runs / "trial") == stored
    assert sorted(path.name for path in new.runs.iterdir()) == ["trial"]
    with driver(new) as ledger:  # it goes on there, in a generation of its own, which is the newest
        record(ledger, 500, 800)
        store_run(job(new), new, bucket)
    assert restore("trial", lost(data, tmp_path), bucket).done == 800


@pytest.mark.parametrize("when", ["before it is stored", "before it is written down"])
@pytest.mark.parametrize("first", [True, False])
def test_a_kill_in_the_middle_of_storing_leaves_no_gap_and_nothing_twice(
    data: Data, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, when: str, first: bool
) -> None:
    """The part, or a new generation, is stored once more, with what has come since."""
    folder = job(data)

    def kill(*_: Any) -> None:
        raise KilledError

    with driver(data) as ledger:
        record(ledger, 0, 100)
        if not first:
            store_run(folder, data, bucket)
            record(ledger, 100, 200)
        with monkeypatch.context() as patch:
            if when == "before it is stored":
                patch.setattr(Bucket, "put", kill)
            else:
                bucket.after.append(kill)
            with pytest.raises(KilledError):
                store_run(folder, data, bucket)
        record(ledger, 200, 300)
        store_run(folder, data, bucket)
        record(ledger, 300, 400)
        store_run(folder, data, bucket)
        now = rows(data.runs / "trial")
    new = lost(data, tmp_path)
    assert restore("trial", new, bucket).done == len(now) == (300 if first else 400)
    assert rows(new.runs / "trial") == now
    generations = {key.split("/")[3] for key in bucket.parts()}
    assert len(generations) == 1, "what a kill left behind is removed"


def test_a_run_without_news_stores_nothing(data: Data, bucket: Bucket) -> None:
    folder = job(data)
    assert store_run(folder, data, bucket) is None, "it has not begun"
    with driver(data) as ledger:
        record(ledger, 0, 10)
        store_run(folder, data, bucket)
        for _ in range(3):
            assert store_run(folder, data, bucket)
    assert len(bucket.put_keys) == 1


def test_rows_in_any_order_do_not_grow_the_bucket_without_end(
    data: Data, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all blocks change again and again, a new generation replaces the old one; nothing is missing."""
    monkeypatch.setattr(run_parts, "LEAST_PARTS", 3)
    folder, most = job(data), 0
    with driver(data) as ledger:
        for start in range(20):
            points = [(Space(PLAN).point(index), {"x": 1.5}) for index in range(start, 1000, 20)]
            ledger.record(batches(points), git_commit=None, env_hash=None)
            store_run(folder, data, bucket)
            most = max(most, len(bucket.parts()))
        now = rows(data.runs / "trial")
    assert len({key.split("/")[3] for key in bucket.put_keys}) > 2
    assert most < 12
    new = lost(data, tmp_path)
    restore("trial", new, bucket)
    assert rows(new.runs / "trial") == now


def test_parts_go_once_the_bucket_has_the_runs_results_and_not_before(
    data: Data, bucket: Bucket, tmp_path: Path
) -> None:
    """A finished run can be restored from its results."""
    folder = job(data)
    with driver(data) as ledger:
        record(ledger, 0, 100)
        bucket.put(RunFolder(data.runs / "trial").ledger, f"{KEYS.results('trial')}ledger.sqlite")  # of an hour ago
        store_run(folder, data, bucket)
        record(ledger, 100, 200)
    job(data, active=False)
    assert not finish(folder, data, bucket)
    assert bucket.parts()
    bucket.put(RunFolder(data.runs / "trial").ledger, f"{KEYS.results('trial')}ledger.sqlite")
    bucket.put(folder.job, f"{KEYS.results('trial')}artifacts/0/ledger.sqlite")
    assert finish(folder, data, bucket)
    assert not bucket.parts()
    assert not data.parts("trial").exists()
    new = lost(data, tmp_path)
    back = restore("trial", new, bucket)
    assert (back.done, back.finished) == (200, True)
    assert rows(new.runs / "trial") == rows(data.runs / "trial")


def test_a_run_that_the_head_has_is_not_restored(data: Data, bucket: Bucket) -> None:
    """Nor one that is active, nor one that is nowhere; both sides are said, and nothing changes."""
    folder = job(data)
    with driver(data) as ledger:
        record(ledger, 0, 100)
        store_run(folder, data, bucket)
        record(ledger, 100, 150)
    with pytest.raises(UsageError, match=r"trial is active on the head, and the bucket has it as of 20\d\d-"):
        restore("trial", data, bucket)
    job(data, active=False)
    with pytest.raises(
        UsageError, match=r"has the run trial with 150 finished and 0 failed points, and the bucket has"
    ):
        restore("trial", data, bucket)
    with pytest.raises(UsageError, match="Neither the head nor the bucket has anything of a run other"):
        restore("other", data, bucket)
    assert len(rows(data.runs / "trial")) == 150
    assert [path.name for path in data.runs.iterdir()] == ["trial"]


def test_a_run_that_was_lost_is_not_begun_anew(data: Data, bucket: Bucket, tmp_path: Path) -> None:
    """It would compute again what the bucket has; once it is restored, or its results are stored, it begins."""
    refuse_lost("trial", data, bucket)
    with driver(data) as ledger:
        record(ledger, 0, 100)
        store_run(job(data), data, bucket)
        refuse_lost("trial", data, bucket)
    new = lost(data, tmp_path)
    with pytest.raises(UsageError, match=r"as of 20.*its data volume was lost.*: inv restore --name trial"):
        refuse_lost("trial", new, bucket)
    refuse_lost("other", new, bucket)
    restore("trial", new, bucket)
    refuse_lost("trial", new, bucket)
    bucket.put(RunFolder(data.runs / "trial").ledger, f"{KEYS.results('trial')}ledger.sqlite")
    refuse_lost("trial", lost(data, tmp_path), bucket)


def test_what_cannot_be_put_together_is_no_run(data: Data, bucket: Bucket, tmp_path: Path) -> None:
    """A damaged part: the head has no run of this name afterwards, rather than half of one."""
    folder = job(data)
    with driver(data) as ledger:
        for start in (0, 100):
            record(ledger, start, start + 100)
            store_run(folder, data, bucket)
    first, last = bucket.parts()
    (bucket.folder / last).write_bytes((bucket.folder / last).read_bytes()[:-9])
    new = lost(data, tmp_path)
    with pytest.raises(PartError, match="Part 1 of 2 cannot be used"):
        restore("trial", new, bucket)
    assert list(new.runs.iterdir()) == []
    (bucket.folder / first).unlink()  # a generation without its first part is none
    with pytest.raises(UsageError, match="Neither"):
        restore("trial", new, bucket)


# ---- The service.


def test_active_runs_are_stored_every_hour_and_not_in_between(data: Data, bucket: Bucket) -> None:
    job(data)
    job(data, "client", kind=CLIENT)
    keeps = Store(data, bucket)
    with driver(data) as ledger:
        for hour in range(3):
            for number, look_s in enumerate((0, 15, 1800, EVERY_S - 1)):
                record(ledger, hour * 10 + number, hour * 10 + number + 1)
                assert keeps.look(hour * EVERY_S + look_s)
    parts = [key for key in bucket.put_keys if key.startswith(KEYS.all_parts)]
    assert len(parts) == len(set(parts)) == 3
    said = json.loads((bucket.folder / KEYS.answers).read_text())
    assert [(one["name"], one["active"]) for one in said["jobs"]] == [("trial", True), ("client", True)]
    assert set(json.loads(data.stored.read_text())["runs"]) == {"trial"}


def test_s3_away_is_tried_again_said_and_holds_up_no_other_run(data: Data, bucket: Bucket) -> None:
    """With longer and longer pauses; the first success ends what is said."""
    for name in ("one", "two"):
        job(data, name)
        with driver(data, name) as ledger:
            record(ledger, 0, 10)
    keeps = Store(data, bucket)
    bucket.says.append("S3 does not answer")
    tries = [look_s for look_s in range(0, 1200, 15) if _tried(keeps, look_s)]
    assert tries == [0, 60, 180, 420, 900]
    said = json.loads(data.stored.read_text())["runs"]
    assert {(name, one["error"], one["at"]) for name, one in said.items()} == {
        ("one", "S3 does not answer", None),
        ("two", "S3 does not answer", None),
    }
    bucket.says.clear()
    assert keeps.look(1900)
    said = json.loads(data.stored.read_text())["runs"]
    assert {one["error"] for one in said.values()} == {""}
    assert all(one["at"] for one in said.values())
    assert len(bucket.parts()) == 2


def _tried(keeps: Store, now_s: float) -> bool:
    before = keeps.runs["one"].due_s if keeps.runs else None
    assert not keeps.look(now_s)
    return keeps.runs["one"].due_s != before


def test_a_runs_end_is_said_at_once_and_its_parts_go(data: Data, bucket: Bucket) -> None:
    folder, keeps = job(data), Store(data, bucket)
    with driver(data) as ledger:
        record(ledger, 0, 10)
        keeps.look(0)
    bucket.put(RunFolder(data.runs / "trial").ledger, f"{KEYS.results('trial')}ledger.sqlite")
    folder.write_progress('{"state": "ended", "at": 17.0}')
    job(data, active=False)
    keeps.look(15)
    [said] = json.loads((bucket.folder / KEYS.answers).read_text())["jobs"]
    assert (said["active"], said["at"], said["progress"]["state"]) == (False, 17.0, "ended")
    keeps.look(2 * EVERY_S)
    assert not bucket.parts()
    keeps.look(3 * EVERY_S)
    assert json.loads(data.stored.read_text())["runs"] == {}


@pytest.mark.parametrize("stops", [True, False])
def test_the_head_stores_what_is_new_when_it_stops_and_a_new_release_waits_for_nothing(
    data: Data, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stops: bool
) -> None:
    """When S3 does not answer at first, it is tried again; a restart of the service alone stores nothing."""
    folder, stopped = job(data), threading.Event()
    monkeypatch.setattr(store, "door", lambda _: bucket)
    monkeypatch.setattr(store, "STOPPING", tmp_path / "stopping")
    monkeypatch.setattr(store, "LAST_AGAIN_S", 0.0)
    with driver(data) as ledger:
        record(ledger, 0, 10)

        def stop(timeout_s: float) -> bool:
            record(ledger, 10, 20)
            bucket.says.append("S3 does not answer")
            monkeypatch.setattr("sweepfleet.machine.head.store.time.sleep", lambda _: bucket.says.clear())
            if stops:
                store.STOPPING.touch()
            threading.Event.set(stopped)
            return True

        monkeypatch.setattr(stopped, "wait", stop)
        store.serve(Facts.read(MACHINE.facts() | {"SWEEPFLEET_DATA": str(data.path)}), stopped=stopped)
    assert Note.read(data.parts("trial")).parts == (2 if stops else 1)
    assert restore("trial", lost(data, tmp_path), bucket).done == (20 if stops else 10)
    assert folder.active.exists()


def test_a_head_that_may_not_store_stops_at_once_and_says_what_to_type(
    data: Data, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose stack was made by an older version; no other try can help."""
    job(data)
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setattr(store, "door", lambda _: bucket)
    monkeypatch.setattr(store, "STOPPING", tmp_path / "stopping")
    monkeypatch.setattr("sweepfleet.machine.head.store.time.sleep", lambda _: pytest.fail("it tries again"))
    store.STOPPING.touch()
    bucket.says.append("PutObject: AccessDenied")
    with driver(data) as ledger:
        record(ledger, 0, 10)
        store.serve(Facts.read(MACHINE.facts() | {"SWEEPFLEET_DATA": str(data.path)}), stopped=stopped)
    said = json.loads(data.stored.read_text())["runs"]["trial"]["error"]
    assert said == "PutObject: AccessDenied; what a head may, `inv up` brings up to date"


def test_whoever_stores_a_runs_results_is_waited_for_when_the_head_stops(data: Data, bucket: Bucket) -> None:
    folder, keeps = job(data), Store(data, bucket)
    with driver(data) as ledger:
        record(ledger, 0, 10)
    with folder.storing.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not keeps.look(0)
        assert json.loads(data.stored.read_text())["runs"]["trial"]["error"] == ""
    assert keeps.look(1)
    assert len(bucket.parts()) == 1


def test_the_heads_answers_have_what_is_read_over_ssh_otherwise(data: Data) -> None:
    """Each run's job, meter and progress; the active ones first, and of the ended ones the last."""
    for number in range(25):
        job(data, f"run-{number}", active=number == 3).write_progress(
            json.dumps({"state": "ended" if number != 3 else "running", "at": number + 1.0})
        )
    JobFolder(data.jobs / "run-7").meter.write_text('{"worker_s": 5.0}')
    data.spending.write_text('{"days": {}}')
    found = answers(data, now_s=99.0)
    assert [one["name"] for one in found["jobs"]] == ["run-3", *(f"run-{n}" for n in range(24, 3, -1) if n != 3)][:21]
    [seven] = [one for one in found["jobs"] if one["name"] == "run-7"]
    assert (seven["meter"], Job.from_json(seven["job"]).name, seven["progress"]["at"]) == (
        '{"worker_s": 5.0}',
        "run-7",
        8.0,
    )
    assert (found["at"], found["spending"]) == (99.0, '{"days": {}}')


@pytest.mark.parametrize("way", [InProcess, Aws])
def test_parts_come_back_from_s3(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, way: Any) -> None:
    """By obstore and by `aws`; a run's artifacts are not listed for it."""
    with bucket_here(monkeypatch, MACHINE.bucket) as moto:
        aws = way(Facts.read(MACHINE.facts() | {"AWS_ENDPOINT_URL": moto.endpoint}))
        folder = job(data)
        with driver(data) as ledger:
            for start in (0, 100):
                record(ledger, start, start + 100)
                store_run(folder, data, aws)
        aws.put(folder.job, f"{KEYS.results('trial')}artifacts/0/x")
        aws.put(folder.job, f"{KEYS.results('trial')}summary.json")
        assert [one.key for one in aws.files(KEYS.results("trial"))] == ["runs/trial/summary.json"]
        new = lost(data, tmp_path)
        assert restore("trial", new, aws).done == 200
        assert rows(new.runs / "trial") == rows(data.runs / "trial")
        aws.delete("runs/trial/summary.json")
        aws.delete("runs/trial/summary.json")
        assert aws.files(KEYS.results("trial")) == []
