"""Every example, run as its README says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.command import ROOT, Project

NEEDS_R = pytest.mark.skipif(
    shutil.which("Rscript") is None,
    reason="Rscript is not on PATH; have it with: apt-get install r-base-core",
)


@pytest.mark.parametrize(
    ("grid", "points", "best"),
    [
        ("diabetes/grid.yaml", 915, {"model": "lasso", "alpha": 0.6309573444801936}),
        ("digits/grid.yaml", 135, {"max_depth": 16}),
        ("digits/random.yaml", 180, {}),
        ("digits/sgd.yaml", 36, {}),
        ("montecarlo/grid.yaml", 100_000, {"reorder_at": 30.0, "order": 80.0}),
        ("any_language/grid.yaml", 157, {"beta": 1.663, "gamma": 0.44}),
        pytest.param("any_language/grid-r.yaml", 157, {"beta": 1.663, "gamma": 0.44}, marks=NEEDS_R),
    ],
)
def test_an_example_runs_and_finds_what_its_readme_says(
    tmp_path: Path, grid: str, points: int, best: dict[str, object]
) -> None:
    answer = Project(tmp_path).inv("sweep", "--grid", str(ROOT / "examples" / grid), "--json")
    summary = json.loads(answer.stdout)
    assert (summary["state"], summary["points"], summary["done"], summary["failed"]) == ("done", points, points, 0)
    assert best.items() <= summary["best"]["params"].items()
    assert summary["notes"] == []
