"""Runs that share a cluster: each has the slot time that the others leave it, and its efficiency is of that."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest
from distributed import Client

from sweepfleet.grid.load import load
from sweepfleet.run import sharing
from sweepfleet.run.bundles import Bundle
from sweepfleet.run.engines import remote_engine
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.sharing import Holds, Sharing, Sums
from sweepfleet.run.slot_time import Held, SlotTime
from sweepfleet.run.sweep import run_sweep
from tests.one_worker import one_worker
from tests.support import GATED, context, eventually


def test_one_run_alone_has_all_slots_all_the_time() -> None:
    """Exactly slots times time, however often it is asked, whatever it holds itself."""
    slots = SlotTime()
    for now_s in (100.0, 101.7, 103.3):
        slots.see(now_s, slots=3, of=4)
        slots.settle(now_s, Held(mine_s=now_s - 100.0))
    assert slots.had(110.1) == 3 * (110.1 - 100.0)


@pytest.mark.parametrize(
    ("slots", "of", "held", "had"),
    [
        (6, 6, Held(0, 20), 40),  # two slots' worth of six held by another run for ten seconds
        (6, 6, Held(30, 30), 30),  # half each
        (2, 6, Held(20, 30), 20),  # max_parallel: the other run took none of the two
        (2, 6, Held(10, 50), 10),
        (6, 6, Held(8, 60), 8),  # what it held it had
        (6, 6, Held(0, 90), 0),
    ],
)
def test_what_others_held_a_run_did_not_have(slots: int, of: int, held: Held, had: float) -> None:
    found = SlotTime()
    found.see(0.0, slots=slots, of=of)
    found.settle(10.0, held)
    assert found.had(10.0) == pytest.approx(had)


def test_of_a_moment_before_others_were_asked_a_run_had_nothing_rather_than_less() -> None:
    found = SlotTime()
    found.see(0.0, slots=6, of=6)
    found.settle(10.0, Held(0, 60))
    assert found.had(9.0) == 0


def test_slots_that_come_and_go_count_while_they_are_there() -> None:
    found = SlotTime()
    found.see(0.0, slots=2, of=2)
    found.see(10.0, slots=6, of=6)
    found.settle(20.0, Held(0, 10))
    found.see(20.0, slots=1, of=1)
    assert found.had(30.0) == pytest.approx(20 + 50 + 10)
    found.settle(30.0, Held(0, 10))
    assert found.had(30.0) == pytest.approx(20 + 50 + 10)


def test_a_worker_counts_what_ended_and_what_runs() -> None:
    clock = iter([10.0, 11.0, 14.0, 20.0, 21.0])
    holds = Holds(lambda: next(clock))
    with holds.by("a"):  # 10
        with holds.by("b"):  # 11 to 14
            pass
        assert holds.seconds() == {"a": 10.0, "b": 3.0}  # 20
    assert holds._ended == {"a": 11.0, "b": 3.0}  # 21


def test_a_bundle_that_leaves_its_thread_to_others_counts_until_then() -> None:
    """As one does that waits for S3."""
    clock = iter([10.0, 13.0, 20.0])
    holds = Holds(lambda: next(clock))
    with holds.by("a"):  # 10
        holds.let_go()  # 13
        assert holds.seconds() == {"a": 3.0}  # 20
    assert holds._ended == {"a": 3.0}


def test_workers_are_added_up_from_where_the_run_began() -> None:
    """One that comes later counts whole, one that begins again at zero is not taken back; slots of two cores."""
    sums = Sums("me", cpus=2)
    assert sums.add({"w1": {"me": 5.0, "old": 100.0}, "w2": {"old": 7.0}}) == Held(0.0, 0.0)
    assert sums.add({"w1": {"me": 9.0, "old": 100.0}, "w3": {"other": 6.0}}) == Held(2.0, 3.0)
    assert sums.add({"w1": {"me": 1.0}, "w2": {"old": 9.0}}) == Held(2.5, 4.0)


class Workers:
    """A cluster's, as a client has them: one that holds a slot for this run, and a second longer at each question."""

    def __init__(self, *, away: int = 0, none: int = 0) -> None:
        self.asked, self._away, self._none = 0, away, none

    def nthreads(self) -> dict[str, int]:
        return {"w1": 2}

    def run(self, _: object, *, on_error: str) -> dict[str, dict[str, float]]:
        assert on_error == "ignore", "one worker that is gone leaves the others' answers"
        time.sleep(0.05)
        self.asked += 1
        if self.asked <= self._away:
            raise OSError("the scheduler is gone")
        return {"w1": {"me": float(self.asked)}} if self.asked > self._none else {}


def sharing_of(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Sharing:
    monkeypatch.setattr(sharing, "ASK_EVERY_S", 600.0)
    monkeypatch.setattr(sharing, "ASK_LAST_S", 20.0)
    made = Sharing(cast(Client, workers), "me", cpus=1)
    made.begin()
    return made


def test_what_was_held_is_told_once_and_asked_for_again_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = sharing_of(Workers(), monkeypatch)
    assert eventually(asks.news, "the first answer") == Held(0.0, 0.0)
    assert asks.news() is None
    assert asks.last() == Held(1.0, 0.0)
    assert asks.last() == Held(2.0, 0.0)
    asks.close()


def test_workers_that_are_away_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(away=1)
    asks = sharing_of(workers, monkeypatch)
    eventually(lambda: workers.asked, "the first question")
    assert eventually(asks.last, "an answer") == Held(0.0, 0.0)
    asks.close()


def test_a_worker_that_joins_a_cluster_without_any_counts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = sharing_of(Workers(none=1), monkeypatch)
    assert eventually(asks.news, "an answer of nobody") == Held(0.0, 0.0)
    assert asks.last() == Held(2.0, 0.0)
    asks.close()


def test_the_mean_number_of_slots_and_the_efficiency_are_of_what_the_run_had() -> None:
    progress = Progress(total=9, exact=True, resumed=0, slots=6, first_submit_s=0.0, last_result_s=10.0, busy_s=27.0)
    assert (progress.mean_slots, progress.efficiency) == (6, 0.45)
    progress.slot_s = 30.0
    assert (progress.mean_slots, progress.efficiency) == (3, 0.9)
    progress.slot_s = 28.7
    assert progress.mean_slots == 2.87


def test_a_run_beside_another_says_the_slots_that_it_had(tmp_path: Path) -> None:
    """Another holds one of two slots from before its beginning to after its end."""
    for name in ("other", "mine"):
        (tmp_path / name).mkdir()
    with (
        one_worker() as cluster,
        remote_engine(context(tmp_path / "other", GATED), address=cluster.scheduler_address) as other,
    ):
        try:
            other.submit(Bundle(1, ((0, 1),)))
            eventually((tmp_path / "other" / "began-0").exists, "the other run's point")
            grid = tmp_path / "mine" / "grid.yaml"
            grid.write_text("name: mine\nrun: fit:fit\nparameters: {a: {range: [0, 20]}}\nexecution: {bundle: 1}\n")
            (tmp_path / "mine" / "fit.py").write_text(
                "import time\n\ndef fit(a):\n    time.sleep(0.05)\n    return a\n"
            )
            request = Request(
                runs=tmp_path / "runs",
                root=tmp_path / "mine",
                command_line="test",
                born_s=time.time(),
                address=cluster.scheduler_address,
            )
            summary, code = run_sweep(load(grid), request, Silent())
        finally:
            (tmp_path / "other" / "go").touch()
        assert code == 0
        assert summary.slots < 1.5
        assert summary.efficiency == pytest.approx(summary.busy_s / (summary.slots * summary.wall_s), rel=0.05)
        eventually(lambda: bool(other.wait(0.1)), "the other run's end")
