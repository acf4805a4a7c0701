"""What the cluster's operation knows without one: words typed wrongly, AWS's words, consoles, a head's disk."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.console import readable
from sweepfleet.fleet.reach.many import Prefixed
from sweepfleet.fleet.reach.remote import Answer, Host
from sweepfleet.fleet.workers import group as workers
from sweepfleet.fleet.workers import joining
from sweepfleet.machine import renew
from sweepfleet.machine.environment.note import NOTE, REQUIREMENTS, Environment
from sweepfleet.machine.facts import CODE, KEYS, Data, Home
from sweepfleet.machine.head import publish
from sweepfleet.machine.job import JobFolder
from sweepfleet.machine.launches import cause

ROOT = Path(__file__).parents[2]


def test_what_invoke_cannot_read_ends_with_2_and_one_line() -> None:
    """1 would tell a script that some points have failed."""
    for words, said in (
        (["push", "--nonsense"], "error: push has no flag --nonsense. All flags: inv push --help"),
        (["scale"], "error: 'scale' did not receive required positional arguments: 'workers'"),
        (["push", "--to", "abc"], "error: --to requires --rollback."),
        (["push", "--rollback", "--dirty"], "error: --dirty sends files, --rollback sends none. Remove one."),
        (["start", "--workers", "0"], "error: --workers '0' is too small: at least 1."),
        (["start", "--timeout", "soon"], "error: --timeout 'soon' is not a whole number."),
        (["run"], "error: No command. Give it after two dashes: inv run -- df -h, or inv run -- 'df -h | sort'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert (done.returncode, done.stderr.strip(), done.stdout) == (2, said, ""), words


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("You have requested more vCPU capacity than ... VcpuLimitExceeded", "inv doctor"),
        ("Could not launch Spot Instances. MaxSpotInstanceCountExceeded", "inv doctor"),
        ("We currently do not have sufficient c7i.large capacity in the Availability Zone", "workerInstanceTypes"),
        ("UnfulfillableCapacity - Unable to fulfill capacity due to your request configuration", "spotPercent"),
    ],
)
def test_what_aws_says_is_passed_on_with_what_to_do(words: str, remedy: str) -> None:
    assert cause(words).startswith(words)
    assert remedy in cause(words).removeprefix(words)
    assert cause("Something new.") == "Something new."


def test_each_line_of_many_machines_has_its_name_and_stays_whole() -> None:
    class Kept:
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data

        def flush(self) -> None:
            pass

    kept, lock = Kept(), threading.Lock()
    one, other = Prefixed(kept, "i-1", lock), Prefixed(kept, "i-2", lock)
    one.write(b"be")
    other.write(b"of two\nlines")
    one.write(b"gin\n")
    one.close()
    other.close()
    assert kept.data == b"[i-2] of two\n[i-1] begin\n[i-2] lines\n"


def test_a_console_is_read_without_its_colours_and_keys() -> None:
    console = "\x1b[0;32m  OK  \x1b[0m Reached it\r\n<14>Nov 24 cloud-init: ####\n-----BEGIN SSH\nci-info: | x |\n\n"
    assert readable(console + "cloud-init[127]: no data source\n") == [
        "  OK   Reached it",
        "cloud-init[127]: no data source",
    ]
    assert len(readable("line\n" * 100)) == 15


def locked(release: Path, requirements: str) -> None:
    """What a release says of its environment."""
    files = {NOTE: Environment(source="uv.lock", pinned=True).to_json(), REQUIREMENTS: requirements}
    files[CODE / "sweepfleet" / "machine" / "environment" / "requirements.txt"] = "dask\n"
    for name, text in files.items():
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_text(text)


def test_a_heads_disk_keeps_what_is_needed_and_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old releases go, with their environments; what runs, is to run or was pushed lately stays."""
    home, data = Home(tmp_path / "home"), Data(tmp_path / "data")
    monkeypatch.setattr(publish, "HOME", home)
    home.environments.mkdir(parents=True)
    data.jobs.mkdir(parents=True)
    made = []
    for number in range(9):
        release = home.release(f"{number}" * 64)
        release.mkdir(parents=True)
        locked(release, f"lock {number // 2}")
        home.environment(publish.lock_of(release)).mkdir(exist_ok=True)
        os.utime(release, (number, number))
        made.append(release)
    home.fleet_release.symlink_to(made[1])
    home.fleet_environment.symlink_to(home.environment(publish.lock_of(made[1])))
    for name, release, mark in (("going-on", made[3], "active"), ("ended", made[2], "job.json")):
        job = JobFolder(data.jobs / name)
        job.path.mkdir()
        (job.path / mark).touch()
        job.release.symlink_to(release)
        job.environment.symlink_to(home.environment(publish.lock_of(release)))
    older = home.environment("f" * 64)  # of a Python that this machine had
    older.mkdir()
    active = JobFolder(data.jobs / "going-on").environment
    active.unlink()
    active.symlink_to(older)
    publish.prune({made[8]}, data)
    kept = [release for release in made if release.exists()]
    assert kept == [made[1], made[3], *made[4:]]
    locks = {publish.lock_of(release) for release in kept}
    assert {path.name for path in home.environments.iterdir()} == locks | {older.name}
    publish.prune({made[8]}, data)
    assert [release for release in made if release.exists()] == kept


def test_a_push_names_the_runs_that_keep_another_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until their end scheduler and workers stay as they are; where none is active, nothing is kept."""
    home, data = Home(tmp_path / "home"), Data(tmp_path / "data")
    monkeypatch.setattr(publish, "HOME", home)
    home.path.mkdir()
    assert publish.kept_by(data, "new") == [], "a head that never ran anything"
    job = JobFolder(data.jobs / "long")
    job.path.mkdir(parents=True)
    home.fleet_engine.write_text("old")
    assert publish.kept_by(data, "new") == []
    job.active.touch()
    assert publish.kept_by(data, "new") == ["long"]
    assert publish.kept_by(data, "old") == []


def test_an_environment_is_of_one_lock_one_python_and_one_kind_of_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(tmp_path, "lock")
    names = {publish.lock_of(tmp_path)}
    for asked in ("python_version", "machine"):
        with monkeypatch.context() as other:
            other.setattr(platform, asked, lambda: "another")
            names.add(publish.lock_of(tmp_path))
    locked(tmp_path, "another lock")
    names.add(publish.lock_of(tmp_path))
    assert len(names) == 4


def test_an_engine_is_of_its_code_and_of_where_that_stands(tmp_path: Path) -> None:
    """A module that was moved is another one, though no line of it has changed."""
    package = tmp_path / CODE / "sweepfleet"
    code = package / "grid" / "code.py"
    code.parent.mkdir(parents=True)
    code.write_text("1")
    before = publish.engine_of(tmp_path, "lock")
    (package / "tasks").mkdir()
    (package / "tasks" / "more.py").write_text("2")
    assert publish.engine_of(tmp_path, "lock") == before, "the front door is no part of it"
    assert publish.engine_of(tmp_path, "another") != before
    code.rename(code.with_name("moved.py"))
    assert publish.engine_of(tmp_path, "lock") != before


def test_what_is_half_removed_when_the_power_goes_does_not_pass_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, data = Home(tmp_path / "home"), Data(tmp_path / "data")
    monkeypatch.setattr(publish, "HOME", home)
    release = home.release("a" * 64)
    release.mkdir(parents=True)
    locked(release, "")
    unused = home.environment("e" * 64)
    unused.mkdir(parents=True)
    (unused / "file").touch()

    class PowerCutError(Exception):
        pass

    def cut(_: Path) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr("sweepfleet.machine.head.publish.shutil.rmtree", cut)
        with pytest.raises(PowerCutError):
            publish.prune({release}, data)
    assert not unused.exists()
    unused.mkdir()  # it is needed again, and then not
    (unused / "file").touch()
    publish.prune({release}, data)
    assert list(home.environments.iterdir()) == []


def test_a_scheduler_that_does_not_answer_is_no_fleet_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is the cause that is named, and what had joined before is not forgotten."""
    answers = iter([Answer('{"i-1": 2}\n', "", 0), Answer("", "Traceback ...\nOSError: timed out", 1)])

    class Head:
        def run(self, *_: str, **__: bool) -> Answer:
            return next(answers)

    monkeypatch.setattr(workers, "why_none", lambda *_, **__: "")
    monkeypatch.setattr(workers, "group", lambda *_: workers.Group(2, 2, ()))
    seconds = iter([0.0, 1.0, 2.0, 3.0, 4.0, 99.0])
    monkeypatch.setattr(joining, "time", SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None))
    said: list[str] = []
    with pytest.raises(ClusterError) as raised:
        joining.wait_for_workers(cast("Fleet", Mock()), cast("Host", Head()), 2, deadline_s=50.0, say=said.append)
    assert str(raised.value).startswith(
        "1 of 2 workers joined in 50 s. The scheduler on the head does not answer: OSErr"
    )
    assert said == ["1 of 2 workers joined, 2 slots"]


def test_workers_that_have_joined_are_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Answer('{"i-1": 2}\n', "", 0), Answer('{"i-1": 2, "i-2": 4}\n', "", 0)])

    class Head:
        def run(self, *_: str, **__: bool) -> Answer:
            return next(answers)

    monkeypatch.setattr(workers, "why_none", lambda *_, **__: "")
    monkeypatch.setattr(joining, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None))
    said: list[str] = []
    head = cast("Host", Head())
    assert joining.wait_for_workers(cast("Fleet", Mock()), head, 2, say=said.append) == 6
    assert said == ["1 of 2 workers joined, 2 slots", "2 of 2 workers joined, 6 slots"]


class Bucket:
    """The bucket, as `renew` uses it."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str, file: Path) -> None:
        file.write_text(self.kept[key])

    def put(self, file: Path, key: str) -> None:
        self.kept[key] = file.read_text()


class Head:
    """A head's folders, its runs, and releases `a` and `b` whose code differs."""

    def __init__(self, folder: Path) -> None:
        self.home, self.data, self.bucket = Home(folder / "home"), Data(folder / "data"), Bucket()
        self.data.jobs.mkdir(parents=True)
        self.environment = self.home.environment("e" * 64)
        self.environment.mkdir(parents=True)
        for name in "ab":
            code = self.release(name) / CODE / "sweepfleet" / "grid" / "space.py"
            code.parent.mkdir(parents=True)
            code.write_text(name)
            self.bucket.kept[KEYS.release_note(name * 64)] = json.dumps(
                {"engine": publish.engine_of(self.release(name), self.environment.name), "of": name}
            )

    def release(self, name: str) -> Path:
        return self.home.release(name * 64)

    def run(self, name: str, *, active: bool) -> None:
        (self.data.jobs / name).mkdir(exist_ok=True)
        mark = self.data.jobs / name / "active"
        mark.touch() if active else mark.unlink()

    def renew(self, release: str, *, starting: str = "") -> bool:
        return renew.renew_fleet(
            self.bucket, self.data, release=self.release(release), environment=self.environment, starting=starting
        )

    @property
    def runs(self) -> str:
        """The release whose code scheduler and workers are told to run; both must be told the same."""
        assert self.home.fleet_release.resolve().name[0] == json.loads(self.bucket.kept[KEYS.fleet])["of"]
        return self.home.fleet_release.resolve().name[0]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    head = Head(tmp_path)
    monkeypatch.setattr(renew, "HOME", head.home)
    return head


def test_the_fleet_takes_up_the_newest_release_unless_a_run_goes_on(head: Head) -> None:
    """And a run that starts anew after an accident finds its own code, whatever was pushed meanwhile."""
    assert head.renew("a")
    assert not head.renew("a")
    head.run("one", active=True)
    assert not head.renew("b")
    assert not head.renew("a", starting="one")
    assert head.runs == "a"
    head.run("two", active=True)
    assert not head.renew("b", starting="two"), "it would take the code from under the other run"
    head.run("one", active=False)
    assert head.renew("b", starting="two")
    assert head.runs == "b"


def test_a_new_heads_first_run_says_which_code_it_is(head: Head) -> None:
    """Not the newest release: the runs on the data volume began with an older one, and each is not the only one."""
    head.run("one", active=True)
    head.run("two", active=True)
    assert not head.renew("b")
    assert head.renew("a", starting="one")
    assert not head.renew("a", starting="two")
    assert head.runs == "a"


def test_a_worker_knows_when_the_fleet_runs_other_code(head: Head) -> None:
    head.renew("a")
    assert renew.other_engine(head.bucket, head.release("a"), head.environment) == {}
    assert renew.other_engine(head.bucket, head.release("b"), head.environment)["of"] == "a"
