"""Data files on their way: what the bucket has is not sent again, by whatever way a release comes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweepfleet.fleet.code.included import pack
from sweepfleet.fleet.code.release import make_release
from sweepfleet.fleet.code.send_data import lacking, lines, send, store
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.machine.facts import KEYS
from tests.cloud.moto import Moto
from tests.fleet.test_included import DATA, project

pytest_plugins = ["tests.cloud.fixtures"]
REGION, BUCKET = "eu-west-1", "sweepfleet-dev-0123"
OUTPUTS: Any = SimpleNamespace(bucket=BUCKET)


class Head:
    """A head that has some files, and keeps what it is sent."""

    def __init__(self, *has: str) -> None:
        self.has = set(has)
        self.kept: list[tuple[str, ...]] = []
        self.sent: dict[str, bytes] = {}

    def run(self, *words: str) -> Any:
        assert words[:2] == ("test", "-e")
        return SimpleNamespace(exit_code=int(words[2] not in self.has))

    def put(self, file: Path, remote: str, *, sent: Any) -> None:
        sent(1, 2)
        self.sent[remote] = file.read_bytes()

    def ask(self, *words: str, sudo: bool) -> None:
        assert sudo
        self.kept.append(words[4:])


class Steps:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, text: str) -> None:
        self.said.append(text)

    def update(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def cloud(moto: Moto, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    s3 = moto.client("s3", REGION)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Cloud(REGION, endpoint_url=moto.endpoint)


def test_a_pipeline_stores_each_part_once(cloud: Cloud, tmp_path: Path) -> None:
    root = project(tmp_path / "project", 'include = ["data/", "models/*.bin"]', **DATA)
    release = make_release(root, dirty=False)
    missing = lacking(release, cloud, OUTPUTS)
    assert missing == list(release.parts)
    store(cloud, OUTPUTS, release, missing)
    assert lacking(release, cloud, OUTPUTS) == []
    for part in release.parts:
        stored = cloud.client("s3").get_object(Bucket=BUCKET, Key=KEYS.data(part.id))["Body"].read()
        pack(part, root, tmp_path / "again")
        assert stored == (tmp_path / "again").read_bytes()
    (root / "models" / "m.bin").write_text("4444")
    release = make_release(root, dirty=False)
    assert lacking(release, cloud, OUTPUTS) == [release.parts[1]]
    assert lines(release, [release.parts[1]]) == [
        "With it: data/, 2 files, 0.0 MB; the cluster has it already",
        "With it: models/*.bin, 1 file, 0.0 MB",
    ]


def test_a_laptop_sends_what_is_missing_and_the_head_has_not_from_a_push_that_was_cut_off(tmp_path: Path) -> None:
    release = make_release(project(tmp_path, 'include = ["data/", "models/*.bin"]', **DATA), dirty=False)
    first, second = release.parts
    steps: Any = Steps()
    head: Any = Head(f"/opt/sweepfleet/incoming/data-{first.id}.tar.gz")
    send(head, release, [first, second], steps=steps)
    ((came, sha256, place),) = head.kept
    assert place == f"/opt/sweepfleet/incoming/data-{second.id}.tar.gz"
    assert sha256 == pack(second, release.root, tmp_path / "again")
    assert head.sent == {came: (tmp_path / "again").read_bytes()}
    assert steps.said == [
        "Packing models/*.bin",
        "Sending models/*.bin, 0.0 MB",
        "Sending models/*.bin, 0.0 of 0.0 MB",
    ]
    head = Head()
    send(head, release, [], steps=steps)
    assert head.sent == {}
