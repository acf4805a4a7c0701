"""Targets whose import is heavy, and grids for them, as files of a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCIKIT = """\
import sklearn.datasets
import sklearn.linear_model
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import sklearn.preprocessing


def fit(i):
    return 0.0
"""
# A known time of one core's work, and memory as imports leave it: arrays, and a sixth of it objects.
KNOWN = """\
import gc
import pathlib
import time

import numpy as np

END_S = time.process_time() + {busy_s}
ARRAYS = [np.ones(125_000) for _ in range({megabytes} * 5 // 6)]
OBJECTS = {{number: [str(number)] for number in range({megabytes} // 6 * 5000)}}  # 200 bytes each
while time.process_time() < END_S:
    pass


def fit(i):
    return 0.0


def use(i, told):
    # Read what the import has left, and look for garbage in it, as Python does now and then.
    total = sum(array[0] for array in ARRAYS)
    total += sum(len(OBJECTS[number][0]) for number in range(0, len(OBJECTS), max(1, len(OBJECTS) // 100)))
    gc.collect()
    told = pathlib.Path(told)
    (told / f"begun-{{i}}").touch()
    while not (told / "enough").exists():
        time.sleep(0.05)
    return float(total)
"""


@dataclass(frozen=True, slots=True)
class Heavy:
    """One such target."""

    module: str
    source: str

    def write(self, folder: Path) -> None:
        """Put the module into a project."""
        (folder / f"{self.module}.py").write_text(self.source)

    def grid(self, points: int) -> str:
        """No-op points of it."""
        return f"run: {self.module}:fit\nparameters:\n  i: {{range: [0, {points}, 1]}}\n"

    def using_grid(self, points: int, *, told: Path) -> str:
        """Points that read what the import left, say so in the folder `told`, and wait for `bench.shared` there."""
        return (
            f"run: {self.module}:use\n"
            f"parameters:\n  i: {{range: [0, {points}, 1]}}\n"
            f"  told: {{value: {str(told)!r}}}\n"
            "execution: {bundle: 1}\n"
        )


def scikit() -> Heavy:
    """scikit-learn, as examples/diabetes imports it."""
    return Heavy("heavy_scikit", SCIKIT)


def known(*, busy_s: float, megabytes: int) -> Heavy:
    """A target whose import takes so much of a core's time, and leaves so much memory."""
    return Heavy("heavy_known", KNOWN.format(busy_s=busy_s, megabytes=megabytes))
