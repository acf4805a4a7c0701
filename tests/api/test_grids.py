"""A grid said in Python is the grid of the file that says the same."""

from __future__ import annotations

import enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import sweepfleet as sf
from sweepfleet.api.grids import keys_of, plain
from sweepfleet.grid.load import loads
from sweepfleet.grid.written import to_yaml


class Model(enum.StrEnum):
    RIDGE = "ridge"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (range(3), [0, 1, 2]),
        ((1, 2.5), [1, 2.5]),
        (np.array([1, 2]), [1, 2]),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
        (pl.Series([1, None]), [1, None]),
        (Fraction(1, 2), 0.5),
        (Model.RIDGE, "ridge"),
        ([Model.RIDGE, np.int64(3)], ["ridge", 3]),
        ((each for each in "ab"), ["a", "b"]),
        ({"a": {"values": (1, 2)}}, {"a": {"values": [1, 2]}}),
    ],
)
def test_values_of_any_library_are_plain_values(given: Any, meant: Any) -> None:
    found = plain(given)
    assert found == meant
    assert type(found) is type(meant)


def test_every_key_of_a_grid_file_can_be_said() -> None:
    said = keys_of(
        "fit:fit",
        pickle=None,
        name="both",
        parameters={"alpha": sf.logspace(-3, 1, 9), "model": ("ridge", "lasso"), "fold": range(5)},
        when={"alpha": "model == 'ridge'"},
        where=["alpha < 5"],
        exclude=[{"model": "lasso", "fold": 4}],
        include=[{"model": "ols", "fold": 0}],
        replicates=2,
        seed=7,
        metric=sf.Metric("rmse", over="fold"),
        execution={"timeout": "10m", "resources": {"cpus": 2}},
    )
    text = """
name: both
run: fit:fit
parameters:
  alpha: {logspace: [-3, 1, 9]}
  model: [ridge, lasso]
  fold: [0, 1, 2, 3, 4]
when: {alpha: "model == 'ridge'"}
where: ["alpha < 5"]
exclude: [{model: lasso, fold: 4}]
include: [{model: ols, fold: 0}]
replicates: 2
seed: 7
metric: {name: rmse, over: fold}
execution: {timeout: 10m, resources: {cpus: 2}}
"""
    here, file = (loads(each, source=Path("/p/grid.yaml")) for each in (to_yaml(said), text))
    assert here.plan.digest() == file.plan.digest()
    assert (here.metric, here.execution, here.name) == (file.metric, file.execution, file.name)


@pytest.mark.parametrize(
    ("forms", "values"),
    [
        (sf.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
        (sf.logspace(0, 2, 3), [1.0, 10.0, 100.0]),
    ],
)
def test_the_forms_of_grid_yaml(forms: dict[str, Any], values: list[float]) -> None:
    text = to_yaml(keys_of("fit:fit", parameters={"a": forms}, pickle=None))
    [dimension] = loads(text, source=Path("/p/grid.yaml")).plan.blocks[0].dimensions
    assert [row[0] for row in dimension.rows] == values


def test_a_law_is_drawn_from() -> None:
    said = {"a": sf.distribution("uniform", min=0, max=1)}
    keys = keys_of("fit:fit", parameters=said, pickle=None, method="random", samples=4)
    assert loads(to_yaml(keys), source=Path("/p/grid.yaml")).plan.blocks[0].samples == 4
