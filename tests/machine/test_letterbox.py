"""Letters: a pipeline without SSH asks the head through the bucket, and each thing that it asks for is done once."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach import letterbox as sender
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.letterbox import Letterbox
from sweepfleet.fleet.stack.awake import HeadState, wake
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.facts import CODE, KEYS, Data, Facts
from sweepfleet.machine.head import letterbox
from sweepfleet.machine.head.letterbox import DONE, FAILED, REFUSED, do_all
from sweepfleet.machine.head.letters import LONGEST_S, stamped
from sweepfleet.machine.in_process import bucket as bucket_of
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import Job, JobFolder
from tests.cloud.moto import Moto, moto_server
from tests.fleet.test_runs_far import OUTPUTS
from tests.folder_bucket import FolderBucket

REGION = "us-east-1"
SHA256 = "a" * 64
JOB = Job("trial", SHA256, "b" * 64, "engine", "grid.yaml", "inv sweep", 7.0, retry_failed=False, workers_needed=2)


def answers(bucket: FolderBucket) -> dict[str, tuple[int, str]]:
    """What was said, by letter."""
    said = {Path(one.key).stem: json.loads((bucket.folder / one.key).read_text()) for one in bucket.list(KEYS.outbox)}
    return {name: (one["exit_code"], one["said"]) for name, one in said.items()}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderBucket:
    """A bucket whose head has taken up a release, and is ready."""
    (tmp_path / "uv").touch()
    monkeypatch.setattr(letterbox, "UV", tmp_path / "uv")
    made = FolderBucket(folder=tmp_path / "bucket")
    store(made, KEYS.current, {"release": {"sha256": SHA256}})
    return made


def store(bucket: FolderBucket, key: str, what: Any) -> None:
    place = bucket.folder / key
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, bytes):
        place.write_bytes(what)
    else:
        place.write_text(what if isinstance(what, str) else json.dumps(what))


VOLUME = "vol-0a1b"


def ask(bucket: FolderBucket, letter: str, what: dict[str, Any], **other: Any) -> None:
    """A letter as `fleet.reach.letterbox` writes it."""
    store(bucket, KEYS.letter(letter), stamped(what, volume=VOLUME, now=datetime.now(UTC)) | other)


def age(bucket: FolderBucket, letter: str, seconds: float) -> None:
    """Have S3 have stored it so long ago."""
    then = time.time() - seconds
    os.utime(bucket.folder / KEYS.letter(letter), (then, then))


def look(bucket: FolderBucket, data: Path, answered: set[str] | None = None) -> None:
    """One look of the head of this cluster."""
    do_all(bucket, Data(data), set() if answered is None else answered, volume=VOLUME)


def ask_for_sweep(bucket: FolderBucket, letter: str, job: Job) -> None:
    """A sweep's letter, and the archive that travels with it."""
    ask(bucket, letter, {"kind": "sweep", "name": "trial"})
    place = bucket.folder / KEYS.enclosed(letter)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w") as tar:
        entry = tarfile.TarInfo("job.json")
        entry.size = len(job.to_json().encode())
        tar.addfile(entry, io.BytesIO(job.to_json().encode()))


def taken_over(data: Path) -> JobFolder:
    """The job's folder on a head that has it."""
    folder = JobFolder(Data(data).jobs / "trial")
    folder.path.mkdir(parents=True)
    folder.job.write_text(JOB.to_json())
    return folder


def test_each_letter_is_answered_once_and_the_oldest_first(bucket: FolderBucket, tmp_path: Path) -> None:
    """What is there already needs nothing done; what is no letter is left alone; a new process answers none again."""
    for letter in ("2", "1", "3"):
        ask(bucket, letter, {"kind": "push", "sha256": SHA256})
    store(bucket, KEYS.first, {"key": KEYS.release(SHA256), "sha256": SHA256})
    store(bucket, KEYS.answer("3"), {"exit_code": 1, "said": "before"})
    store(bucket, KEYS.ended("trial"), {"exit_code": 0, "said": "of a run"})
    store(bucket, "inbox/deep/1.json", {})
    answered: set[str] = set()
    look(bucket, tmp_path, answered)
    here = (DONE, "it is the cluster's release")
    assert answers(bucket) == {"1": here, "2": here, "3": (1, "before"), "trial": (0, "of a run")}
    assert answered == {"1", "2", "3"}
    (bucket.folder / KEYS.answer("1")).unlink()
    look(bucket, tmp_path, answered)
    assert "1" not in answers(bucket), "nobody looks at it twice"
    ask(bucket, "4", {"kind": "push", "sha256": SHA256})
    look(bucket, tmp_path)
    assert set(answers(bucket)) == {"1", "2", "3", "4", "trial"}


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the head that does as a script says."""
    file = folder / "bin" / name
    file.parent.mkdir()
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(file.parent), prepend=os.pathsep)


@pytest.mark.parametrize("by", [None, {"aws": "arn:aws:sts::1:assumed-role/deploy/run-1", "git": ""}])
def test_who_pushes_by_letter_is_told_to_the_publisher(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Any
) -> None:
    """Letters of an older checkout do not say it."""
    program(tmp_path, "systemd-run", f'printf "%s\\n" "$@" > {tmp_path}/words', monkeypatch)
    monkeypatch.setattr(letterbox, "bring_release", lambda *_: tmp_path)
    new = "c" * 64
    ask(bucket, "1", {"kind": "push", "sha256": new} | ({"by": by} if by else {}))
    look(bucket, tmp_path)
    assert answers(bucket)["1"] == (DONE, "published")
    words = (tmp_path / "words").read_text().splitlines()
    told = [word.removeprefix("--setenv=SWEEPFLEET_PUSHED_BY=") for word in words if "PUSHED_BY" in word]
    assert [json.loads(one) for one in told] == ([by] if by else [])
    assert words[-1] == new
    assert f"--working-directory={tmp_path / CODE}" in words  # where Python finds the package


@pytest.mark.parametrize(
    ("letter", "said"),
    [
        ("no json", "The request cannot be read"),
        ("[]", "The request cannot be read"),
        ("[" * 60_000, "The request cannot be read: RecursionError"),
        ("\udcff".encode(errors="surrogateescape"), "The request cannot be read"),
        (b" " * 65_537, "The request has 65,537 bytes; the limit is 65,536."),
        ({"kind": "push"}, "The request cannot be read: KeyError('sha256')"),
        (
            {"kind": "push", "sha256": SHA256, "volume": "vol-other"},
            "is for the cluster with the data volume vol-other",
        ),
        ({"kind": "push", "sha256": SHA256, "volume": ""}, "an older version sent it"),
        ({"kind": "push", "sha256": SHA256, "expires_s": None}, "an older version sent it"),
        ({"kind": "push", "sha256": SHA256, "expires_s": True}, "an older version sent it"),
        ({"kind": "push", "sha256": SHA256, "sent": None}, "an older version sent it"),
        ({"kind": "push", "sha256": SHA256, "expires_s": -1}, "The request has expired"),
        ({"kind": "push", "sha256": SHA256, "expires_s": -(10**400)}, "The request has expired"),
        ({"kind": "push", "sha256": SHA256, "expires_s": float("nan")}, "The request has expired"),
        ({"kind": "dance"}, "this head does not know requests of the kind 'dance'"),
        ({"kind": "sweep", "name": "../../etc"}, "'../../etc' is not a run's name"),
        ({"kind": "sweep", "name": "trial/../../etc"}, "'trial/../../etc' is not a run's name"),
        ({"kind": "sweep", "name": ""}, "'' is not a run's name"),
        ({"kind": "push", "sha256": "../x"}, "'../x' is not the name of a release"),
    ],
)
def test_a_letter_that_cannot_be_done_is_refused_and_stops_no_other(
    bucket: FolderBucket, tmp_path: Path, letter: Any, said: str
) -> None:
    if isinstance(letter, dict):
        ask(bucket, "1", letter, **letter)
    else:
        store(bucket, KEYS.letter("1"), letter)
    ask(bucket, "2", {"kind": "push", "sha256": SHA256})
    look(bucket, tmp_path)
    code, answer = answers(bucket)["1"]
    assert code == REFUSED
    assert said in answer
    assert answers(bucket)["2"][0] == DONE


@pytest.mark.parametrize(
    ("letter", "again"),
    [({"kind": "push", "sha256": SHA256}, "inv ci.deploy"), ({"kind": "sweep", "name": "trial"}, "inv ci.sweeps")],
)
@pytest.mark.parametrize("version", ["expired", "of another cluster", "without a stamp"])
def test_what_an_old_letter_asks_for_is_not_done_and_the_answer_says_how_to_send_it_again(
    bucket: FolderBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    letter: dict[str, str],
    again: str,
    version: str,
) -> None:
    """A bucket outlives its cluster: the next one's head finds what the last one's did not do."""
    done: list[str] = []
    monkeypatch.setattr(letterbox, "publish", lambda *_: done.append("push"))
    monkeypatch.setattr(letterbox, "take_over", lambda *_: done.append("sweep"))
    if version == "without a stamp":
        store(bucket, KEYS.letter("1"), letter)
    else:
        ask(bucket, "1", letter, **({} if version == "expired" else {"volume": "vol-gone"}))
    age(bucket, "1", 30 * 86_400)
    look(bucket, tmp_path)
    code, said = answers(bucket)["1"]
    assert (code, done) == (REFUSED, [])
    assert "Nothing was done." in said
    assert said.endswith(again)


def test_a_letter_s_age_is_by_s3_s_clock_and_not_by_its_sender_s(bucket: FolderBucket, tmp_path: Path) -> None:
    for letter, sent in (("1", "1999-01-01T00:00:00+00:00"), ("2", "2999-01-01T00:00:00+00:00")):
        ask(bucket, letter, {"kind": "push", "sha256": SHA256}, sent=sent, expires_s=3600)
    age(bucket, "2", 3601)
    ask(bucket, "3", {"kind": "push", "sha256": SHA256}, expires_s=1e9)  # a week is the longest
    age(bucket, "3", LONGEST_S + 60)
    look(bucket, tmp_path)
    assert [answers(bucket)[letter][0] for letter in ("1", "2", "3")] == [DONE, REFUSED, REFUSED]


def test_a_letter_that_cannot_be_had_holds_up_no_other_and_is_done_when_it_can(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    for letter in ("1", "2"):
        ask(bucket, letter, {"kind": "push", "sha256": SHA256})
    ask_for_sweep(bucket, "3", JOB)
    taken_over(tmp_path).active.touch()
    (bucket.folder / KEYS.enclosed("3")).unlink()
    answered: set[str] = set()
    with pytest.raises(letterbox.LaterError, match=r"1: not done yet: .*403\n3: not done yet: .*403"):
        look(dataclasses.replace(bucket, refused=frozenset({KEYS.letter("1")})), tmp_path, answered)
    assert (set(answers(bucket)), answered) == ({"2"}, {"2"})
    ask_for_sweep(bucket, "3", JOB)
    look(bucket, tmp_path, answered)
    assert {letter: code for letter, (code, _) in answers(bucket).items()} == dict.fromkeys("123", DONE)


@pytest.mark.parametrize(("code", "answer"), [(1, (FAILED, "no such package")), (75, None)])
def test_a_release_that_cannot_be_published_is_told_and_one_that_cannot_be_now_is_tried_again(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, answer: tuple[int, str] | None
) -> None:
    """75: AWS did not answer the publisher."""
    program(tmp_path, "systemd-run", f"echo 'error: no such package' >&2; exit {code}", monkeypatch)
    monkeypatch.setattr(letterbox, "bring_release", lambda *_: tmp_path)
    ask(bucket, "1", {"kind": "push", "sha256": "c" * 64})
    with contextlib.nullcontext() if answer else pytest.raises(letterbox.LaterError, match="no such package"):
        look(bucket, tmp_path)
    assert answers(bucket).get("1") == answer


def test_a_run_that_cannot_be_taken_over_is_told(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "chown", "echo 'no such user' >&2; exit 1", monkeypatch)
    Data(tmp_path).jobs.mkdir()
    ask_for_sweep(bucket, "1", JOB)
    look(bucket, tmp_path)
    assert answers(bucket) == {"1": (FAILED, "no such user")}
    assert not JobFolder(Data(tmp_path).jobs / "trial").active.exists()


def test_what_this_machine_cannot_do_now_is_tried_again(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its disk is full."""

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(letterbox, "bring_release", full)
    ask(bucket, "1", {"kind": "push", "sha256": "c" * 64})
    with pytest.raises(letterbox.LaterError, match="No space left"):
        look(bucket, tmp_path)
    assert answers(bucket) == {}


class EndError(Exception):
    """The head has looked often enough."""


def test_the_head_looks_less_often_when_nothing_came_for_a_while_and_says_a_trouble_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each look is a call that AWS bills."""
    now_s, pauses, comes = 0.0, list[float](), {65: "a letter", 70: AwsError("away"), 71: AwsError("away")}

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        pauses.append(seconds)
        if len(pauses) == 140:
            raise EndError

    def do_all(_: Any, __: Any, answered: set[str], *, volume: str) -> None:
        assert volume == VOLUME
        if isinstance(found := comes.get(len(pauses)), AwsError):
            raise found
        if found:
            answered.add(found)

    monkeypatch.setattr(letterbox, "door", lambda _: None)
    monkeypatch.setattr(letterbox, "do_all", do_all)
    monkeypatch.setattr(letterbox, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    with pytest.raises(EndError):
        letterbox.serve(Facts("head", "dev", "b", "AROA", "", "", REGION, "", str(tmp_path), "g", VOLUME))
    awake = int(letterbox.AWAKE_S / letterbox.POLL_S)
    assert pauses[:awake] == [letterbox.POLL_S] * awake
    assert pauses[awake:65] == [letterbox.REST_S] * (65 - awake)
    assert pauses[65 : 65 + awake] == [letterbox.POLL_S] * awake
    assert pauses[-1] == letterbox.REST_S
    assert capsys.readouterr().out == "away\n"


def test_a_head_that_is_not_ready_answers_nothing_and_tries_again(bucket: FolderBucket, tmp_path: Path) -> None:
    ask(bucket, "1", {"kind": "push", "sha256": "c" * 64})
    (tmp_path / "uv").unlink()
    answered: set[str] = set()
    with pytest.raises(letterbox.LaterError, match="uv does not exist yet"):
        look(bucket, tmp_path, answered)
    assert (answers(bucket), answered) == ({}, set())


def test_a_run_that_was_taken_over_just_before_the_power_went_is_not_taken_over_again(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    """But one of the same name that somebody else has started is not mistaken for it."""
    folder = taken_over(tmp_path)
    folder.active.touch()
    ask_for_sweep(bucket, "1", JOB)
    ask_for_sweep(bucket, "2", Job(**{**vars_of(JOB), "submitted": 8.0}))
    look(bucket, tmp_path)
    assert answers(bucket) == {"1": (DONE, "taken over"), "2": (REFUSED, "The run trial is active already.")}


def test_a_run_whose_answer_could_not_be_written_is_not_begun_again_when_it_has_ended(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    """It would be, with a new budget, at each look."""
    folder = taken_over(tmp_path)
    folder.spent.touch()
    ask_for_sweep(bucket, "1", JOB)
    look(bucket, tmp_path)
    assert answers(bucket) == {"1": (DONE, "taken over")}
    assert folder.spent.exists()
    assert not folder.active.exists()


def test_a_head_whose_data_volume_is_not_mounted_takes_nothing_over_and_tries_again(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    ask_for_sweep(bucket, "1", JOB)
    with pytest.raises(letterbox.LaterError, match="is not mounted yet"):
        look(bucket, tmp_path)
    assert answers(bucket) == {}


def vars_of(job: Job) -> dict[str, Any]:
    return json.loads(job.to_json())


# Whoever writes


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Letterbox, Moto]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with moto_server(REGION) as moto:
        moto.client("s3").create_bucket(Bucket=OUTPUTS.bucket)
        outputs: Outputs = OUTPUTS
        yield Letterbox(Cloud(REGION, endpoint_url=moto.endpoint), outputs), moto


def test_a_head_that_sleeps_is_started_for_a_letter(
    box: tuple[Letterbox, Moto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter is there first; the head does it when it is up."""
    asker, moto = box
    ec2, s3 = moto.client("ec2"), moto.client("s3")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    head_id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.stop_instances(InstanceIds=[head_id])
    said: list[str] = []
    asker = Letterbox(asker.cloud, dataclasses.replace(asker.outputs, head_id=head_id), said.append)

    def woken(cloud: Cloud, outputs: Outputs, state: HeadState, *, say: Callable[[str], None]) -> HeadState:
        state = wake(cloud, outputs, state, say=say)
        [letter] = [Path(one["Key"]).stem for one in s3.list_objects_v2(Bucket=outputs.bucket)["Contents"]]
        s3.put_object(Bucket=outputs.bucket, Key=KEYS.answer(letter), Body=b'{"exit_code": 0, "said": "done"}')
        return state

    monkeypatch.setattr(sender, "wake", woken)
    monkeypatch.setattr(sender, "POLL_S", 0.01)
    asker.ask({"kind": "push"}, patience_s=60)
    assert said == ["The head is asleep; starting it."]
    assert ec2.describe_instances()["Reservations"][0]["Instances"][0]["State"]["Name"] == "running"


@pytest.mark.parametrize(
    ("answer", "error"),
    [((0, "done"), None), ((2, "is active already"), UsageError), ((1, "no space"), ClusterError)],
)
def test_whoever_asks_hears_what_the_head_says(
    box: tuple[Letterbox, Moto], tmp_path: Path, answer: tuple[int, str], error: type[Exception] | None
) -> None:
    asker, moto = box
    s3 = moto.client("s3")
    enclosed = tmp_path / "job.tar"
    enclosed.write_bytes(b"tar")

    def head() -> None:
        while not (
            listed := s3.list_objects_v2(Bucket=OUTPUTS.bucket, Prefix=KEYS.inbox).get("Contents", ())
        ) or not (letters := [one["Key"] for one in listed if one["Key"].endswith(".json")]):
            time.sleep(0.05)
        letter = Path(letters[0]).stem
        assert s3.get_object(Bucket=OUTPUTS.bucket, Key=KEYS.enclosed(letter))["Body"].read() == b"tar"
        body = json.dumps({"exit_code": answer[0], "said": answer[1]}).encode()
        s3.put_object(Bucket=OUTPUTS.bucket, Key=KEYS.answer(letter), Body=body)

    answering = threading.Thread(target=head)
    answering.start()
    try:
        if error is None:
            asker.ask({"kind": "sweep", "name": "trial"}, enclosed=enclosed, patience_s=60)
        else:
            with pytest.raises(error, match=answer[1]):
                asker.ask({"kind": "sweep", "name": "trial"}, enclosed=enclosed, patience_s=60)
    finally:
        answering.join()


def test_a_head_that_does_not_answer_is_given_up_with_what_its_console_says(box: tuple[Letterbox, Moto]) -> None:
    with pytest.raises(
        ClusterError,
        match=r"did not answer in 0 s. It carries out the request as soon as it can, within 24 h\. .*onsole",
    ):
        box[0].ask({"kind": "push", "sha256": SHA256}, patience_s=0)


@pytest.mark.parametrize("volume", [OUTPUTS.data_volume_id, "vol-of-the-next-cluster"])
def test_a_letter_goes_through_the_bucket_to_the_head_that_it_is_for(
    box: tuple[Letterbox, Moto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: str
) -> None:
    """Sender and head as they are, with S3's clock; the head of another cluster refuses."""
    asker, moto = box
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    (tmp_path / "uv").touch()
    monkeypatch.setattr(letterbox, "UV", tmp_path / "uv")
    note = json.dumps({"release": {"sha256": SHA256}}).encode()
    moto.client("s3").put_object(Bucket=OUTPUTS.bucket, Key=KEYS.current, Body=note)
    facts = Facts("head", "dev", OUTPUTS.bucket, "AROA", "", "", REGION, moto.endpoint, str(tmp_path), "g", volume)
    answered: set[str] = set()
    bucket_of.cache_clear()

    def head() -> None:
        while not answered:
            do_all(door(facts), Data(tmp_path), answered, volume=facts.data_volume)

    answering = threading.Thread(target=head)
    answering.start()
    try:
        if volume == OUTPUTS.data_volume_id:
            asker.ask({"kind": "push", "sha256": SHA256}, patience_s=60)
        else:
            with pytest.raises(
                UsageError, match=r"the cluster with the data volume .* Send it again: inv ci\.deploy"
            ):
                asker.ask({"kind": "push", "sha256": SHA256}, patience_s=60)
    finally:
        answering.join()
        bucket_of.cache_clear()
