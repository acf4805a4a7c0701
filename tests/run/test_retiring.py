"""A worker that is taken out of use has nothing to do, and gets nothing more: a real scheduler and real workers."""

from __future__ import annotations

from pathlib import Path

from sweepfleet.run.bundles import Bundle
from sweepfleet.run.engines import remote_engine
from sweepfleet.run.retiring import retire_idle
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
