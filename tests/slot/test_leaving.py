"""A runner that is told to stop: what is finished comes back, the point in hand ends or is dropped, none follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.slot.context import Context
from sweepfleet.slot.records import IDLE, Packet, Stop
from sweepfleet.slot.runner import Job, Runner
from tests.support import context, eventually, grid, outcomes_of

# Points up to 2 end at once; the others note that they have begun, and end once there is `go`, `no` or `exit`.
CODE = """\
import time
from pathlib import Path

HERE = Path(__file__).parent

def fit(a):
    if a < 3:
        return a
    (HERE / f"began-{a}").touch()
    while not (HERE / "go").exists():
        if (HERE / "no").exists():
            raise RuntimeError("was told to stop")
        if (HERE / "exit").exists():
            import os
            os._exit(3)
        time.sleep(0.01)
    return a
"""


class Bundle:
    """A bundle on a runner, in a thread of its own."""

    def __init__(self, runner: Runner, spans: list[tuple[int, int]]) -> None:
        self._packets: list[Packet] = []
        self._thread = threading.Thread(target=lambda: self._packets.append(Packet.from_bytes(runner.run(spans))))
        self._thread.start()

    def packet(self) -> Packet:
        """What came of it."""
        self._thread.join(timeout=120)
        [packet] = self._packets
        return packet


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(context(tmp_path, CODE, grid({"a": range(6)}), infra_retries=0), name="host/0")
    yield runner
    runner.close()


@pytest.fixture
def bundle(runner: Runner, tmp_path: Path) -> Bundle:
    """Points 0 to 5, of which 3 has begun."""
    bundle = Bundle(runner, [(0, 6)])
    eventually((tmp_path / "began-3").exists, "the start of a long point")
    return bundle


def indexes(packet: Packet) -> list[int]:
    return [index for index, _ in outcomes_of(packet)]


def test_the_bundle_ends_after_the_point_in_hand(runner: Runner, bundle: Bundle, tmp_path: Path) -> None:
    """What is given then comes back at once, and nothing of it has run."""
    runner.stop(Stop.CUT)
    (tmp_path / "go").touch()
    packet = bundle.packet()
    assert (indexes(packet), packet.unfinished, packet.losses) == ([0, 1, 2, 3], [], {})
    assert Packet.from_bytes(runner.run([(4, 6)])).attempts == 0
    assert not (tmp_path / "began-4").exists()


def test_a_point_that_fails_after_the_cut_has_failed(runner: Runner, bundle: Bundle, tmp_path: Path) -> None:
    """It was told nothing."""
    runner.stop(Stop.CUT)
    (tmp_path / "no").touch()
    packet = bundle.packet()
    assert (indexes(packet), packet.unfinished) == ([0, 1, 2, 3], [])
    assert outcomes_of(packet)[-1][1][0] == "RuntimeError"


@pytest.mark.parametrize("how", ["no", "exit"])
def test_a_point_that_ends_because_it_was_told_has_not_failed(
    runner: Runner, bundle: Bundle, tmp_path: Path, how: str
) -> None:
    """Whether it raises an error or ends its process: it comes back as unfinished, to be computed elsewhere."""
    runner.stop(Stop.CUT)
    runner.stop(Stop.INTERRUPTED)
    (tmp_path / how).touch()
    packet = bundle.packet()
    assert (indexes(packet), packet.unfinished, packet.losses) == ([0, 1, 2], [3], {})


def test_a_point_that_ends_well_after_it_was_told_counts(runner: Runner, bundle: Bundle, tmp_path: Path) -> None:
    runner.stop(Stop.INTERRUPTED)
    (tmp_path / "go").touch()
    packet = bundle.packet()
    assert (indexes(packet), packet.unfinished) == ([0, 1, 2, 3], [])


def test_the_point_in_hand_can_be_dropped(runner: Runner, bundle: Bundle) -> None:
    """It is no loss that counts against a limit: this context allows none."""
    runner.stop(Stop.CUT)
    runner.drop_point()
    packet = bundle.packet()
    assert (indexes(packet), packet.unfinished, packet.losses) == ([0, 1, 2], [3], {})


def test_without_a_point_in_hand_nothing_is_dropped(runner: Runner, tmp_path: Path) -> None:
    runner.ready()
    runner.stop(Stop.CUT)
    pid = runner.child.pid
    runner.drop_point()
    assert runner.child.pid == pid
    assert runner.child.running().point_index == IDLE
    assert Packet.from_bytes(runner.run([(0, 6)])).attempts == 0


def test_a_job_that_was_begun_ahead_is_cut_as_well(tmp_path: Path) -> None:
    """The runner has begun the next bundle while it packs: the point that began is not lost, and no other begins."""
    runner = Runner(context(tmp_path, CODE, grid({"a": range(6)})), name="host/0")
    try:
        first, second = Job([(0, 2)]), Job([(3, 6)])
        runner.compute(first, lambda: second)
        eventually((tmp_path / "began-3").exists, "the start of a long point")
        runner.stop(Stop.CUT)
        (tmp_path / "go").touch()
        assert indexes(Packet.from_bytes(runner.compute(second))) == [3]
    finally:
        runner.close()


def test_the_process_after_one_that_died_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is started while its runner stops begins no second point."""
    wanted: Context = context(tmp_path, CODE, grid({"a": range(6)}))
    runner = Runner(wanted, name="host/0")
    try:
        runner.stop(Stop.CUT)
        told: list[Any] = []
        monkeypatch.setattr("sweepfleet.slot.process.Child.stop", lambda _, how: told.append(how))
        _ = runner.child
        assert told == [Stop.CUT]
    finally:
        runner.close()
