"""A worker that is taken out of use has nothing to do, and gets nothing more: a real scheduler and real workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweepfleet.run.bundles import Bundle
from sweepfleet.run.engines import remote_engine
from sweepfleet.run.retiring import drain, retire_idle
from sweepfleet.slot.records import Packet
from tests.run.test_lost_results import ended, site
from tests.support import GATED, context, eventually, outcomes_of


def test_idle_workers_are_retired_and_those_that_compute_or_hold_a_result_are_not(tmp_path: Path) -> None:
    """And the retired ones get none of the bundles that come later."""
    with site(tmp_path) as here:
        names = ["one", "two", "three"]
        for name in names:
            here.worker(name)
        with remote_engine(context(tmp_path, GATED), address=here.address, patience_s=60) as engine:

            def retire(most: int) -> list[str]:
                found: list[str] = engine._client.run_on_scheduler(retire_idle, names, most=most)
                return found

            def busy() -> set[str]:
                workers = engine._client.scheduler_info(n_workers=-1)["workers"]
                having = [*engine._client.processing().items(), *engine._client.has_what().items()]
                return {str(workers[address]["name"]) for address, keys in having if keys}

            engine.submit(Bundle(1, ((0, 1),)))
            [computes] = eventually(busy, "the bundle has a worker")
            idle = [name for name in names if name != computes]
            assert retire(1) == idle[:1]
            assert retire(3) == idle, "the one before is named again: its machine may be there still"
            for number in range(2, 6):
                engine.submit(Bundle(number, ((number, number + 1),)))
            (tmp_path / "go").touch()
            eventually(lambda: all(one.done() for one in list(engine._client.futures.values()) or [0]), "their ends")
            assert busy() == {computes}
            assert retire(3) == idle, "whose results its driver has not fetched"
            found: list[Packet] = []
            while len(found) < 5:
                found += [Packet.from_bytes(event.packet) for event in ended(engine)]
    assert sum(len(outcomes_of(packet)) for packet in found) == 5


def test_a_drained_worker_ends_what_it_has_and_gets_nothing_more_until_it_is_wanted_again(tmp_path: Path) -> None:
    """It comes to have nothing though bundles wait, and can be retired then; which are drained is not forgotten."""
    with site(tmp_path) as here:
        names = ["one", "two"]
        for name in names:
            here.worker(name)
        with remote_engine(context(tmp_path, GATED), address=here.address, patience_s=60) as engine:

            def ask(what: Callable[..., list[str]], most: int, **more: int) -> list[str]:
                keep = {"keep": more.get("keep", 1)} if what is drain else {}
                named: list[str] = engine._client.run_on_scheduler(what, names, most=most, **keep)
                return named

            def having() -> set[str]:
                workers = engine._client.scheduler_info(n_workers=-1)["workers"]
                return {str(workers[at]["name"]) for at, keys in engine._client.processing().items() if keys}

            def compute(first: int, last: int) -> None:
                for number in range(first, last):
                    engine.submit(Bundle(number + 1, ((number, number + 1),)))

            def fetch(count: int) -> None:
                (tmp_path / "go").touch()
                while len(found) < count:
                    found.extend(Packet.from_bytes(event.packet) for event in ended(engine))
                (tmp_path / "go").unlink()

            found: list[Packet] = []
            compute(0, 6)
            eventually(lambda: having() == set(names), "both compute")
            assert ask(drain, 1, keep=2) == [], "no other one has joined"
            [drained] = ask(drain, 2)
            assert ask(drain, 1) == [drained]
            assert ask(retire_idle, 2) == [], "both compute"
            fetch(6)
            compute(6, 10)
            eventually(lambda: having() == set(names) - {drained}, "the other one has the bundles")
            assert ask(drain, 0) == []
            eventually(lambda: having() == set(names), "it has some again")
            [drained] = ask(drain, 1)
            fetch(10)
            assert eventually(lambda: ask(retire_idle, 2), "they are retired")[0] in names
            assert drained in ask(retire_idle, 2)
    assert sum(len(outcomes_of(packet)) for packet in found) == 10
