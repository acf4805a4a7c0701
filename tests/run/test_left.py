"""What is left of a sweep is counted before any slot is waited for."""

from __future__ import annotations

import time
from pathlib import Path

from sweepfleet.grid.load import load
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.left import points_left
from sweepfleet.run.progress import Silent
from sweepfleet.run.request import Request
from sweepfleet.run.selection import Selection
from sweepfleet.run.sweep import run_sweep

GRID = "name: some\nrun: fit:fit\nparameters: {{a: {{range: [0, {points}]}}}}\n"


def test_what_has_ended_is_not_counted_and_what_is_to_be_computed_again_is(tmp_path: Path) -> None:
    """So a finished sweep that is given again asks for nothing."""
    (tmp_path / "fit.py").write_text("def fit(a):\n    if a == 3:\n        raise ValueError\n    return a\n")
    grid = tmp_path / "grid.yaml"
    counted: list[int] = []

    def request(redo: str = "") -> Request:
        return Request(
            runs=tmp_path / "runs",
            root=tmp_path,
            command_line="test",
            born_s=time.time(),
            workers=1,
            redo=redo,
            counted=counted.append,
        )

    grid.write_text(GRID.format(points=6))
    run_sweep(load(grid), request(), Silent())
    run_sweep(load(grid), request(), Silent())
    assert counted == [6, 0]
    sweep = load(grid)
    left = lambda redo, most=100: points_left(  # noqa: E731
        RunFolder(tmp_path / "runs" / "some"), sweep, Selection(sweep), request(redo), most=most
    )
    assert [left(""), left("failed"), left("done"), left("all"), left("all", 4)] == [0, 1, 5, 6, 4]
