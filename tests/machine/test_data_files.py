"""Data files on a machine: in their places in each release that lists them, fetched once, and what was pushed."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepfleet.fleet.code.included import pack
from sweepfleet.fleet.code.release import Release, make_release
from sweepfleet.machine import bring, data_files
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.bring import BringError, bring_release
from sweepfleet.machine.facts import KEYS, Home
from tests.fleet.test_included import DATA, commit, project
from tests.folder_bucket import FolderBucket


class Counting(FolderBucket):
    """A bucket that notes what was fetched."""

    fetched: list[str] = []  # noqa: RUF012 - emptied by the fixture

    def get(self, key: str, file: Path) -> None:
        self.fetched.append(key)
        super().get(key, file)


class World:
    """A checkout, a bucket and a machine."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = project(tmp_path / "project", 'include = ["data/", "models/*.bin"]', **DATA)
        (self.root / "data" / "latest").symlink_to("a.csv")
        (self.root / "models" / "m.bin").chmod(0o755)
        self.bucket = Counting(folder=tmp_path / "bucket")
        self.home = Home(tmp_path / "machine")
        self.home.path.mkdir()

    def pushed(self) -> Release:
        """What the bucket has after a push."""
        release = make_release(self.root, dirty=False)
        for key in (KEYS.release(release.sha256), *(KEYS.data(part.id) for part in release.parts)):
            (self.bucket.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.bucket.folder / KEYS.release(release.sha256)).write_bytes(release.data)
        for part in release.parts:
            pack(part, self.root, self.bucket.folder / KEYS.data(part.id))
        return release

    def files(self, place: Path) -> dict[str, str]:
        """The data files of a release's folder."""
        found = (path for name in ("data", "models") for path in (place / name).rglob("*"))
        return {path.relative_to(place).as_posix(): path.read_text() for path in found if path.is_file()}


EXPECTED = {name: text for name, text in DATA.items() if name != "models/m.txt"} | {"data/latest": "1\n"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    Counting.fetched.clear()
    for module in (bring, data_files):
        monkeypatch.setattr(module, "HOME", made.home)
    yield made
    assert not list(made.home.path.glob("data/.new-*"))


def test_they_come_with_a_release_to_their_places_as_they_are(world: World) -> None:
    release = world.pushed()
    place = bring_release(world.bucket, release.sha256)
    assert world.files(place) == EXPECTED
    assert (place / "data" / "latest").is_symlink()
    assert (place / "models" / "m.bin").stat().st_mode & 0o777 == 0o755
    assert (place / "data" / "a.csv").stat().st_mode & 0o777 == 0o644


def test_the_next_release_with_the_same_data_fetches_none_and_takes_no_more_disk(world: World) -> None:
    first = bring_release(world.bucket, world.pushed().sha256)
    commit(world.root, **{"fit.py": "1\n"})
    world.bucket.fetched.clear()
    release = world.pushed()
    second = bring_release(world.bucket, release.sha256)
    assert world.bucket.fetched == [KEYS.release(release.sha256)]
    assert world.files(second) == EXPECTED | {"models/m.txt": "4"}  # which is committed now
    assert (first / "data" / "a.csv").samefile(second / "data" / "a.csv")


def test_of_changed_data_the_changed_part_is_fetched(world: World) -> None:
    first = bring_release(world.bucket, world.pushed().sha256)
    (world.root / "data" / "a.csv").write_text("9\n")
    world.bucket.fetched.clear()
    release = world.pushed()
    second = bring_release(world.bucket, release.sha256)
    assert world.bucket.fetched == [KEYS.release(release.sha256), KEYS.data(release.parts[0].id)]
    assert world.files(second)["data/a.csv"] == "9\n"
    assert world.files(first)["data/a.csv"] == "1\n"  # a run keeps what it began with


def test_a_release_that_the_boot_has_brought_without_them_gets_them(world: World) -> None:
    """Also the rest, where a try was cut off."""
    release = world.pushed()
    place = bring_release(world.bucket, release.sha256)
    shutil.rmtree(place / "models")
    (place / "data" / "latest").unlink()
    assert world.files(bring_release(world.bucket, release.sha256)) == EXPECTED


def test_a_release_is_not_there_before_its_data_are(world: World) -> None:
    release = world.pushed()
    key = world.bucket.folder / KEYS.data(release.parts[1].id)
    archive = key.read_bytes()
    key.unlink()
    with pytest.raises(AwsError):
        bring_release(world.bucket, release.sha256)
    assert not world.home.release(release.sha256).exists()
    key.write_bytes(archive)
    assert world.files(bring_release(world.bucket, release.sha256)) == EXPECTED


@pytest.mark.parametrize("kind", ["another content", "one more", "one fewer", "cut short", "a link", "outside"])
def test_what_is_not_what_was_pushed_is_refused(world: World, tmp_path: Path, kind: str) -> None:
    release = world.pushed()
    part = release.parts[0]
    stored = world.bucket.folder / KEYS.data(part.id)
    place = tmp_path / "forged"
    with tarfile.open(stored) as archive:
        archive.extractall(place, filter="data")
    first = place / "data" / "a.csv"
    if kind == "another content":
        first.write_text("8\n")
    elif kind == "one more":
        (place / "data" / "more.csv").write_text("1")
    elif kind == "one fewer":
        first.unlink()
    elif kind == "a link":
        first.unlink()
        first.symlink_to("/etc/hostname")
    with tarfile.open(stored, "w:gz") as archive:
        archive.add(place / "data", "data")
        if kind == "outside":
            archive.add(first, "../outside.csv")
    if kind == "cut short":
        stored.write_bytes(stored.read_bytes()[:-30])
    with pytest.raises(BringError, match="data/"):
        bring_release(world.bucket, release.sha256)
    assert not world.home.release(release.sha256).exists()
    assert not (world.home.path / "outside.csv").exists()


def test_the_head_takes_what_a_laptop_sent_and_stores_it_once(world: World) -> None:
    release = world.pushed()
    for part in release.parts:
        sent, key = world.home.incoming_data(part.id), world.bucket.folder / KEYS.data(part.id)
        sent.parent.mkdir(exist_ok=True)
        key.rename(sent)
    place = bring_release(world.bucket, release.sha256)
    assert world.bucket.fetched == [KEYS.release(release.sha256)]
    assert [part.entry for part in data_files.store(world.bucket, place)] == ["data/", "models/*.bin"]
    assert not list((world.home.path / "incoming").iterdir())
    assert all((world.bucket.folder / KEYS.data(part.id)).exists() for part in release.parts)
    assert list(data_files.store(world.bucket, place)) == []


def test_what_a_laptop_sent_wrong_is_sent_again_at_the_next_push(world: World) -> None:
    release = world.pushed()
    sent = world.home.incoming_data(release.parts[0].id)
    sent.parent.mkdir()
    sent.write_bytes(b"no archive")
    with pytest.raises(BringError, match="cannot be unpacked"):
        bring_release(world.bucket, release.sha256)
    assert not sent.exists()


def test_data_that_no_release_needs_go_from_the_disk_and_releases_keep_theirs(world: World) -> None:
    old = bring_release(world.bucket, world.pushed().sha256)
    (world.root / "data" / "a.csv").write_text("9\n")
    release = world.pushed()
    new = bring_release(world.bucket, release.sha256)
    left = world.home.all_data / ".new-left"
    active = world.home.all_data / ".new-active"
    for folder in (left, active):
        folder.mkdir()
    os.utime(left, (1, 1))
    data_files.prune({new})
    assert {path.name for path in world.home.all_data.iterdir()} == {
        *(part.id for part in release.parts),
        active.name,
    }
    active.rmdir()
    assert world.files(old) == EXPECTED


@pytest.mark.parametrize("name", ["../outside", "/outside", "data/../../outside"])
def test_no_list_places_a_file_outside_its_release(world: World, name: str) -> None:
    place = world.home.release("a" * 64)
    (place / data_files.LIST).parent.mkdir(parents=True)
    part = data_files.Part("data/", {name: data_files.Content("0" * 64, 1)}, {})
    (place / data_files.LIST).write_text(data_files.to_json((part,)))
    with pytest.raises(BringError, match="is not a path in the project"):
        bring_release(world.bucket, place.name)
