"""dask as the driver sees it: real schedulers and workers on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil
import pytest

from grid.errors import UsageError
from sweep.bundles import Bundle, Ended
from sweep.engine import ClusterError, Engine, local_engine, remote_engine
from tests.support import context, eventually, gone, outcomes_of
from worker.pool import pool_of
from worker.records import Packet


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


def test_a_local_engine_listens_to_nobody_outside(tmp_path: Path) -> None:
    with local_engine(context(tmp_path, "def fit(a):\n    return 1\n"), slots=2):
        open_ports = [each.laddr for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
    assert {address.ip for address in open_ports} <= {"127.0.0.1"}


def test_a_target_that_is_refused_is_refused_before_any_bundle(tmp_path: Path) -> None:
    given = context(tmp_path, "def fit(b):\n    pass\n")
    with pytest.raises(UsageError, match="does not take a"), local_engine(given, slots=1):
        pass
    with pytest.raises(KeyError):
        pool_of(given.digest)


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
