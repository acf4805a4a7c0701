"""The head stops itself when nothing has needed it for long enough; nothing that comes meanwhile is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweepfleet.infra import layout
from sweepfleet.infra.durations import idle_stop_s, tag_value
from sweepfleet.machine import facts
from sweepfleet.machine.aws import AwsError, Group
from sweepfleet.machine.facts import GOING_TO_SLEEP, KEYS, UP, Data, Facts
from sweepfleet.machine.head import asleep, keeper
from sweepfleet.machine.head.letters import stamped
from sweepfleet.machine.job import JobFolder
from tests.folder_bucket import FolderBucket

LIMIT_S = 7200


class EndError(Exception):
    """The machine is off, or was looked at for long enough."""


@dataclass
class Played:
    """The head's machine: its clock, its units, its bucket, and what happens by the time since its boot."""

    data: Data
    now_s: float = 0.0
    limit: str = tag_value(idle_stop_s("2h"))
    size: int = 0
    members: tuple[str, ...] = ()
    active: set[str] = field(default_factory=set)  # units
    commands: list[tuple[str, ...]] = field(default_factory=list)  # of systemctl
    at: dict[float, Callable[[], object]] = field(default_factory=dict)
    stopped_s: float | None = None
    refuses: bool = False
    bucket: FolderBucket = field(default_factory=FolderBucket)
    on_stop_letterbox: Callable[[], object] = lambda: None

    def group(self) -> Group:
        if self.refuses:
            raise AwsError("AWS does not answer")
        return Group(self.size, 5, self.members, tags={facts.IDLE_STOP_TAG: self.limit})

    def __getattr__(self, name: str) -> Any:  # list, put: of the bucket
        return getattr(self.bucket, name)

    def systemctl(self, *words: str) -> None:
        self.commands.append(words)
        if words == ("stop", asleep.LETTERBOX):
            self.on_stop_letterbox()
        if words == ("poweroff",):
            self.stopped_s = self.now_s
            raise EndError

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for due_s in [one for one in self.at if one <= self.now_s]:
            self.at.pop(due_s)()
        if self.now_s > 20_000:
            raise EndError

    def run(self) -> float | None:
        """When it stopped itself, in seconds since its boot; None: it did not."""
        with pytest.raises(EndError):
            asleep.serve(Facts("head", "dev", "b", "AROA", "", "", "eu-west-1", "", str(self.data.path), "one"))
        return self.stopped_s


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A head that has just booted, and that nothing needs."""
    data = Data(tmp_path / "data")
    data.jobs.mkdir(parents=True)
    data.keeper.mkdir()
    played = Played(data, bucket=FolderBucket(folder=tmp_path / "bucket"))
    (tmp_path / "boot").write_text("this\n")
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(keeper, "BOOT", tmp_path / "boot")
    monkeypatch.setattr(keeper, "UPTIME", SimpleNamespace(read_text=lambda: f"{played.now_s} 0"))
    monkeypatch.setattr(asleep, "UPTIME", keeper.UPTIME)
    monkeypatch.setattr(asleep, "NOLOGIN", tmp_path / "nologin")
    monkeypatch.setattr(asleep, "PROC", tmp_path / "proc")
    monkeypatch.setattr(asleep, "door", lambda _: played)
    monkeypatch.setattr(asleep, "_is_active", lambda unit: unit in played.active)
    monkeypatch.setattr(asleep, "_systemctl", played.systemctl)
    monkeypatch.setattr(asleep, "time", SimpleNamespace(sleep=played.sleep, time=lambda: 9e9 + played.now_s))
    return played


def told(head: Played) -> str:
    return str(json.loads((head.bucket.folder / KEYS.head).read_text())["state"])


def log_in(head: Played, title: bytes = b"sshd: admin [priv]") -> None:
    process = asleep.PROC / "77"
    process.mkdir(exist_ok=True)
    (process / "cmdline").write_bytes(title)


def log_out(head: Played) -> None:
    (asleep.PROC / "77" / "cmdline").unlink()


def test_it_stops_itself_after_the_time_and_says_so_first(head: Played, capsys: pytest.CaptureFixture[str]) -> None:
    stopped_s = head.run()
    assert stopped_s is not None
    assert LIMIT_S <= stopped_s <= LIMIT_S + asleep.ASK_EVERY_S
    assert told(head) == GOING_TO_SLEEP
    assert "nothing has needed the head for 2 h (headIdleStop): it stops itself" in capsys.readouterr().out
    assert head.commands[:2] == [("stop", asleep.LETTERBOX), ("poweroff",)]


@pytest.mark.parametrize("limit", [tag_value(idle_stop_s("never")), "", "soon"])
def test_without_a_time_it_stays_up(head: Played, limit: str) -> None:
    """A stack of an older version has no tag."""
    head.limit = limit
    assert head.run() is None
    assert told(head) == UP


def run_job(head: Played) -> Callable[[], object]:
    folder = JobFolder(head.data.jobs / "trial")
    folder.path.mkdir()
    folder.active.touch()
    return folder.active.unlink


def hold(head: Played) -> Callable[[], object]:
    head.data.hold.write_text(json.dumps({"workers": 2, "for_s": 1e6, "boot": "this", "since_s": 0}))
    return head.data.hold.unlink


def session(head: Played) -> Callable[[], object]:
    head.active.add("sweepfleet-notebook.service")
    return head.active.clear


def login(head: Played) -> Callable[[], object]:
    log_in(head)
    return lambda: log_out(head)


def being_let_in(head: Played) -> Callable[[], object]:
    log_in(head, b"sshd-session: [accepted]")
    return lambda: log_out(head)


def machines(head: Played) -> Callable[[], object]:
    head.members = ("i-1",)
    return lambda: setattr(head, "members", ())


def machines_to_come(head: Played) -> Callable[[], object]:
    head.size = 1
    return lambda: setattr(head, "size", 0)


@pytest.mark.parametrize("need", [run_job, hold, session, login, being_let_in, machines, machines_to_come])
def test_whatever_needs_it_keeps_it_up_and_the_time_is_counted_from_its_end(
    head: Played, need: Callable[[Played], Callable[[], object]]
) -> None:
    head.at = {9000.0: need(head)}
    stopped_s = head.run()
    assert stopped_s is not None
    assert 9000 + LIMIT_S - asleep.ASK_EVERY_S <= stopped_s <= 9000 + LIMIT_S + asleep.ASK_EVERY_S


def test_sshd_that_listens_is_no_login(head: Played) -> None:
    log_in(head, b"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
    assert head.run() is not None


def test_where_aws_does_not_answer_it_stays_up(head: Played) -> None:
    """Whether there are workers or letters is not known then."""
    head.refuses = True
    head.at = {9000.0: lambda: setattr(head, "refuses", False)}
    assert (head.run() or 0) >= 9000


def letter(head: Played) -> None:
    place = head.bucket.folder / KEYS.letter("1")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(stamped({"kind": "push"}, volume="vol-1", now=datetime.now(UTC))))


def answer(head: Played) -> None:
    place = head.bucket.folder / KEYS.answer("1")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("{}")


def test_a_letter_that_is_open_keeps_it_up_until_its_answer(head: Played) -> None:
    letter(head)
    head.at = {9000.0: lambda: answer(head)}
    assert (head.run() or 0) >= 9000
    stays = head.commands[: head.commands.index(("poweroff",)) - 1]
    assert ("stop", asleep.LETTERBOX) not in stays, "it may be doing that one"


@pytest.mark.parametrize("comes", [letter, log_in, run_job])
def test_what_comes_at_the_last_moment_keeps_it_up(head: Played, comes: Callable[[Played], object]) -> None:
    """Nobody is let in and no letter is taken any more while it looks last; both are as before when it stays."""
    seen: list[bool] = []

    def last() -> None:
        seen.append(asleep.NOLOGIN.exists())
        comes(head)
        head.on_stop_letterbox = lambda: None

    head.on_stop_letterbox = last
    head.at = {LIMIT_S + 600.0: lambda: setattr(head, "now_s", 1e6)}
    assert head.run() is None
    assert seen == [True]
    assert head.commands == [("stop", asleep.LETTERBOX), ("start", "--no-block", asleep.LETTERBOX)]
    assert not asleep.NOLOGIN.exists()
    assert told(head) == UP


def test_a_stop_that_did_not_come_locks_nobody_out(head: Played) -> None:
    asleep.NOLOGIN.write_text("of a process that was killed")
    head.limit = "never"
    head.run()
    assert not asleep.NOLOGIN.exists()


def test_the_setting_reaches_the_head_by_the_tag_that_it_reads() -> None:
    assert layout.IDLE_STOP_TAG == facts.IDLE_STOP_TAG
    assert (tag_value(idle_stop_s("30m")), tag_value(idle_stop_s("1d")), tag_value(idle_stop_s("never"))) == (
        "1800",
        "86400",
        "never",
    )
