"""What `--preview` promises: an answer at once, however large the grid and however little is left of it."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import loads
from sweepfleet.grid.space import Space
from sweepfleet.run import preview as previews
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.preview import (
    MANY_POINTS,
    SEARCHED,
    PointFailedError,
    first_points,
    preview,
    run_one,
    searched,
    too_large,
)
from tests.support import batches, context, grid, space

CUBE = {name: range(1000) for name in "abc"}
HEAD = "name: cube\nrun: fit:fit\n"
DIMENSIONS = "parameters: {a: {min: 1, max: 1000}, b: {min: 1, max: 1000}, c: {min: 1, max: 1000}}\n"


def said(text: str, folder: Path, **more: Any) -> list[str]:
    sweep = loads(HEAD + text, source=folder / "grid.yaml", where=more.pop("where", ()))
    return list(preview(sweep, runs=folder / "runs", root=folder, slots=2, **more))


def test_a_billion_indexes_with_hardly_a_point_are_previewed_in_flat_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    lines = said(DIMENSIONS + 'where: ["a + b + c > 2990"]', tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines[0].startswith("cube: about ")
    assert "at most 1,000,000,000" in lines[0]
    looked = "the first 100,000 of 1,000,000,000 indexes"
    assert lines[1] == f"  None of these points is among {looked}; no others were checked."
    assert lines[2] == "Time: unknown until a point has run."
    assert peak < 20_000_000


def test_a_billion_indexes_with_many_points_show_the_first(tmp_path: Path) -> None:
    lines = said(DIMENSIONS + 'where: ["a + b + c > 1010"]', tmp_path)
    assert lines[1].split()[0] == "9999"
    assert lines[6] == "  ..."
    assert lines[7].endswith("Try one: --test-point 9999")


def test_one_point_is_not_called_points(tmp_path: Path) -> None:
    assert said("parameters: {a: [1]}", tmp_path)[0] == "cube: 1 point of fit:fit"
    assert said("parameters: {a: [1, 2]}", tmp_path)[0] == "cube: 2 points of fit:fit"


def test_no_points_at_all_is_an_error_where_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no points"):
        said('parameters: {a: [1, 2]}\nwhere: ["a > 2"]', tmp_path)


def test_draws_that_may_repeat_are_previewed_without_going_through_them(tmp_path: Path) -> None:
    lines = said(f"method: sobol\nsamples: 1000000\n{DIMENSIONS}", tmp_path)
    assert lines[0].startswith("cube: about 99")
    assert [line.split()[0] for line in lines[1:6]] == list("01234")
    assert lines[6] == "  ..."


def test_the_last_point_takes_its_time_however_many_slots_there_are(tmp_path: Path) -> None:
    text = "parameters: {a: [1, 2]}"
    ours = Space(loads(HEAD + text, source=tmp_path / "grid.yaml").plan)
    (tmp_path / "runs" / "cube").mkdir(parents=True)
    with contextlib.closing(Ledger(tmp_path / "runs" / "cube" / "ledger.sqlite")) as ledger:
        ledger.adopt(ours)
        ledger.record(batches([(ours.point(0), 1.0)], duration_s=10.0), git_commit=None, env_hash=None)
    lines = said(text, tmp_path, cost=lambda busy_s, points: f"{busy_s} s for {points}")
    assert lines[-2] == "Time: about 10 s on 2 slots (10 s a point, the mean of those that have run)."
    assert lines[-1] == "10.0 s for 1"


def begun(folder: Path, text: str, count: int) -> None:
    """A run of this grid that has `count` points, a second each."""
    ours = Space(loads(HEAD + text, source=folder / "grid.yaml").plan)
    (folder / "runs" / "cube").mkdir(parents=True)
    with contextlib.closing(Ledger(folder / "runs" / "cube" / "ledger.sqlite")) as ledger:
        ledger.adopt(ours)
        points = [(point, 1.0) for point in ours.points(0, count)]
        ledger.record(batches(points, duration_s=1.0), git_commit=None, env_hash=None)


DRAWS = "method: random\nsamples: {}\nparameters: {{x: {{min: 0.0, max: 1.0}}}}"


@pytest.mark.parametrize(
    ("before", "after", "more", "ended", "left"),
    [
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [1, 2, 3]}", {}, 3, 0),
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [0, 3, 1, 7]}", {}, 2, 2),
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [0, 3, 1, 7]}", {"where": ["a > 2"]}, 1, 1),
        ("parameters: {a: [1, 2, 3, 4]}", "parameters: {a: [1, 2, 3, 4]}", {"where": ["a >= 2"]}, 2, 1),
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [1, 2, 3]}", {"redo": "done"}, 0, 3),
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [1, 2, 3]}", {"redo": "failed"}, 3, 0),
        ("parameters: {a: [1, 2, 3]}", "parameters: {a: [1, 2, 3]}", {"redo": "all", "where": ["a == 1"]}, 0, 1),
        (DRAWS.format(3), DRAWS.format(8), {}, 3, 5),
        (DRAWS.format(3), f"replicates: 2\n{DRAWS.format(3)}", {}, 3, 3),
    ],
)
def test_what_a_run_has_already_is_said_also_after_an_edit(
    tmp_path: Path, before: str, after: str, more: dict[str, Any], ended: int, left: int
) -> None:
    """With the time of the rest; by --where of what it chooses, and without what --redo computes again."""
    begun(tmp_path, before, 3)
    lines = said(after, tmp_path, **more)
    expected = f"{ended:,} have ended in {tmp_path / 'runs' / 'cube'}; {left} are left."
    assert (expected in lines) == bool(ended), lines
    again = {"done": "--redo done computes 3 ended points again.", "all": "--redo all computes 1 ended point again."}
    told = [line for line in lines if line.startswith("--redo")]
    assert told == [again[more["redo"]]] if more.get("redo") in again else not told
    if left:
        assert any(line.startswith(f"Time: about {max(1, left / 2):.1f} s on 2 slots") for line in lines), lines
    else:
        assert "Nothing is left to run." in lines


def test_of_very_many_rows_some_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "LOOKED_AT", 10)
    begun(tmp_path, "parameters: {a: {min: 1, max: 60}}", 60)
    lines = said("parameters: {a: {min: 0, max: 99}}", tmp_path)
    assert any(line.startswith("About ") and "have ended" in line and "; about " in line for line in lines), lines


def test_the_search_goes_on_through_all_replicates_of_its_indexes() -> None:
    few = space({"a": range(10)}, replicates=3)
    assert searched(few) == 30
    here = Space(grid(CUBE, replicates=3, where=(f"b * 1000 + c == {SEARCHED - 1}",)))
    assert [point.index for point in first_points(here)] == [3 * SEARCHED - 3, 3 * SEARCHED - 2, 3 * SEARCHED - 1]
    assert searched(here, 5) == 3 * SEARCHED + 5


def test_a_point_that_is_left_out_names_the_next_only_where_it_is_near(tmp_path: Path) -> None:
    for condition, hint in (("a + b + c > 2990", ""), ("c > 7", " The next point is 8.")):
        sweep = loads(
            f"{HEAD}parameters: {{a: {{min: 0, max: 999}}, b: {{min: 0, max: 999}}, "
            f"c: {{min: 0, max: 999}}}}\nwhere: ['{condition}']",
            source=tmp_path / "grid.yaml",
        )
        with pytest.raises(UsageError) as caught:
            list(run_one(sweep, context(tmp_path, "def fit(a): return a"), index=3))
        assert str(caught.value) == f"--test-point 3: where, exclude or when excludes this one.{hint}"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_point_that_fails_here_shows_the_users_frames_alone(tmp_path: Path, kind: str) -> None:
    sweep = loads(HEAD + "parameters: {a: [1]}", source=tmp_path / "grid.yaml")
    given = context(tmp_path, f"{kind} fit(a):\n    raise ValueError('no')\n", sweep.plan)
    with pytest.raises(PointFailedError) as failed:
        list(run_one(sweep, given, index=0))
    assert str(failed.value).splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "fit.py"}", line 2, in fit',
        "    raise ValueError('no')",
        "ValueError: no",
    ]


def concern(text: str, folder: Path, *, mean_s: float | None = None, slots: int = 2) -> str | None:
    sweep = loads(HEAD + text, source=folder / "grid.yaml")
    if mean_s is not None:
        here = Space(sweep.plan)
        (folder / "runs" / "cube").mkdir(parents=True)
        with contextlib.closing(Ledger(folder / "runs" / "cube" / "ledger.sqlite")) as ledger:
            ledger.adopt(here)
            ledger.record(batches([(here.point(0), 1.0)], duration_s=mean_s), git_commit=None, env_hash=None)
    return too_large(sweep, runs=folder / "runs", root=folder, slots=lambda: slots)


MANY = "parameters: {a: {min: 1, max: 10000}, b: {min: 1, max: 10000}, c: [1, 2]}\n"
SOME = "parameters: {a: {min: 1, max: 1000000}}\n"


def test_so_many_points_are_asked_about(tmp_path: Path) -> None:
    assert concern(MANY, tmp_path) == f"{2 * MANY_POINTS:,} points are left to run."
    assert concern(MANY.replace(", c: [1, 2]", ""), tmp_path) is None


@pytest.mark.parametrize(
    ("mean_s", "slots", "asked"), [(None, 2, False), (60.0, 2, False), (70.0, 2, True), (70.0, 3, False)]
)
def test_a_year_of_points_is_asked_about_once_a_points_time_is_known(
    tmp_path: Path, mean_s: float | None, slots: int, *, asked: bool
) -> None:
    said = concern(SOME, tmp_path, mean_s=mean_s, slots=slots)
    assert (said is not None) is asked
    if said:
        assert said.startswith("999,999 points are left, which would take about 1.1 years on 2 slots (70 s a point")
