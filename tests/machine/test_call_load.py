"""How many workers an Executor's calls ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepfleet.machine.head import call_load
from sweepfleet.machine.head.call_load import IDLE_S, CallLoad
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.job import JobFolder
from sweepfleet.slot.calls.batch import Failure, Outcome, Pickled


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(call_load.time, "monotonic", lambda: self.now_s)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "kept")
    made.path.mkdir()
    return made


def load_of(folder: JobFolder) -> CallLoad:
    return CallLoad(folder, Reporter(folder, workers_needed=10), slots_each=2, most=10)


def looked(load: CallLoad, folder: JobFolder, calls: int, *, pending: int = 0, connected: bool = True) -> int:
    load.look(open_calls=calls, pending=pending, connected=connected, settled=True)
    return int(folder.read_progress()["workers_needed"])


def test_workers_are_asked_for_by_what_calls_take_those_included_that_were_not_sent(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, load = Clock(monkeypatch), load_of(folder)
    assert looked(load, folder, 0) == 0
    assert looked(load, folder, 4, pending=400) == 1  # what they take is not known yet
    load.saw([Outcome(0, Pickled(b""), wall_s=0.001)])
    assert looked(load, folder, 4, pending=400) == 1  # nothing
    load.saw([Outcome(0, Pickled(b""), wall_s=100.0)])
    assert looked(load, folder, 4, pending=400) == 10
    assert looked(load, folder, 4) == 2
    clock.now_s += 1
    said = folder.read_progress()
    assert said["calls"] == {"done": 2, "failed": 0, "open": 4, "connected": True}
    assert said["settled"] is True


def test_workers_go_when_nothing_was_asked_for_a_while_and_at_once_without_a_client(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, load = Clock(monkeypatch), load_of(folder)
    assert looked(load, folder, 1) == 1
    assert looked(load, folder, 0) == 1
    clock.now_s += IDLE_S - 1
    assert looked(load, folder, 0) == 1
    clock.now_s += 2
    assert looked(load, folder, 0) == 0
    assert looked(load, folder, 1) == 1
    assert looked(load, folder, 0, connected=False) == 0


def test_failures_are_counted_and_a_spent_budget_is_told(folder: JobFolder) -> None:
    load = load_of(folder)
    load.saw([Outcome(0, Failure("Timeout", "")), Outcome(1, Pickled(b""), raised=True), Outcome(2, Pickled(b""))])
    assert (load.done, load.failed) == (1, 2)
    assert not load.spent()
    folder.spent.touch()
    assert "budget" in load.spent()
