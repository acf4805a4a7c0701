"""A point uses the cores that its grid gives it, whatever it asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.slot import cores
from sweepfleet.slot.cores import THREAD_VARIABLES, Cores
from sweepfleet.slot.pool import Pool
from sweepfleet.slot.records import Packet
from tests.support import context, grid, outcomes_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")


@pytest.fixture(autouse=True)
def our_own_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sweeps on this machine are none of a test's business."""
    monkeypatch.setattr(cores, "LEASE", f"sweepfleet-test-{os.getpid()}")


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """A machine of eight cores, of which this process may use six."""
    usable = {0, 1, 3, 4, 6, 7}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    return usable


@linux
@pytest.mark.usefixtures("available")
@pytest.mark.parametrize(
    ("slots", "cpus", "expected"),
    [
        (6, 1, [(0,), (1,), (3,), (4,), (6,), (7,)]),
        (3, 2, [(0, 1), (3, 4), (6, 7)]),
        (2, 2, [(0, 1), (3, 4)]),
        (1, 6, [(0, 1, 3, 4, 6, 7)]),
        (7, 1, [()] * 7),
        (4, 2, [()] * 4),
        (1, 7, [()]),
    ],
)
def test_slots_have_cores_of_their_own_where_there_are_enough(slots: int, cpus: int, expected: list[Any]) -> None:
    """As many as the grid gives a point, never fewer; with more slots than cores, they are tied to none."""
    leased = Cores(slots=slots, cpus=cpus)
    assert leased.of == expected
    leased.close()


@linux
@pytest.mark.usefixtures("available")
def test_two_sweeps_side_by_side_do_not_share_cores() -> None:
    first = Cores(slots=2, cpus=2)
    second = Cores(slots=2, cpus=1)
    assert (first.of, second.of) == ([(0, 1), (3, 4)], [(6,), (7,)])
    assert Cores(slots=1, cpus=1).of == [()]
    first.close()
    again = Cores(slots=4, cpus=1)
    assert again.of == [(0,), (1,), (3,), (4,)]
    again.close()
    second.close()


SEEN = """\
import os
import joblib

def fit(a):
    return {
        "cores": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "jobs": joblib.cpu_count(),
        "effective": joblib.effective_n_jobs(-1),
        "child": os.popen("nproc").read().strip(),
    }
"""


@pytest.fixture
def pools() -> Iterator[Any]:
    made: list[Pool] = []

    def make(*args: Any, **kwargs: Any) -> Pool:
        made.append(Pool(*args, **kwargs))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@linux
def test_what_a_point_asks_how_many_cores_there_are_says_its_share(tmp_path: Path, pools: Any) -> None:
    usable = len(os.sched_getaffinity(0))
    pool = pools(context(tmp_path, SEEN, grid({"a": range(usable)})), slots=usable, name="host")
    seen = [outcomes_of(Packet.from_bytes(runner.run([(0, 1)])))[0][1] for runner in pool._runners]
    assert {int(one["cores"]) for one in seen} == os.sched_getaffinity(0)
    assert {(one["jobs"], one["effective"], one["child"]) for one in seen} == {(1, 1, "1")}


def test_libraries_are_told_a_points_share(tmp_path: Path, pools: Any) -> None:
    code = f"import os\ndef fit(a): return {{name: os.environ[name] for name in {THREAD_VARIABLES!r}}}\n"
    pool = pools(context(tmp_path, code, cpus=3), slots=1, name="host")
    ((_, seen),) = outcomes_of(Packet.from_bytes(pool.run([(0, 1)])))
    assert seen == dict.fromkeys(THREAD_VARIABLES, "3")
