"""A lock whose process has ended is removed, or how to remove it is said; one of a living process never is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweepfleet.fleet.stack.locks import LockedError, locks_in, own_user, removed
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.stack import Stack
from tests.cloud.rehearsal.cloud import until

# As pkg/backend/diy/lock.go prints it
SAID = (
    "error: the stack is currently locked by {count} lock(s). Either wait for the other process(es) to end or delete "
    "the lock file with `pulumi cancel`."
)
CREATED = "\n  {url}: created by {user}@{host} (pid {pid}) at 2026-11-27T08:00:00Z"
HERE = socket.gethostname()


def complaint(url: str, *, pid: int, host: str = HERE, user: str = "") -> str:
    user = user or own_user()
    return SAID.format(count=1) + CREATED.format(url=url, user=user, host=host, pid=pid)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of a process that has ended. Whom $USER names is nobody's business."""
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def living(tmp_path: Path) -> Iterator[int]:
    """The number of a process that is called pulumi."""
    program = tmp_path / "living" / "pulumi"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([str(program), "600"]) as process:
        comm = ["ps", "-o", "comm=", "-p", str(process.pid)]
        until(
            lambda: "pulumi" in subprocess.run(comm, capture_output=True, text=True, check=False).stdout,
            what="it runs",
            timeout_s=60,
        )
        yield process.pid
        process.kill()


def lock_file(folder: Path, pid: int) -> Path:
    file = folder / "locks" / "a b.json"  # its URL has %20
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"pid": pid, "username": own_user(), "hostname": HERE}))
    return file


def test_other_errors_are_no_locks() -> None:
    assert locks_in("error: no such stack") is None


def test_a_lock_of_an_ended_process_here_is_removed_and_no_other_file(tmp_path: Path, ended: int) -> None:
    file = lock_file(tmp_path, ended)
    newer = file.with_name("newer.json")
    newer.write_text("{}")
    locks = locks_in(complaint(file.as_uri(), pid=ended)) or []
    assert [(one.pid, one.file, one.lives) for one in locks] == [(ended, file, False)]
    assert removed(locks)
    assert not file.exists()
    assert newer.exists()


def test_a_number_that_another_program_has_now_is_of_an_ended_process(tmp_path: Path) -> None:
    """This process is not called pulumi."""
    file = lock_file(tmp_path, os.getpid())
    assert removed(locks_in(complaint(file.as_uri(), pid=os.getpid())) or [])
    assert not file.exists()


def test_a_lock_that_changed_meanwhile_stays(tmp_path: Path, ended: int) -> None:
    file = lock_file(tmp_path, ended + 1)
    removed(locks_in(complaint(file.as_uri(), pid=ended)) or [])
    assert file.exists()


def test_a_living_process_keeps_its_lock_and_is_named(tmp_path: Path, living: int) -> None:
    file = lock_file(tmp_path, living)
    locks = locks_in(complaint(file.as_uri(), pid=living)) or []
    assert not removed(locks)
    assert file.exists()
    said = str(LockedError("dev", locks))
    assert f"locked by {own_user()}@{HERE} (process {living}) since 2026-11-27T08:00:00Z" in said
    assert "An update is active there: wait for its end" in said


@pytest.mark.parametrize(
    "other", [{"host": "elsewhere"}, {"user": "grace"}, {"url": "s3://state/.pulumi/locks/a.json?region=eu-west-1"}]
)
def test_what_may_live_elsewhere_is_not_removed(tmp_path: Path, ended: int, other: dict[str, str]) -> None:
    """On another machine, of another user, or in a bucket that other machines of this name may share."""
    file = lock_file(tmp_path, ended)
    locks = locks_in(complaint(**({"url": file.as_uri(), "pid": ended} | other))) or []  # type: ignore[arg-type]
    assert not removed(locks)
    assert file.exists()
    said = str(LockedError("dev", locks))
    assert "pulumi cancel --yes --stack dev" in said
    assert ("No such process runs here" in said) == ("host" not in other)


def test_whose_process_cannot_be_looked_at_is_taken_to_live(
    tmp_path: Path, living: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's process may not be asked; and without `ps`, nobody can tell what it is."""

    def refused(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as other:
        other.setattr("sweepfleet.fleet.stack.locks.os.kill", refused)
        assert not removed(locks_in(complaint(lock_file(tmp_path, living).as_uri(), pid=living)) or [])
    monkeypatch.setenv("PATH", "/nowhere")
    assert not removed(locks_in(complaint(lock_file(tmp_path, os.getpid()).as_uri(), pid=os.getpid())) or [])


def test_locks_that_are_not_named_are_not_removed() -> None:
    """Pulumi's service says that the stack is locked, and by nobody."""
    locks = locks_in(SAID.format(count=1))
    assert locks == []
    assert not removed(locks)
    assert "a process that Pulumi does not name" in str(LockedError("dev", locks))


def test_one_living_lock_of_two_keeps_both(tmp_path: Path, ended: int, living: int) -> None:
    file = lock_file(tmp_path, ended)
    other = CREATED.format(url="file:///x.json", user=own_user(), host=HERE, pid=living)
    locks = locks_in(complaint(file.as_uri(), pid=ended) + other) or []
    assert len(locks) == 2
    assert "An update is active there" in str(LockedError("dev", locks))
    assert not removed(locks)
    assert file.exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], tuple[Stack, list[str]]]:
    """A stack whose `pulumi` complains of a lock for as long as its file is there."""

    def made(said: str, file: Path) -> tuple[Stack, list[str]]:
        (tmp_path / "said").write_text(said)
        locked = f"if test -e '{file}'; then cat {tmp_path}/said >&2; exit 255; fi"
        script = f"#!/bin/sh\n{locked}\necho up >> {tmp_path}/done\n"
        (tmp_path / "pulumi").write_text(script)
        (tmp_path / "pulumi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        lines: list[str] = []
        return Stack(tmp_path, "dev", PulumiCli(tmp_path), lines.append), lines

    return made


def test_an_update_heals_a_stale_lock_and_says_so(
    tmp_path: Path, cluster: Callable[..., tuple[Stack, list[str]]], ended: int
) -> None:
    file = lock_file(tmp_path, ended)
    one, said = cluster(complaint(file.as_uri(), pid=ended), file)
    one.without_stale_lock(lambda: one.pulumi.up("dev", yes=True))
    assert (tmp_path / "done").read_text() == "up\n"
    who = f"{own_user()}@{HERE} (process {ended}) since 2026-11-27T08:00:00Z"
    assert said == [f"Removed the stale lock of {who}: that process has ended."]


def test_an_update_never_breaks_a_living_lock(
    tmp_path: Path, cluster: Callable[..., tuple[Stack, list[str]]], living: int
) -> None:
    file = lock_file(tmp_path, living)
    one, said = cluster(complaint(file.as_uri(), pid=living), file)
    with pytest.raises(LockedError, match="An update is active there"):
        one.without_stale_lock(lambda: one.pulumi.up("dev", yes=True))
    assert file.exists()
    assert said == []
    assert not (tmp_path / "done").exists()
