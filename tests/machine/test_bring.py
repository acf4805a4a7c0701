"""Releases and environments on a machine: what was pushed and nothing else, whole or not at all, by both ways in.

The boot text's `await-release` brings the current one, before there is any code of ours; `machine.bring` what
a run asks for.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sweepfleet.infra.boot_text import SCRIPTS
from sweepfleet.machine import bring
from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.bring import BringError
from sweepfleet.machine.facts import KEYS, Home
from tests.folder_bucket import FolderBucket

BOOT = "boot"  # the way in of a machine that starts
FAKE_AWS = """\
#!/bin/sh
for word; do source=${source_:-}; source_=${target:-}; target=$word; done
cp "$BUCKET/${source_#s3://b/}" "$target" 2>/dev/null || { echo "fatal error: 403" >&2; exit 1; }
"""
ENVIRONMENT = "e" * 64
START = ".sweepfleet/code/sweepfleet/machine/start"


class Machine:
    """A machine's folder, and how a release comes there: what is said when it does not."""

    def __init__(self, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.bucket, self._way = Home(tmp_path / "machine"), tmp_path / "bucket", way
        self.home.path.mkdir()
        (self.bucket / "releases").mkdir(parents=True)
        monkeypatch.setattr(bring, "HOME", self.home)
        self._aws = tmp_path / "bin" / "aws"
        self._aws.parent.mkdir()
        self._aws.write_text(FAKE_AWS)
        self._aws.chmod(0o755)

    def store(self, archive: bytes, *, sha256: str = "") -> str:
        """Put a release into the bucket, and name it the current one."""
        sha256 = sha256 or hashlib.sha256(archive).hexdigest()
        (self.bucket / KEYS.release(sha256)).write_bytes(archive)
        release = {"key": KEYS.release(sha256), "sha256": sha256}
        environment = {"key": KEYS.environment(ENVIRONMENT), "sha256": "0"}
        (self.bucket / KEYS.current).write_text(json.dumps({"release": release, "environment": environment}))
        self.home.environment(ENVIRONMENT).mkdir(parents=True, exist_ok=True)  # is here already
        return sha256

    def bring(self, sha256: str) -> str:
        """Bring it; what was said when it did not come."""
        if self._way != BOOT:
            try:
                bring.bring_release(FolderBucket(folder=self.bucket), sha256)
            except (BringError, AwsError) as error:
                return str(error)
            return ""
        script = (SCRIPTS / "await-release").read_text().replace(str(Home().path), str(self.home.path))
        environment = {"SWEEPFLEET_BUCKET": "b", "SWEEPFLEET_ROLE": "worker", "BUCKET": str(self.bucket)}
        path = f"{self._aws.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr if done.returncode else ""

    def left(self) -> list[str]:
        """What there is of releases, and of tries."""
        found = [*self.home.path.glob("releases/*"), *self.home.path.glob(".unpacking*"), *self.home.path.glob(".b*")]
        return [path.name for path in found]


@pytest.fixture(params=[BOOT, "run"])
def machine(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, request.param, monkeypatch)


def packed(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive with a start that ends well, and these."""
    start = tarfile.TarInfo(START)
    start.mode = 0o755
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as archive:
        for each in ((start, b"#!/bin/sh\n"), *members):
            member, content = each if isinstance(each, tuple) else (each, b"")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(stored.getvalue(), mtime=0)


def linked(name: str, target: Path | str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = kind, str(target)
    return link


def test_what_was_pushed_comes_and_its_start_runs(machine: Machine) -> None:
    sha256 = machine.store(packed())
    assert machine.bring(sha256) == ""
    assert machine.left() == [sha256]
    assert (machine.home.release(sha256) / START).stat().st_mode & 0o777 == 0o755


class HeldBucket(FolderBucket):
    """A bucket whose first download stops half done, until it is told to go on."""

    asked: ClassVar[list[str]] = []
    begun, go_on = threading.Event(), threading.Event()

    def get(self, key: str, file: Path) -> None:
        self.asked.append(key)
        if len(self.asked) == 1:
            file.write_bytes(b"half")
            self.begun.set()
            assert self.go_on.wait(60)
        super().get(key, file)


def someone_waits_for(lock: Path) -> bool:
    """Whether the kernel has somebody wait for that file's lock."""
    return any(
        f":{lock.stat().st_ino} " in line for line in Path("/proc/locks").read_text().splitlines() if "->" in line
    )


def test_two_who_need_the_same_fetch_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push and a job that starts: the one does not clear away what the other has half of."""
    machine = Machine(tmp_path, "run", monkeypatch)
    sha256 = machine.store(packed())
    bucket = HeldBucket(folder=machine.bucket)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(bring.bring_release, bucket, sha256)
        assert bucket.begun.wait(60)
        second = threads.submit(bring.bring_release, bucket, sha256)
        while not (len(bucket.asked) > 1 or someone_waits_for(machine.home.path / ".one-at-a-time")):
            time.sleep(0.01)
        bucket.go_on.set()
        assert first.result() == second.result() == machine.home.release(sha256)
    assert len(bucket.asked) == 1
    assert machine.left() == [sha256]


@pytest.mark.parametrize(
    "stored", [packed((tarfile.TarInfo("more"), b"x")), packed()[:-20], b""], ids=["another", "cut short", "nothing"]
)
def test_what_is_not_what_was_pushed_is_refused_and_comes_when_it_is_restored(
    machine: Machine, stored: bytes
) -> None:
    """Another release's archive under its name, one that was cut short, nothing."""
    sha256 = machine.store(packed())
    machine.store(stored, sha256=sha256)
    assert f"{KEYS.release(sha256)} is not what was pushed: its SHA-256 is" in machine.bring(sha256)
    assert machine.left() == []
    machine.store(packed())
    assert machine.bring(sha256) == ""
    assert machine.left() == [sha256]


def test_an_archive_that_cannot_be_unpacked_leaves_nothing(machine: Machine) -> None:
    """Its hash is right, since it was broken when it was stored."""
    sha256 = machine.store(packed()[:-20])
    assert f"{KEYS.release(sha256)} cannot be unpacked" in machine.bring(sha256)
    assert machine.left() == []


def test_what_cannot_be_read_is_said(machine: Machine) -> None:
    sha256 = machine.store(packed())
    (machine.bucket / KEYS.release(sha256)).unlink()
    assert "fatal error: 403" in machine.bring(sha256)
    assert machine.left() == []


@pytest.mark.parametrize(
    "members",
    [
        lambda outside: [(tarfile.TarInfo("../" * 30 + str(outside / "file").lstrip("/")), b"new")],
        lambda outside: [(tarfile.TarInfo(str(outside / "file")), b"new")],
        lambda outside: [linked("link", outside), (tarfile.TarInfo("link/file"), b"new")],
        lambda outside: [linked("link", outside / "file"), (tarfile.TarInfo("link"), b"new")],
        lambda outside: [linked("link", outside / "file", tarfile.LNKTYPE), (tarfile.TarInfo("link"), b"new")],
    ],
    ids=["dots", "absolute", "through a link to a folder", "through a link", "through a hard link"],
)
def test_nothing_of_an_archive_goes_elsewhere(
    machine: Machine, members: Callable[[Path], list[Any]], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("old")
    machine.bring(machine.store(packed(*members(outside))))
    assert [file.name for file in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "old"
    assert (outside / "file").stat().st_nlink == 1


def test_no_program_of_an_archive_runs_as_its_owner(machine: Machine) -> None:
    """Files are root's there: one with the setuid bit would make anybody root."""
    program = tarfile.TarInfo("program")
    program.mode, program.uid = 0o6755, 12345
    sha256 = machine.store(packed((program, b"")))
    assert machine.bring(sha256) == ""
    seen = (machine.home.release(sha256) / "program").stat()
    assert (seen.st_mode & 0o7777, seen.st_uid) == (0o755, os.getuid())


@pytest.mark.parametrize("name", ["../../etc", "0" * 63, "/etc", "a" * 63 + "/", ""])
def test_a_name_that_is_no_hash_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Names come from the service user; what brings them is root."""
    monkeypatch.setattr(bring, "HOME", Home(tmp_path))
    for door in (bring.bring_release, bring.bring_environment):
        with pytest.raises(BringError, match="is not the name of a release"):
            door(FolderBucket(folder=tmp_path), name)


def test_a_release_that_does_not_come_ends_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, the others come, and it may be asked for again."""
    machine = Machine(tmp_path, "run", monkeypatch)
    monkeypatch.setattr(bring, "REQUESTS", tmp_path / "requests")
    monkeypatch.setattr(bring, "AGAIN_S", 0)
    (tmp_path / "requests" / ("d" * 64)).mkdir(parents=True)
    good, bad = machine.store(packed()), "b" * 64
    machine.store(gzip.compress(b"x"), sha256=bad)
    for name in (good, bad, "../x"):
        (tmp_path / "requests" / Path(name).name).touch()
    bring.serve_counter(FolderBucket(folder=machine.bucket))
    assert machine.left() == [good]
    assert (
        f"the release {bad[:12]} was not fetched: {KEYS.release(bad)} is not what was pushed"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "requests" / bad).exists()


def test_only_releases_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project elsewhere, as on a laptop's own cluster, is there or is not."""
    monkeypatch.setattr(bring, "HOME", Home(tmp_path / "home"))
    monkeypatch.setattr(bring, "REQUESTS", tmp_path / "nowhere")
    asyncio.run(bring.ask_for(tmp_path / "project"))
