"""A release that is still on its way to a worker: the worker answers its scheduler meanwhile, and computes then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from sweepfleet.machine import bring
from sweepfleet.machine.facts import Home
from sweepfleet.machine.worker.cluster_machine import ClusterMachine
from sweepfleet.machine.worker.dask_worker import ClusterWorker
from sweepfleet.run.bundles import Bundle, Ended
from sweepfleet.run.engine import Engine
from sweepfleet.run.slots import Slots, end_runners, plugin_name
from sweepfleet.slot.pool import pool_of
from sweepfleet.slot.records import Packet
from tests.one_worker import one_worker
from tests.support import context, eventually, outcomes_of

DEADLINE_S = 60
SHA256 = "ab" * 32
MACHINE = ClusterMachine(None)


class Site:
    """A cluster of one worker, and a release that it lacks."""

    def __init__(self, cluster: LocalCluster, client: Client, folder: Path, beside: ThreadPoolExecutor) -> None:
        self.cluster, self.client, self._beside = cluster, client, beside
        (folder / "requests").mkdir()
        self.asked = folder / "requests" / SHA256
        self.release = Home(folder).release(SHA256)
        self._made = folder / "made"
        self._made.mkdir()
        made = context(self._made, "def fit(a): return 2 * a")
        self.context = replace(made, folder=str(self.release), root=str(self.release))

    def engine(self) -> Future[Engine]:
        """An engine of the sweep, once the worker has asked for its release."""
        engine = self._beside.submit(Engine, self.client, self.context, MACHINE)
        eventually(self.asked.exists, "the worker asks for the release")
        return engine

    def arrives(self) -> None:
        """The release has come."""
        shutil.copytree(self._made, self.release, dirs_exist_ok=True)

    def asked_beside(self, call: Callable[..., Any], *given: Any) -> Any:
        """What the worker answers. Raises TimeoutError when it does not."""
        return self._beside.submit(call, *given).result(DEADLINE_S)

    def answers(self) -> bool:
        """Whether the worker answers. Raises TimeoutError when it does not."""
        return all(self.asked_beside(self.client.run, lambda: True).values())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(bring, "HOME", Home(tmp_path))
    monkeypatch.setattr(bring, "REQUESTS", tmp_path / "requests")
    with ThreadPoolExecutor() as beside, one_worker() as cluster, Client(cluster) as client:
        site = Site(cluster, client, tmp_path, beside)
        try:
            yield site
        finally:
            site.arrives()  # or a worker that waits for it in its event loop never ends
            client.run(end_runners, site.context)


def test_a_worker_answers_while_it_waits_and_computes_when_it_has_the_release(site: Site) -> None:
    waiting = site.engine()
    assert site.answers()
    assert not waiting.done()
    site.arrives()
    engine = waiting.result(DEADLINE_S)
    engine.submit(Bundle(1, ((0, 3),)))
    (ended,) = eventually(lambda: engine.wait(0.1), "the bundle's end")
    assert isinstance(ended, Ended)
    assert [row["value"] for _, row in outcomes_of(Packet.from_bytes(ended.packet))] == [0, 2, 4]
    engine.close()


def test_a_sweep_that_ended_meanwhile_gets_no_runners(site: Site) -> None:
    waiting = site.engine()
    site.asked_beside(site.client.unregister_worker_plugin, plugin_name(site.context))
    site.arrives()
    with pytest.raises(KeyError):  # of the driver that still asks for them
        waiting.result(DEADLINE_S)
    with pytest.raises(KeyError):
        pool_of(site.context.digest)


def test_a_worker_that_joins_and_gets_no_release_leaves_again(site: Site) -> None:
    """After its `death_timeout`, and whoever started it begins anew: bundles go to workers that have the code."""
    site.arrives()
    site.client.register_plugin(Slots(site.context, MACHINE))
    shutil.rmtree(site.release)

    async def joins() -> None:
        await ClusterWorker(site.cluster.scheduler_address, nthreads=1, death_timeout=0.5, dashboard=False)

    with pytest.raises(TimeoutError):
        site.cluster.sync(joins, callback_timeout=DEADLINE_S)
    eventually(lambda: len(site.client.nthreads()) == 1, "the scheduler has forgotten it")
    assert site.asked.exists()
    assert site.answers()
