"""dask as the driver sees it: real schedulers and workers on this machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Self

import psutil
import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.bundles import Bundle, Ended
from sweepfleet.run.engine import MOST_OUT, Engine, first_out
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.engines import client_of, local_engine, remote_engine
from sweepfleet.run.slots import STARTED_TOPIC, end_runners, here, plugin_name
from sweepfleet.slot.held import Held
from sweepfleet.slot.pool import pool_of
from sweepfleet.slot.records import Packet
from tests.dask_site import DaskSite
from tests.support import GATED, context, eventually, gone, outcomes_of


def collect(engine: Engine, bundles: list[Bundle]) -> dict[int, Packet]:
    """Send bundles out and wait for all of them."""
    for bundle in bundles:
        engine.submit(bundle)
    found: dict[int, Packet] = {}

    def all_ended() -> bool:
        for event in engine.wait(0.1):
            assert isinstance(event, Ended)
            found[event.bundle.number] = Packet.from_bytes(event.packet)
        return len(found) == len(bundles)

    eventually(all_ended, "the bundles' end")
    assert engine.flying == 0
    return found


def test_bundles_come_back_whole_and_leave_no_process(tmp_path: Path) -> None:
    given = context(tmp_path, "import os\n\ndef fit(a):\n    return {'twice': 2 * a, 'pid': os.getpid()}\n")
    with local_engine(given, slots=2) as engine:
        assert engine.slots == 2
        packets = collect(engine, [Bundle(1, ((0, 3), (4, 5))), Bundle(2, ((3, 4),)), Bundle(3, ((5, 10),))])
    rows = [row for packet in packets.values() for row in outcomes_of(packet)]
    assert sorted((index, row["twice"]) for index, row in rows) == [(a, 2 * a) for a in range(10)]
    for pid in {row["pid"] for _, row in rows}:
        eventually(lambda pid=pid: gone(pid), "the runner child's end")
    with pytest.raises(KeyError):
        pool_of(given.digest)


def test_a_bundle_may_end_before_dask_has_given_its_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_engine(context(tmp_path, "def fit(a):\n    return {'twice': 2 * a}\n"), slots=1) as engine:
        submit = engine._client.submit

        def slow(*given: object, **named: object) -> object:
            future = submit(*given, **named)
            future.result()
            return future

        monkeypatch.setattr(engine._client, "submit", slow)
        packets = collect(engine, [Bundle(1, ((0, 3),))])
    assert [row["twice"] for _, row in outcomes_of(packets[1])] == [0, 2, 4]


def test_a_local_engine_listens_to_nobody_outside(tmp_path: Path) -> None:
    with local_engine(context(tmp_path, "def fit(a):\n    return 1\n"), slots=2):
        open_ports = [each.laddr for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
    assert {address.ip for address in open_ports} <= {"127.0.0.1"}


def test_a_local_engine_has_nothing_to_do_while_points_run(tmp_path: Path) -> None:
    """dask wakes every 10 ms otherwise, and a slot's start would go through the scheduler to come back here."""
    with local_engine(context(tmp_path, "def fit(a):\n    return 1\n"), slots=1) as engine:
        cluster = engine._client.cluster
        periodic = [
            each
            for server in (cluster.scheduler, *cluster.workers.values())
            for each in server.periodic_callbacks.values()
        ]
        assert len(periodic) > 3
        eventually(lambda: not any(each.is_running() for each in periodic), "the end of what is done now and then")
        scheduler = cluster.scheduler
        comms = [*scheduler.stream_comms.values(), *scheduler.client_comms.values(), engine._client.scheduler_comm]
        comms += [worker.batched_stream for worker in cluster.workers.values()]
        assert [comm.interval for comm in comms] == [0] * 4, "what is sent is sent at once"
        collect(engine, [Bundle(1, ((0, 1),))])
        assert not engine._client.get_events(STARTED_TOPIC)
    assert not here


def test_a_target_that_is_refused_is_refused_before_any_bundle(tmp_path: Path) -> None:
    given = context(tmp_path, "def fit(b):\n    pass\n")
    with pytest.raises(UsageError, match="does not take a"), local_engine(given, slots=1):
        pass
    with pytest.raises(KeyError):
        pool_of(given.digest)


def test_only_bundles_that_have_a_slot_are_running(tmp_path: Path) -> None:
    """One that waits behind another is not: its time begins when it gets the slot; what has ended does not run."""
    code = """
        import time
        from pathlib import Path

        def fit(a):
            while not Path(__file__).with_name(f"go{a}").exists():
                time.sleep(0.01)
            return 1.0
    """
    with local_engine(context(tmp_path, code), slots=1) as engine:
        assert engine.running == (0, 0.0)
        engine.submit(Bundle(1, ((0, 1),)))
        engine.submit(Bundle(2, ((1, 2),)))
        eventually(lambda: engine._starts == {1: 1, 2: 1}, "both bundles' start, of which one waits")
        eventually(lambda: engine.running[0], "the first bundle's slot")
        assert list(engine._since) == [1]
        (tmp_path / "go0").touch()
        assert eventually(lambda: engine.wait(0.1), "its end")[0].bundle.number == 1
        eventually(lambda: list(engine._since) == [2], "the second one's slot")
        assert engine.running[0] == 1
        (tmp_path / "go1").touch()
        eventually(lambda: engine.wait(0.1), "its end")
        assert engine.running == (0, 0.0)


def test_a_cancelled_bundle_is_forgotten(tmp_path: Path) -> None:
    given = context(tmp_path, "import time\n\ndef fit(a):\n    time.sleep(0.2)\n    return a * 1.0\n")
    with local_engine(given, slots=1) as engine:
        first, second = Bundle(1, ((0, 1),)), Bundle(2, ((1, 2),))
        engine.submit(first)
        engine.cancel(first)
        assert list(collect(engine, [second])) == [2]


def test_a_scheduler_that_is_not_there_is_said(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match="No scheduler answers") as caught,
            remote_engine(context(tmp_path, "def fit(a):\n    return 1\n"), address=address),
        ):
            pass
    assert caught.value.exit_code == 3


class Cluster:
    """A scheduler and a worker, each in a process of its own, at one address; either can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler."""
        port = self.address.rpartition(":")[2]
        return self._start("scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0")

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker with one slot."""
        words = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")
        return self._start("worker", self.address, *words, "--local-directory", str(self._folder))

    def _start(self, part: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *words]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=quiet, stderr=quiet)
        self._processes.append(process)
        return process

    def wait(self) -> Self:
        """Until the scheduler answers."""
        host, _, port = self.address.removeprefix("tcp://").partition(":")

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                return True
            return False

        eventually(answers, "the scheduler")
        return self


def run_on(engine: Engine, accident: Callable[[], None]) -> NoReturn:
    """Send a bundle out, have an accident, and wait for whatever comes of it."""
    engine.submit(Bundle(1, ((0, 1),)))
    accident()
    while True:
        engine.wait(0.1)


def test_a_scheduler_that_starts_anew_ends_the_engine_as_one_that_is_gone(tmp_path: Path) -> None:
    """Whoever runs the driver starts it again; no other error comes of it, not from tidying up either."""
    given = context(tmp_path, GATED)
    with Cluster(tmp_path) as cluster:
        first = cluster.scheduler()
        cluster.wait().worker()

        def restart() -> None:
            eventually((tmp_path / "began-0").exists, "the point's begin")
            first.kill()
            first.wait()
            cluster.scheduler()

        with pytest.raises(ClusterError), remote_engine(given, address=cluster.address, patience_s=60) as engine:
            run_on(engine, restart)


def test_a_worker_of_a_new_scheduler_is_no_broken_sweep(tmp_path: Path) -> None:
    """The scheduler may be another one when nothing was in flight to tell of it."""
    given = context(tmp_path, GATED)
    with Cluster(tmp_path) as cluster:
        cluster.scheduler()
        cluster.wait().worker()

        def forget() -> None:
            with Client(cluster.address, set_as_default=False) as other:
                other.unregister_worker_plugin(plugin_name(given))
                other.run(end_runners, given)
            engine.submit(Bundle(2, ((1, 2),)))

        (tmp_path / "go").touch()
        with pytest.raises(ClusterError), remote_engine(given, address=cluster.address, patience_s=60) as engine:
            run_on(engine, forget)


@given(st.lists(st.integers(0, 3 * MOST_OUT), max_size=2 * MOST_OUT))
@settings(deadline=None, max_examples=50)
def test_a_worker_keeps_every_bundle_that_is_out_however_many_are(ended: list[int]) -> None:
    """And drops those that are committed once the first of those that are out have told it so."""
    held = Held()
    flying: dict[int, None] = {}

    def send(number: int) -> None:
        held.committed("engine", first_out(flying, number))
        flying[number] = None
        held.join(("engine", number), [(number, number + 1)], None)

    for number in range(3 * MOST_OUT):
        send(number)
        assert flying.keys() <= {name[1] for name, _, _ in held.of({"engine"})}
    for number, other in enumerate(ended, 3 * MOST_OUT):
        flying.pop(other, None)
        send(number)
        assert flying.keys() <= {name[1] for name, _, _ in held.of({"engine"})}
    flying.clear()
    send(10_000)
    assert [name[1] for name, _, _ in held.of({"engine"})] == [10_000]


def test_what_ended_an_engine_is_told_also_where_its_client_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask tries to connect to a killed scheduler again, and closing raises what came of that."""

    def close(client: Client) -> None:
        closes(client)
        raise ValueError("IOStream is not idle; cannot convert to SSL")

    with contextlib.closing(DaskSite(tmp_path)) as site:
        closes = Client.close
        monkeypatch.setattr(Client, "close", close)
        with pytest.raises(ClusterError, match="the reason"), client_of(site.address):
            raise ClusterError("the reason")
        with client_of(site.address) as client:
            assert client.scheduler_info()
