"""Saved plans, kept beside Pulumi's state: in a folder, and in a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.pipeline.store import Bucket, Folder, Plans, Saved, place_of
from tests.cloud.moto import Moto, moto_server

TREE, OTHER = "a" * 40, "b" * 64
SAVED = Saved(
    stack="dev",
    tree=TREE,
    commit="c" * 40,
    made="2026-11-24T10:00:00+00:00",
    pulumi="3.260.0",
    refused=[],
    plan={"resourcePlans": {"ü": 1}},
)
BUCKET = "the-state"
REGION = "eu-west-1"  # not the shell's


@pytest.fixture(scope="module")
def cloud() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture
def bucket_url(cloud: Moto, monkeypatch: pytest.MonkeyPatch) -> str:
    """The state's bucket, in another region than the shell's."""
    for key, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    cloud.reset()
    cloud.client("s3", REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return f"s3://{BUCKET}?region={REGION}&awssdk=v2&endpoint={cloud.endpoint}&s3ForcePathStyle=true"


@pytest.fixture(params=["folder", "bucket"])
def plans(request: pytest.FixtureRequest, tmp_path: Path) -> Plans:
    url = f"file://{tmp_path}/state" if request.param == "folder" else request.getfixturevalue("bucket_url")
    return Plans(place_of(url, root=tmp_path), "dev")


def test_a_plan_comes_back_as_it_was_kept(plans: Plans) -> None:
    assert plans.get(TREE) is None
    plans.put(SAVED)
    assert plans.get(TREE) == SAVED
    assert plans.get(OTHER) is None


def test_a_later_plan_of_the_same_files_takes_the_earlier_ones_place(plans: Plans) -> None:
    """Also one that is refused."""
    plans.put(SAVED)
    later = replace(SAVED, refused=["no port is open to the world"], plan={})
    plans.put(later)
    assert plans.get(TREE) == later


def test_each_stack_has_its_own(plans: Plans) -> None:
    plans.put(SAVED)
    assert Plans(plans.place, "prod").get(TREE) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', json.dumps({"version": 2})])
def test_what_is_no_plan_is_refused(plans: Plans, text: str) -> None:
    plans.place.put(plans.key(TREE), text)
    with pytest.raises(ClusterError, match=f"plans/dev/{TREE}.json cannot be used"):
        plans.get(TREE)


def test_a_plan_under_anothers_name_is_refused(plans: Plans) -> None:
    plans.place.put(plans.key(OTHER), SAVED.to_json())
    with pytest.raises(ClusterError, match=f"is of dev and the tree {TREE}"):
        plans.get(OTHER)


@pytest.mark.parametrize("tree", ["", "../x", "a" * 39, "A" * 40, "a" * 40 + "\n"])
def test_a_tree_is_a_hash_and_no_path(plans: Plans, tree: str) -> None:
    with pytest.raises(ValueError, match="is not a hash"):
        plans.get(tree)


def test_it_lies_beside_the_state(cloud: Moto, bucket_url: str, tmp_path: Path) -> None:
    """In the bucket's own region, and under the prefix where the state has one."""
    Plans(place_of(bucket_url, root=tmp_path), "dev").put(SAVED)
    Plans(place_of(bucket_url.replace("?", "/team/a/?"), root=tmp_path), "dev").put(SAVED)
    found = cloud.client("s3", REGION).list_objects_v2(Bucket=BUCKET)["Contents"]
    assert [one["Key"] for one in found] == [f"plans/dev/{TREE}.json", f"team/a/plans/dev/{TREE}.json"]
    place = place_of(bucket_url, root=tmp_path)
    assert isinstance(place, Bucket)
    assert place.client.meta.region_name == REGION


def test_an_endpoint_without_a_scheme_has_tls_unless_it_is_turned_off(tmp_path: Path) -> None:
    """As Pulumi takes them."""
    for query, url in {"": "https://minio:9000", "&disableSSL=true": "http://minio:9000"}.items():
        place = place_of(f"s3://b?region=x&endpoint=minio:9000{query}", root=tmp_path)
        assert isinstance(place, Bucket)
        assert place.client.meta.endpoint_url == url


def test_a_bucket_that_is_not_there_is_said(bucket_url: str, tmp_path: Path) -> None:
    plans = Plans(place_of(bucket_url.replace(BUCKET, "another"), root=tmp_path), "dev")
    with pytest.raises(ClusterError, match=r"Cannot save the plan in s3://another: AWS says NoSuchBucket"):
        plans.put(SAVED)
    with pytest.raises(ClusterError, match="NoSuchBucket"):
        plans.get(TREE)


def test_a_folder_is_where_pulumi_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, of the home, or of the project."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    for url, folder in {
        f"file://{tmp_path}/s?no_tmp_dir=true": tmp_path / "s",
        "file://~": tmp_path / "home",
        "file://~/state": tmp_path / "home" / "state",
        "file://./state": root / "state",
        "file://../state": tmp_path / "state",
    }.items():
        assert place_of(url, root=root) == Folder(folder)


def test_only_the_owner_may_read_a_plan(tmp_path: Path) -> None:
    """It holds what the state holds."""
    Plans(Folder(tmp_path), "dev").put(SAVED)
    file = tmp_path / "plans" / "dev" / f"{TREE}.json"
    assert file.stat().st_mode & 0o077 == 0
    assert list(file.parent.iterdir()) == [file], "nothing is left beside it"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("a file")
    with pytest.raises(ClusterError, match="cannot be saved"):
        Plans(Folder(tmp_path), "dev").put(SAVED)
    with pytest.raises(ClusterError, match="cannot be read"):
        Plans(Folder(tmp_path), "dev").get(TREE)


@pytest.mark.parametrize("url", ["https://api.pulumi.com", "azblob://state", "gs://state"])
def test_another_backend_is_refused_with_what_to_set(url: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"PULUMI_BACKEND_URL=s3://"):
        place_of(url, root=tmp_path)
