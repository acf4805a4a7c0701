"""The runners of one worker process."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot import pool as pools
from sweepfleet.slot.pool import dismiss, pool_of, prepare
from sweepfleet.slot.records import Packet
from sweepfleet.slot.source import RunnerClosedError
from tests.support import context, eventually, gone, grid, outcomes_of


def test_a_pool_runs_as_many_bundles_at_once_as_it_has_slots(tmp_path: Path) -> None:
    """Two bundles that wait for each other end on two slots: they ran side by side, on runners of their own."""
    code = f"""\
        import time
        from pathlib import Path
        def fit(a):
            Path({str(tmp_path)!r}, str(a)).touch()
            while not Path({str(tmp_path)!r}, str(1 - a)).exists():
                time.sleep(0.01)
            return a
        """
    wanted = context(tmp_path, code, grid({"a": [0, 1]}))
    pool = prepare(wanted, slots=2)
    try:
        pool.ready()
        found: list[Packet] = []
        threads = [
            threading.Thread(target=lambda a=a: found.append(Packet.from_bytes(pool.run([(a, a + 1)]))))
            for a in (0, 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(outcomes_of(packet)[0][0] for packet in found) == [0, 1]
        assert len({packet.worker for packet in found}) == 2
        assert {packet.worker.rpartition("/")[2] for packet in found} == {"0", "1"}
    finally:
        dismiss(wanted)


def test_the_bundle_that_has_waited_longest_comes_first(tmp_path: Path) -> None:
    """Else a large one may be overtaken by all the small ones after it, and one slot has it alone in the end."""
    gate = tmp_path / "gate"
    code = f"""\
        import time
        from pathlib import Path
        def fit(a):
            while not Path({str(gate)!r}).exists():
                time.sleep(0.01)
            return a
        """
    wanted = context(tmp_path, code)
    pool = prepare(wanted, slots=1)
    try:
        pool.ready()
        order: list[int] = []
        threads = []
        for a in range(6):
            threads.append(
                threading.Thread(target=lambda a=a: pool.run([(a, a + 1)], begun=lambda a=a: order.append(a)))
            )
            threads[-1].start()
            eventually(lambda a=a: len(pool._line) + len(order) == a + 1, "the bundle's place in the line")
        gate.touch()
        for thread in threads:
            thread.join(timeout=60)
        assert order == list(range(6))
        eventually(lambda: pool.idle, "the end of all work")
    finally:
        dismiss(wanted)


def test_a_pool_is_made_once_and_known_by_its_digest(tmp_path: Path) -> None:
    """Two sweeps have two pools; the same sweep, however often it is prepared, has one."""
    one = context(tmp_path, "def fit(a): return a\n")
    other = context(tmp_path, "def fit(a): return a\n", timeout_s=5.0)
    try:
        pool = prepare(one, slots=1)
        assert prepare(one, slots=1) is pool is pool_of(one.digest)
        assert prepare(other, slots=1) is not pool
    finally:
        dismiss(one)
        dismiss(other)
    assert pools._pools == {}
    with pytest.raises(KeyError):
        pool_of(one.digest)
    dismiss(one)  # a second time is no error


def test_dismissing_a_pool_leaves_no_process(tmp_path: Path) -> None:
    """Runners that import, idle or run a point all end at once."""
    wanted = context(tmp_path, "import time\ndef fit(a): time.sleep(3600)\n")
    pool = prepare(wanted, slots=3)
    pids = [runner.child.pid for runner in pool._runners]
    raised: list[type[BaseException]] = []

    def running() -> None:
        try:
            pool.run([(0, 1)])
        except RunnerClosedError as error:
            raised.append(type(error))

    thread = threading.Thread(target=running)
    thread.start()
    eventually(lambda: any(runner.child.running().point_index == 0 for runner in pool._runners), "a running point")
    before = {process.pid for process in psutil.process_iter() if not gone(process.pid)}
    assert set(pids) <= before
    dismiss(wanted)
    thread.join(timeout=60)
    assert raised == [RunnerClosedError]
    assert all(gone(pid) for pid in pids)


def test_a_refused_target_is_told_and_leaves_no_process(tmp_path: Path) -> None:
    wanted = context(tmp_path, "raise ValueError('no')\n")
    before = set(psutil.Process().children(recursive=True))
    pool = prepare(wanted, slots=2)
    try:
        for _ in range(2):
            with pytest.raises(UsageError, match="ValueError: no"):
                pool.ready()
        with pytest.raises(UsageError, match="ValueError: no"):
            pool.run([(0, 1)])
    finally:
        dismiss(wanted)
    assert set(psutil.Process().children(recursive=True)) <= before
