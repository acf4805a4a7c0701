"""The number of workers that a run asks for follows what is left of it and how long its points take."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweepfleet.machine.head.reporter as reporter_module
from sweepfleet.machine.head.demand import MARGIN, START_S, WORTH_S, workers_for
from sweepfleet.machine.head.reporter import Reporter
from sweepfleet.machine.job import SETTLED, JobFolder
from sweepfleet.run.run_progress import Progress

POINTS, SLOTS, MOST = st.integers(1, 10**7), st.integers(1, 64), st.integers(1, 500)
POINT_S = st.none() | st.floats(1e-6, 1e6)


@pytest.mark.parametrize(
    ("points", "point_s", "workers"),
    [
        (0, 5.0, 0),  # a finished sweep
        (3, 3600.0, 1),  # a slot each
        (915, None, 1),  # nobody knows: one measures
        (915, 0.004, 1),  # milliseconds
        (915, 10.0, 8),
        (100, 3600.0, 8),
        (9, 3600.0, 3),
        (100, 6.0, 3),  # ten minutes of work for four slots
    ],
)
def test_workers_are_asked_for_by_need(points: int, point_s: float | None, workers: int) -> None:
    assert workers_for(points, point_s=point_s, slots_each=4, most=8) == workers


@given(POINTS, POINT_S, SLOTS, MOST)
def test_no_worker_is_asked_for_that_has_no_points_or_is_not_allowed(
    points: int, point_s: float | None, slots: int, most: int
) -> None:
    workers = workers_for(points, point_s=point_s, slots_each=slots, most=most)
    assert 1 <= workers <= most
    assert (workers - 1) * slots < points, "the last one has a point, too"
    if point_s is not None and workers > 1:
        assert (workers - 1) * slots * WORTH_S < points * point_s * (1 + 1e-9), "and work for a while"


@given(POINTS, POINTS, st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), SLOTS, MOST)
def test_more_work_never_asks_for_less(
    points: int, more: int, point_s: float, longer_s: float, slots: int, most: int
) -> None:
    room = {"slots_each": slots, "most": most}
    assert workers_for(points, point_s=point_s, **room) <= workers_for(points + more, point_s=point_s, **room)
    assert workers_for(points, point_s=point_s, **room) <= workers_for(points, point_s=point_s + longer_s, **room)
    assert workers_for(points, point_s=math.inf, **room) == min(most, math.ceil(points / slots))


@given(POINTS, st.floats(1e-3, 1e5), SLOTS, st.floats(100, 1e6))
def test_a_deadline_has_as_many_workers_as_meet_it_and_no_more(
    points: int, point_s: float, slots: int, time_s: float
) -> None:
    room = {"point_s": point_s, "slots_each": slots, "time_s": time_s}
    workers = workers_for(points, most=10**9, **room)
    work_s = points * point_s
    assert workers * slots * time_s >= min(work_s, points * time_s) * (1 - 1e-9), "or a slot for each point"
    if workers > 1:
        assert (workers - 1) * slots * min(time_s * MARGIN, time_s - START_S) < work_s * (1 + 1e-9)
    assert workers_for(points, most=3, **room) == min(3, workers)


@pytest.mark.parametrize("late_s", [0.0, -3600.0])
def test_a_run_that_is_late_has_all_that_it_can_use(late_s: float) -> None:
    assert workers_for(100, point_s=60.0, slots_each=4, most=8, time_s=late_s) == 8
    assert workers_for(5, point_s=60.0, slots_each=4, most=8, time_s=late_s) == 2


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "one")
    made.path.mkdir()
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The reporter's, which goes on by itself, so that each progress is written."""
    time = SimpleNamespace(now_s=0.0)

    def monotonic() -> float:
        time.now_s += 1.5
        return float(time.now_s)

    monkeypatch.setattr(reporter_module, "time", SimpleNamespace(monotonic=monotonic, time=lambda: 1e9))
    return time


def said(folder: JobFolder) -> int:
    return int(folder.read_progress()["workers_needed"])


@pytest.mark.usefixtures("clock")
def test_a_run_asks_for_one_then_for_what_it_measures_then_for_less_and_less(folder: JobFolder) -> None:
    """Also before its first point has ended: what has run for a while is long."""
    reporter = Reporter(folder, workers_needed=8, slots_each=4)
    reporter.state("starting")
    assert said(folder) == 0, "until it is counted"
    reporter.counted(100)
    assert said(folder) == 1
    assert not folder.read_progress()[SETTLED]
    now = Progress(total=100, exact=True, resumed=0, slots=4)
    asked = []
    for changes in (
        {},
        {"running": 4, "longest_s": 6.0},
        {"running": 4, "longest_s": 30.0},
        {"running": 0, "longest_s": 0.0, "done": 4, "computed": 4, "busy_s": 160.0},
        {"done": 80, "computed": 80, "busy_s": 3200.0},
        {"done": 97, "computed": 97, "busy_s": 3880.0},
        {"done": 100, "computed": 100, "busy_s": 4000.0},
    ):
        for name, value in changes.items():
            setattr(now, name, value)
        reporter.update(now)
        asked.append(said(folder))
    assert asked == [1, 5, 8, 8, 4, 1, 0]
    assert folder.read_progress()[SETTLED]


@pytest.mark.usefixtures("clock")
def test_the_next_driver_of_a_run_keeps_the_workers_until_it_has_measured(folder: JobFolder) -> None:
    """They compute for it. A run that ended keeps none."""
    folder.write_progress('{"state": "running", "workers_needed": 6}')
    reporter = Reporter(folder, workers_needed=8, slots_each=4)
    reporter.state("starting")
    assert said(folder) == 6
    reporter.counted(100)
    assert said(folder) == 6
    reporter.update(Progress(total=100, exact=True, resumed=80, done=80, slots=24))
    assert said(folder) == 5, "twenty points have no use for more"
    reporter.update(Progress(total=100, exact=True, resumed=80, done=84, computed=4, busy_s=4.0, slots=24))
    assert said(folder) == 1
    reporter.end(exit_code=0)
    again = Reporter(folder, workers_needed=8, slots_each=4)
    again.state("starting")
    assert said(folder) == 0


@pytest.mark.usefixtures("clock")
def test_an_estimate_of_the_points_that_is_too_low_takes_no_worker_away(folder: JobFolder) -> None:
    reporter = Reporter(folder, workers_needed=8)
    reporter.update(Progress(total=90, exact=False, resumed=0, done=95, computed=95, busy_s=95.0, slots=2))
    assert said(folder) == 1


@pytest.mark.usefixtures("clock")
def test_a_run_with_a_deadline_asks_for_as_many_as_meet_it(folder: JobFolder) -> None:
    """400 points of a minute are 100 minutes of a worker's four slots; its time is this many seconds from now."""
    for left_s, workers in ((36_000, 1), (6000, 2), (3600, 2), (2000, 4), (10, 8)):
        reporter = Reporter(folder, workers_needed=8, slots_each=4, deadline=1e9 + left_s)
        reporter.update(Progress(total=410, exact=True, resumed=0, done=10, computed=10, busy_s=600.0, slots=4))
        assert said(folder) == workers, left_s
        reporter.end()
