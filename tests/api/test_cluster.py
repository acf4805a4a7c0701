"""A cluster from Python, without one: what is refused, how waiting ends, and what is said to type next."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweepfleet as sf
from sweepfleet.api import cluster_run
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.runs import jobs
from sweepfleet.fleet.runs.jobs import State
from sweepfleet.fleet.runs.on_stack import Brought, Ended
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.run_files import write_files
from sweepfleet.run.summary import Facts, Summary
from tests.fleet.test_runs_far import OUTPUTS, outputs_of, record


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stack is up."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    StackFolder(tmp_path, "dev").keep(OUTPUTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVOKE_RUNS", raising=False)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # as at a prompt in this folder
    return tmp_path


def some_run(folder: Path) -> None:
    """A run's folder, as it was fetched or made here."""
    record(RunFolder(folder), range(10))
    write_files(RunFolder(folder), Facts(metric=None))


class Head:
    """A head with its runs, and what it was told to do."""

    def __init__(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.active = {"trial"}
        self.ended: dict[str, dict[str, Any]] = {}
        self.interrupts = 0  # while somebody watches
        monkeypatch.setattr(Fleet, "head", self.open)
        monkeypatch.setattr(Fleet, "awake_head", self.open)
        monkeypatch.setattr(Fleet, "require_head", lambda _: None)
        monkeypatch.setattr(jobs, "names", lambda *_, active=False: [*self.active, *(() if active else self.ended)])
        monkeypatch.setattr(jobs, "state", self.state)
        monkeypatch.setattr(jobs, "cancel", self.cancel)
        monkeypatch.setattr(cluster_run, "watch", self.watch)
        monkeypatch.setattr(cluster_run, "bring", self.bring)
        monkeypatch.setattr(cluster_run, "fetched", self.fetched)

    @contextlib.contextmanager
    def open(self, **_: Any) -> Iterator[Head]:
        yield self

    def state(self, _: object, name: str) -> State:
        return State.of({"ended": name not in self.active, "state": "running", **self.ended.get(name, {})})

    def cancel(self, _: object, name: str) -> str:
        self.active.remove(name)
        self.ended[name] = {"summary": {"state": "interrupted"}}
        return ""

    def watch(self, _: Fleet, name: str, **__: Any) -> State:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        self.active.discard(name)
        self.ended[name] = {"summary": {"state": "done"}, "exit_code": 0}
        return self.state(None, name)

    def bring(self, _: Fleet, name: str, *, runs_folder: Path, **__: Any) -> Brought:
        if not (runs_folder / name).exists():
            some_run(runs_folder / name)
        return Brought(name, name not in self.active)

    def fetched(self, fleet: Fleet, _: State, name: str, *, runs_folder: Path, **__: Any) -> Ended:
        self.bring(fleet, name, runs_folder=runs_folder)
        found = Summary.of({})
        return Ended(found, 0, runs_folder / name, None)  # type: ignore[arg-type]


@pytest.fixture
def head(project: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    return Head(project, monkeypatch)


@pytest.fixture
def at_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)


# Which cluster


def test_the_stack_that_is_up_is_found_from_any_folder_of_the_project(project: Path) -> None:
    (project / "study").mkdir()
    for found in (sf.connect(), sf.connect("dev"), sf.connect(project=project / "study")):
        assert found.stack == "dev"
    assert "dev" in repr(sf.connect())


def test_a_stack_that_is_not_up_is_refused_with_what_to_type_in_python(project: Path) -> None:
    with pytest.raises(sf.UsageError, match=r'no stack prod that is up. Make it: sf\.up\("prod"\)\. .*inv out'):
        sf.connect("prod")
    StackFolder(project, "other").keep(outputs_of("other"))
    with pytest.raises(sf.UsageError, match=r'More than one stack is up: dev, other. Say which: stack="dev"'):
        sf.connect()


def test_what_is_for_a_cluster_is_refused_here(project: Path) -> None:
    with pytest.raises(sf.UsageError, match=r"push and yes: for a cluster, and this sweep runs here"):
        sf.sweep(lambda a: a, {"a": [1]}, name="x", push=True, yes=True)
    assert not (project / "runs" / "x").exists()


def test_a_run_of_this_machine_is_not_overwritten_by_one_of_the_cluster(project: Path) -> None:
    """Nor is its function."""
    some_run(project / "runs" / "mine")
    (project / "runs" / "mine" / "function.pickle").write_text("mine")
    with pytest.raises(sf.UsageError, match=r'made on this machine.*another name: name="mine-2"'):
        sf.sweep(lambda a: a, {"a": [1]}, name="mine", stack="dev")
    assert (project / "runs" / "mine" / "function.pickle").read_text() == "mine"


def test_a_sweep_that_is_refused_leaves_nothing(project: Path, head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object, **__: object) -> None:
        raise sf.UsageError("The cluster has no code yet. Push it: inv push")

    monkeypatch.setattr(cluster_run, "agreed", no)
    with pytest.raises(sf.UsageError, match=r'Push it: sf\.connect\("dev"\)\.push\(\)'):
        sf.connect().sweep(lambda a: a, {"a": [1]}, name="fresh")
    assert not (project / "runs" / "fresh").exists()


# The run


def test_waiting_fetches_what_came_of_it(head: Head) -> None:
    run = sf.open("trial", stack="dev")
    assert run.state == "running"
    assert str(run) == "trial is running on the stack dev"
    assert run.wait() is run
    assert run.state == "done"
    assert run.frame().height == 10
    assert repr(run).endswith("runs/trial', stack='dev')")


def test_what_an_active_run_has_is_fetched_when_it_is_asked_for(head: Head) -> None:
    run = sf.connect().open("trial")
    assert run.frame().height == 10
    assert run.state == "running"


@pytest.mark.usefixtures("at_a_prompt")
def test_the_first_interrupt_ends_the_waiting_and_the_second_cancels(
    head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sf.open("trial", stack="dev")
    head.interrupts = 2
    assert run.wait() is run
    assert head.active == {"trial"}
    said = capsys.readouterr().out
    assert "trial is running on the stack dev. Wait for it: run.wait()" in said
    assert 'sf.open("trial", stack="dev")' in said
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert head.active == set()
    assert run.state == "interrupted"


def test_a_script_ends_at_its_first_interrupt_and_the_run_goes_on(
    head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    """What follows in it is about results that are not there."""
    head.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        sf.open("trial", stack="dev").wait()
    assert head.active == {"trial"}
    assert 'Later: sf.open("trial", stack="dev")' in capsys.readouterr().err


def test_a_run_that_has_ended_is_not_cancelled_again(head: Head) -> None:
    run = sf.open("trial", stack="dev")
    run.cancel()
    run.cancel()
    assert run.state == "interrupted"
