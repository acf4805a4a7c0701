"""A worker that is told to leave: nothing that is finished is computed again, by anyone."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sweepfleet.machine.worker import leaving, stopping
from sweepfleet.machine.worker.interruption import PROMISED_S, seconds_left
from sweepfleet.machine.worker.leaving import leave
from sweepfleet.slot.leaving import VARIABLE, announce, announced
from tests.run.test_handover import SLOTS, WORKERS, site
from tests.support import eventually

QUICK = """
import os, pathlib, time

HERE = pathlib.Path(__file__).parent

def fit(a):
    (HERE / "begun" / f"{a}.{os.urandom(4).hex()}").touch()
    time.sleep(0.05)
    return {"twice": 2 * a}
"""


@pytest.mark.parametrize("order", ["given", "shuffled"])
def test_bundles_are_cut_and_their_results_come_before_the_worker_goes(tmp_path: Path, order: str) -> None:
    """With bundles of 20 points, a worker is told to leave: no point begins twice, and none is lost."""
    with site(tmp_path, order=order) as here:
        (tmp_path / "fit.py").write_text(QUICK)
        grid = (tmp_path / "grid.yaml").read_text().replace("execution: {", "execution: {bundle: 20, ")
        (tmp_path / "grid.yaml").write_text(grid)
        driver = here.start_driver()
        eventually(lambda: here.begun().total() >= WORKERS * SLOTS, "points begun")
        here.workers[0].send_signal(signal.SIGTERM)
        here.ends(driver)
        eventually(lambda: here.workers[0].poll() is not None, "the worker's end")
        assert here.workers[0].returncode == 0
        assert set(here.begun().values()) == {1}
        assert set(here.rows().values()) == {(1, 0)}


def test_points_that_are_too_long_are_computed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most the points in hand are lost, and counted so; the worker is gone before its time is over."""
    file = tmp_path / "leaving"
    monkeypatch.setenv(VARIABLE, str(file))
    with site(tmp_path, order="given") as here:
        driver = here.start_driver()
        eventually(lambda: here.begun().total() == WORKERS * SLOTS, "a point begun in each slot")
        announce(file, time.monotonic() + leaving.DROP_S)
        here.workers[0].send_signal(signal.SIGTERM)
        eventually(lambda: here.workers[0].poll() is not None, "the worker's end")
        here.let_go()
        here.ends(driver)
        begun, rows = here.begun(), here.rows()
        twice = {point for point, times in begun.items() if times == 2}
        assert (len(twice), max(begun.values())) == (SLOTS, 2)
        assert {point for point, (_, losses) in rows.items() if losses} == twice
        assert {attempts for attempts, _ in rows.values()} == {1}


class Played:
    """A worker that is busy until a step has been taken."""

    def __init__(self, steps: list[str], until: str) -> None:
        self._steps, self._until = steps, until

    @property
    def busy(self) -> bool:
        return self._until not in self._steps

    def tell_leaving(self, left_s: float) -> None:  # noqa: ARG002 - as a worker has it
        self._steps.append("tells")

    def take_no_more(self) -> None:
        self._steps.append("takes no more")

    async def close(self, *, reason: str) -> None:
        self._steps.append(reason)


class PlayedPool:
    """A pool that notes what it is told."""

    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self._steps.append(name)


@pytest.mark.parametrize("until", ["cut", "interrupt", "drop_points"])
def test_a_step_is_taken_only_where_the_one_before_was_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    """Long points are told in time, and ended in the end; who has nothing left goes at once."""
    steps: list[str] = []
    names = ["cut", "interrupt", "drop_points"]
    for name in names:
        monkeypatch.setattr(leaving.Pool, name, lambda pool, name=name: getattr(pool, name)())
    monkeypatch.setattr(leaving, "all_pools", lambda: [PlayedPool(steps)])
    monkeypatch.setenv(VARIABLE, str(tmp_path / "leaving"))
    # A worker that is told late: each step's time has come already.
    announce(tmp_path / "leaving", time.monotonic() if until != "cut" else time.monotonic() + 3600)
    asyncio.run(leave(Played(steps, until)))
    assert steps == ["tells", "takes no more", *names[: names.index(until) + 1], leaving.REASON]


def test_who_is_not_told_when_says_so_to_the_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that systemd ends."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "leaving"))
    before_s = time.monotonic()
    steps: list[str] = []
    asyncio.run(leave(Played(steps, "takes no more")))
    assert "tells" not in steps, "AWS does not take this machine back"
    until_s = announced(tmp_path / "leaving")
    assert until_s is not None
    assert before_s < until_s - stopping.DRAIN_S + 1e-3


def test_the_time_of_a_notice_is_read() -> None:
    """One that cannot be read leaves what AWS promises."""
    at = datetime.now(UTC) + timedelta(seconds=90)
    notice = json.dumps({"action": "terminate", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
    assert 0 < seconds_left(notice) <= 90
    for text in ("", "{}", '{"time": "soon"}', "[]", '{"time": 3}', '{"time": "2030-01-01"}'):
        assert seconds_left(text) == PROMISED_S
