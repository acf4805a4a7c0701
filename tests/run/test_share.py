"""A run whose command limits its workers uses so many of them, and leaves the others to others."""

from __future__ import annotations

from pathlib import Path

from distributed import Worker
from hypothesis import given
from hypothesis import strategies as st

from sweepfleet.run.bundles import Bundle
from sweepfleet.run.engines import remote_engine
from sweepfleet.run.share import engine_of, share
from tests.run.test_lost_results import FIT, ended, site
from tests.support import context, eventually

WORKERS = st.sets(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=9)


@given(WORKERS, st.data())
def test_it_has_as_many_as_it_may_and_changes_none_without_need(workers: set[str], data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 9))
    before = data.draw(st.sets(st.sampled_from(sorted(workers)), max_size=most))
    alone = {worker: {"me", ""} for worker in workers}
    found = share(alone, me="me", before=before, most=most)
    assert len(found) == len(set(found)) == min(most, len(workers))
    assert before <= set(found) <= workers


@given(st.integers(1, 4), st.integers(1, 4))
def test_two_runs_that_met_on_few_workers_part_when_others_join(one: int, two: int) -> None:
    """Each decides by what it sees, at the same time as the other; in the end they share none."""
    mine: dict[str, tuple[str, ...]] = {"a": (), "b": ()}
    for there in (range(max(one, two)), range(one + two)):
        for _ in range(6):
            busy = {f"w{each}": {run for run in mine if f"w{each}" in mine[run]} for each in there}
            limits = {"a": one, "b": two}
            mine = {run: share(busy, me=run, before=mine[run], most=limits[run]) for run in mine}
    assert [len(mine[run]) for run in mine] == [one, two]
    assert not set(mine["a"]) & set(mine["b"])


def test_a_bundle_is_its_engines() -> None:
    assert [engine_of(key) for key in ("bundle-abc-7", "bundle-abc-7-again", "warm-up", ("x", 1))] == ["abc"] * 2 + [
        ""
    ] * 2


def test_one_that_takes_no_more_is_replaced_while_it_is_still_there(tmp_path: Path) -> None:
    """As after a spot notice; on a real scheduler."""

    def leaves(dask_worker: Worker) -> None:
        dask_worker.batched_send({"op": "worker-status-change", "status": "paused", "stimulus_id": "leaves"})

    with site(tmp_path) as here:
        for name in ("one", "two", "three"):
            here.worker(name)
        with remote_engine(context(tmp_path, FIT), address=here.address, patience_s=60, most_workers=2) as engine:
            eventually(lambda: len(engine._client.nthreads()) == 3, "all workers")

            def mine() -> set[str]:
                engine._slots = (-float("inf"), 0)
                assert engine.slots == 2
                return set(engine._share)

            leaving, stays = sorted(mine())
            engine._client.run(leaves, workers=[leaving])
            eventually(lambda: leaving not in mine(), "it uses another one")
            assert stays in mine()


def test_its_bundles_run_on_no_other_worker_and_on_the_third_when_one_of_its_own_dies(tmp_path: Path) -> None:
    """On a real scheduler that has one worker too many."""
    with site(tmp_path) as here:
        processes = {name: here.worker(name) for name in ("one", "two", "three")}
        with remote_engine(context(tmp_path, FIT), address=here.address, patience_s=60, most_workers=2) as engine:
            names = {address: one["name"] for address, one in engine._client.scheduler_info()["workers"].items()}

            def where(first: int) -> set[str]:
                """The workers that have the results of some bundles."""
                keys = {f"bundle-{engine.name}-{number}" for number in range(first, first + 8)}
                for number in range(first, first + 8):
                    engine.submit(Bundle(number, ((0, 1),)))
                eventually(lambda: all(engine._client.futures[key].done() for key in keys), "the bundles' end")
                found = {address for key, held in engine._client.who_has().items() if key in keys for address in held}
                while engine.flying:
                    ended(engine)
                return {names[address] for address in found}

            assert engine.slots == 2
            mine = {names[address] for address in engine._share}
            assert where(1) <= mine
            lost = min(mine)
            processes[lost].kill()
            processes[lost].wait()
            eventually(lambda: len(engine._client.nthreads()) == 2, "the scheduler misses it")
            engine._slots = (-float("inf"), 0)
            assert engine.slots == 2
            assert where(11) <= set(processes) - {lost}
