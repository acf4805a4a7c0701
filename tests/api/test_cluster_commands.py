"""The commands of a cluster in Python: what they return, what they refuse, and nothing destructive without `yes`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.api import stacks
from sweepfleet.fleet.code import agreed
from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Cost
from sweepfleet.fleet.reach import many
from sweepfleet.fleet.reach.remote import Answer
from sweepfleet.fleet.runs import status as statuses
from sweepfleet.fleet.runs.status import HeadStatus, RunStatus, Status, WorkerStatus
from sweepfleet.fleet.stack import stack as stack_module
from sweepfleet.fleet.stack import takedown
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.workers import joining, stopping
from sweepfleet.fleet.workers.group import Group, Worker
from tests.fleet.test_runs_far import OUTPUTS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKERS = tuple(
    Worker(name, "c7i.large", "us-east-1a", spot, "running", "10.0.0.9", NOW - timedelta(minutes=5))
    for name, spot in (("i-1", True), ("i-2", False), ("i-3", True))
)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sf.Cluster:
    """The cluster of a project whose stack is up."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    StackFolder(tmp_path, "dev").keep(OUTPUTS)
    monkeypatch.chdir(tmp_path)
    return sf.connect()


class Machine:
    """One that answers every command with its name and the command, and exits with 3."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str, sudo: bool, deadline_s: int) -> Answer:
        assert deadline_s == 600
        return Answer(f"{self.name}: {words[-1]}\nsudo {sudo}\n", "", 3)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of those that do not answer."""
    silent = set[str]()

    @contextlib.contextmanager
    def opened(name: str) -> Iterator[Machine]:
        if name in silent:
            raise ClusterError(f"{name} does not answer: inv status")
        yield Machine(name)

    monkeypatch.setattr(Fleet, "head", lambda _, **__: opened("head"))
    monkeypatch.setattr(Fleet, "awake_head", lambda _: opened("head"))
    monkeypatch.setattr(Fleet, "require_head", lambda _: None)
    monkeypatch.setattr(Fleet, "worker", lambda _, found: opened(found.instance_id))
    monkeypatch.setattr(Fleet, "find_worker", lambda _, name: next(w for w in WORKERS if w.instance_id == name))
    monkeypatch.setattr(many, "group", lambda *_: Group(3, 3, WORKERS))
    return silent


@pytest.mark.usefixtures("machines")
def test_a_command_is_run_where_it_is_meant_and_its_answers_have_their_machines(fleet: sf.Cluster) -> None:
    """An exit code is an answer, and no error."""
    assert fleet.run("nproc") == {"head": Answer("head: nproc\nsudo False\n", "", 3)}
    assert list(fleet.run("nproc", worker="i-2")) == ["i-2"]
    found = fleet.run("nproc", workers=True)
    assert {name: each.stdout.splitlines()[0] for name, each in found.items()} == {
        name: f"{name}: nproc" for name in ("i-1", "i-2", "i-3")
    }
    with pytest.raises(sf.UsageError):
        fleet.run("nproc", worker="i-1", workers=True)


def test_machines_that_do_not_answer_are_all_named(fleet: sf.Cluster, machines: set[str]) -> None:
    machines |= {"i-1", "i-3"}
    with pytest.raises(ClusterError) as failed:
        fleet.run("nproc", workers=True)
    said = str(failed.value)
    assert said.startswith("2 of 3 workers did not answer:")
    assert "[i-1] i-1 does not answer" in said
    assert "[i-3] i-3 does not answer" in said
    assert 'sf.connect("dev").status()' in said


@pytest.mark.usefixtures("machines")
def test_journals_are_texts_whose_lines_have_their_worker(fleet: sf.Cluster) -> None:
    assert fleet.logs() == "head: short-iso\nsudo True\n"
    lines = fleet.logs(workers=True, lines=5).splitlines()
    assert lines[:2] == ["[i-1] i-1: short-iso", "[i-1] sudo True"]
    with pytest.raises(sf.UsageError):
        fleet.logs(name="../etc")


def status_of(**more: Any) -> Status:
    cost = Cost(0.5, 1.25, 100.0)
    worker = WorkerStatus("i-1", "c7i.large", "us-east-1a", True, NOW - timedelta(minutes=5), "running", 2, True)
    late = replace(worker, instance_id="i-2", spot=False, slots=None)
    run = RunStatus("a<b", "running", 10, 20, "", "2 points wait", NOW - timedelta(minutes=1), cost)
    head = HeadStatus("203.0.113.9", 3600, {"scheduler": "active", "keeper": "failed"}, 10, 20)
    known: dict[str, Any] = {"stack": "dev", "region": "us-east-1", "at": NOW, "release": None}
    known |= {
        "running_release": None,
        "workers": (worker, late),
        "desired": 2,
        "most": 3,
        "head": head,
        "runs": (run,),
    }
    return Status(**known | more)


def test_a_status_says_what_it_has() -> None:
    assert str(status_of()).splitlines() == [
        "Stack dev in us-east-1",
        "Release: none yet. Push one: inv push",
        "Workers: 2 of 2 requested, at most 3",
        "  i-1  c7i.large spot  us-east-1a  up 5 min  2 slots",
        "  i-2  c7i.large on-demand  us-east-1a  up 5 min  running, has not joined",
        "Head 203.0.113.9: up 1 h, scheduler active, keeper failed, 10 of 20 GB free for runs",
        "Run a<b: running, 10 of 20 points · inv attach --name a<b",
        "  2 points wait, for 1 min",
        "  cost so far at most 1.25 USD, of a budget of 100 (0.5 worker hours)",
    ]
    assert "<pre>Stack dev" in status_of()._repr_html_()
    assert "a&lt;b" in status_of()._repr_html_()
    note = "AWS starts too few workers: Max spot instance count exceeded."
    assert str(status_of(notes=(note,))).splitlines()[5] == f"  {note}"
    lost = status_of(head=None, runs=(), error=ClusterError("The head does not answer."))
    assert str(lost).endswith("The head does not answer.")


def test_status_has_the_error_of_a_head_that_is_silent(fleet: sf.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers are looked at all the same: they cost money."""

    def silent(*_: object, **__: object) -> None:
        raise ClusterError("The head does not answer.")

    monkeypatch.setattr(Fleet, "require_head", lambda _: None)
    monkeypatch.setattr(Fleet, "awake_head", silent)
    monkeypatch.setattr(statuses, "current_release", lambda *_: None)
    monkeypatch.setattr("sweepfleet.fleet.workers.group.group", lambda *_: Group(3, 3, WORKERS))
    found = fleet.status()
    assert repr(found).splitlines()[1] == 'Release: none yet. Push one: sf.connect("dev").push()'
    assert str(found.error) == "The head does not answer."
    assert [one.instance_id for one in found.workers] == ["i-1", "i-2", "i-3"]
    assert not any(one.is_known for one in found.workers)


def test_workers_are_started_and_stopped(
    fleet: sf.Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(joining, "start", lambda _, count, **how: told.append((count, how["deadline_s"])) or 4)
    monkeypatch.setattr(stopping, "stop", lambda _, *, yes: told.append(yes))
    assert fleet.start(2, timeout_s=5) == 4
    fleet.stop(yes=True)
    assert told == [(2, 5), True]
    assert 'Shut them down now: sf.connect("dev").stop()' in capsys.readouterr().out
    with pytest.raises(sf.UsageError, match="workers is a whole number above 0"):
        fleet.start(0)


def test_a_push_of_what_is_there_says_so(
    fleet: sf.Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(*_: object, yes: bool, dirty: bool, **__: object) -> None:
        assert (yes, dirty) == (False, True)
        raise NothingToDo("The cluster has this release already.")

    monkeypatch.setattr(agreed, "push_checkout", nothing)
    fleet.push(dirty=True)
    assert "has this release already" in capsys.readouterr().out


class Stack:
    """A stack, and what was done to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: list[Any] = []
        self.say = print

    def unlocked(self, ask: object, *, makes: bool) -> Stack:
        assert ask is None
        self.done.append(("unlocked", makes))
        return self

    def preview(self) -> None:
        self.done.append("preview")

    def up(self, *, yes: bool, address_url: str) -> Any:
        self.done.append(("up", yes, address_url))
        return OUTPUTS


@pytest.fixture
def stack(fleet: sf.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack(tmp_path)
    monkeypatch.setattr(stack_module, "open_stack", lambda *_, **__: made)
    monkeypatch.setattr("sweepfleet.pipeline.touched.say_what_is_touched", lambda *_, **__: None)
    monkeypatch.setattr(takedown, "losses", lambda *_, purge: [f"lost: all, purge {purge}"])
    monkeypatch.setattr(takedown, "down", lambda opened, *, purge: opened.done.append(("down", purge)))
    monkeypatch.setenv("INVOKE_CHECKIP", "http://127.0.0.1:9")
    return made


def test_up_shows_first_and_does_it_when_it_is_told_to(stack: Stack) -> None:
    with pytest.raises(sf.UsageError, match=r'Nothing was changed. To apply this: sf\.up\("dev", yes=True\)'):
        sf.up("dev")
    assert stack.done == [("unlocked", True), "preview"]
    made = sf.up("dev", yes=True)
    assert stack.done[-1] == ("up", True, "http://127.0.0.1:9")
    assert made.stack == "dev"


def test_down_says_what_is_lost_and_does_it_when_it_is_told_to(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(sf.UsageError, match=r"(?s)lost: all, purge True.*sf\.down\(yes=True, purge=True\)"):
        sf.down(purge=True)
    assert stack.done == [("unlocked", False)]
    sf.down("dev", yes=True)
    assert stack.done[-1] == ("down", False)
    assert "lost: all, purge False" in capsys.readouterr().out

    def nothing(*_: object, **__: object) -> None:
        raise NothingToDo("The stack dev is already down.")

    monkeypatch.setattr(takedown, "losses", nothing)
    sf.down("dev")
    assert "already down" in capsys.readouterr().out
    assert stacks.down is sf.down
