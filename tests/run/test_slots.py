"""How many points a cluster's worker runs at once: as many as the grid's resources leave room for."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from sweepfleet.run.slots import slots_of
from tests.support import context

MEMORY = psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("limits", "threads", "slots"),
    [
        ({}, 4, 4),
        ({"cpus": 2}, 5, 2),
        ({"cpus": 8}, 4, 1),
        ({"memory_bytes": MEMORY // 3}, 8, 3),
        ({"memory_bytes": 2 * MEMORY}, 8, 1),
        ({"cpus": 2, "memory_bytes": MEMORY // 3}, 4, 2),
    ],
)
def test_cores_and_memory_are_shared_out(tmp_path: Path, limits: dict[str, int], threads: int, slots: int) -> None:
    assert slots_of(context(tmp_path, "def fit(a): return a", **limits), threads=threads) == slots
