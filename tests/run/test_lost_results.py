"""A worker goes away with results on it, or while the sweep ends: a real scheduler and real workers."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from distributed import Client, Scheduler

from sweepfleet.run.bundles import Bundle, Ended, Found
from sweepfleet.run.engine import Engine
from sweepfleet.run.engines import remote_engine
from sweepfleet.slot.records import Packet
from tests.dask_site import DaskSite
from tests.support import DEADLINE_S, context, eventually, outcomes_of

FIT = "def fit(a):\n    return {'twice': 2 * a}\n"
# A worker whose machine goes away as soon as it is asked this: its process ends without a word.
FRAGILE = """\
import os, sys
from sweepfleet.machine.worker import dask_worker

class Fragile(dask_worker.ClusterWorker):
    async def {question}(self, *words, **named):
        os._exit(1)

dask_worker.ClusterWorker = Fragile
sys.exit(dask_worker.main())
"""


class Site(DaskSite):
    """Workers of it have one slot."""

    def worker(self, name: str, *, fragile: str = "") -> subprocess.Popen[bytes]:
        """Start a worker, and wait until it has joined; it may be one that dies of a question."""
        program = {"program": ("-c", FRAGILE.format(question=fragile))} if fragile else {}
        process = self.start_worker(name, **program)
        with Client(self.address, set_as_default=False, timeout="60s") as client:

            def joined() -> bool:
                return name in {each["name"] for each in client.scheduler_info(n_workers=-1)["workers"].values()}

            eventually(joined, f"{name} has joined")
        return process


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Within it, there is a scheduler."""
    made = Site(folder)
    try:
        yield made
    finally:
        made.close()


def ended(engine: Engine) -> list[Ended]:
    """The bundles that have ended since the last look; the number of slots is asked for, as the driver does."""
    assert engine.slots >= 0
    return [event for event in engine.wait(0.1) if isinstance(event, Ended)]


def runners(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What a worker has started."""
    return psutil.Process(worker.pid).children(recursive=True)


@pytest.mark.parametrize("found", [False, True], ids=["sent", "taken over"])
def test_a_bundle_whose_result_is_lost_before_it_is_fetched_is_computed_again(tmp_path: Path, *, found: bool) -> None:
    """dask says once that a task has ended, and not again when another worker has computed it anew."""
    with site(tmp_path) as here:
        first = here.worker("first", fragile="get_data")
        with remote_engine(context(tmp_path, FIT), address=here.address, patience_s=60) as engine:
            [address] = engine._client.nthreads()
            spans = ((0, 3),)
            of_the_dead = Found(("a driver that died", 1), spans, None, address) if found else None
            engine.submit(Bundle(1, spans, found=of_the_dead))
            futures = engine._client.futures
            eventually(lambda: futures[f"bundle-{engine.name}-1"].status == "finished" or first.poll(), "its end")
            first.kill()
            first.wait()
            eventually(lambda: futures[f"bundle-{engine.name}-1"].status != "finished", "the result's loss")
            eventually(lambda: not engine._client.nthreads(), "the scheduler misses the worker")
            waiting = ThreadPoolExecutor(1).submit(ended, engine)
            assert waiting.result(timeout=DEADLINE_S) == [], "the driver waits for no worker"
            assert engine.flying == 1
            here.worker("second")
            [event] = eventually(lambda: ended(engine), "the bundle's end")
            assert engine.flying == 0
    assert [row["twice"] for _, row in outcomes_of(Packet.from_bytes(event.packet))] == [0, 2, 4]


def test_no_runner_is_left_when_a_worker_goes_away_while_the_sweep_ends(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        lasting, fragile = here.worker("lasting"), here.worker("fragile", fragile="plugin_remove")

        with remote_engine(context(tmp_path, FIT), address=here.address, patience_s=60) as engine:
            engine.submit(Bundle(1, ((0, 3),)))
            eventually(lambda: ended(engine), "the bundle's end")
            assert runners(lasting)
        assert fragile.wait() == 1, "it went away as it was asked"
        eventually(lambda: not runners(lasting), "no runner is left")


def test_a_worker_that_was_away_when_its_sweep_ended_ends_the_runners_as_it_comes_back(tmp_path: Path) -> None:
    def disconnect(dask_scheduler: Scheduler) -> None:  # in here, since the scheduler cannot import this module
        dask_scheduler.stream_comms[dask_scheduler.aliases["away"]].comm.abort()

    with site(tmp_path) as here:
        away, _ = here.worker("away"), here.worker("there")
        with remote_engine(context(tmp_path, FIT), address=here.address, patience_s=60) as engine:
            assert runners(away)
            away.send_signal(signal.SIGSTOP)
            engine._client.run_on_scheduler(disconnect)
            eventually(lambda: len(engine._client.nthreads()) == 1, "the scheduler misses it")
            engine.submit(Bundle(1, ((0, 3),)))
            eventually(lambda: ended(engine), "the bundle's end")
        assert runners(away)
        away.send_signal(signal.SIGCONT)
        eventually(lambda: not runners(away), "no runner is left")
        assert away.poll() is None
        with Client(here.address, set_as_default=False, timeout="60s") as client:
            eventually(lambda: len(client.nthreads()) == 2, "it is back")
