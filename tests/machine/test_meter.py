"""What a run has cost: the workers' time in shares, and the mark of a budget that is spent."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.machine.head.meter import UNSEEN_S, Reading, count, settle
from sweepfleet.machine.job import Job, JobFolder, active_jobs

JOB = Job(
    name="a",
    release="r",
    environment="e",
    engine="g",
    grid="grid.yaml",
    command_line="inv sweep",
    submitted=0.0,
    retry_failed=False,
    workers_needed=2,
    usd_per_worker_hour=0.5,
    budget_usd=1.0,
)


def job(jobs: Path, name: str, **facts: float | None) -> JobFolder:
    """A job that goes on."""
    folder = JobFolder(jobs / name)
    folder.path.mkdir(parents=True)
    folder.job.write_text(dataclasses.replace(JOB, name=name, **facts).to_json())
    folder.active.touch()
    return folder


def test_time_counts_from_the_first_look_on(tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    count([one], workers=10, now_s=1000)
    assert Reading.of(one).worker_s == 0
    count([one], workers=10, now_s=1060)
    count([one], workers=3, now_s=1070)
    now = Reading.of(one)
    assert (now.worker_s, now.at, now.workers) == (630, 1070, 3)


def test_a_run_pays_from_its_first_second_to_its_last(tmp_path: Path) -> None:
    """Not from the keeper's first look at it to the last: a run of seconds had cost nothing."""
    one = job(tmp_path, "one")
    os.utime(one.active, (1000, 1000))
    count([one], workers=3, now_s=1004, usd_per_hour=0.9)
    assert Reading.of(one).worker_s == 12
    end = settle(one, now_s=1006)
    assert end == Reading.of(one)
    assert (end.worker_s, end.usd(JOB)) == (18, pytest.approx(6 / 3600 * 0.9))
    assert settle(one, now_s=1006) == end


def test_a_run_that_nobody_looked_at_pays_for_the_workers_that_it_knows(tmp_path: Path) -> None:
    """At its highest price, which is said to be one."""
    one = job(tmp_path, "one")
    os.utime(one.active, (1000, 1000))
    one.write_progress(json.dumps({"progress": {"workers": 2}}))
    end = settle(one, now_s=1003)
    assert (end.worker_s, end.paid_usd) == (6, None)
    assert end.usd(JOB) == pytest.approx(6 / 3600 * 0.5)
    one.progress.unlink()
    one.meter.unlink()
    assert settle(one, now_s=1003).worker_s == 0, "it had no worker"


def test_who_begins_between_two_looks_pays_for_that_part(tmp_path: Path) -> None:
    """Of idle time; all parts together are the machines' time."""
    one, two = job(tmp_path, "one"), job(tmp_path, "two")
    count([one], workers=4, now_s=1000)
    os.utime(two.active, (1005, 1005))
    count([one, two], workers=4, now_s=1010)
    assert [Reading.of(each).worker_s for each in (one, two)] == [pytest.approx(80 / 3), pytest.approx(40 / 3)]


def test_runs_that_go_on_together_share_the_workers(tmp_path: Path) -> None:
    one, two = job(tmp_path, "one"), job(tmp_path, "two")
    count([one], workers=4, now_s=1000)
    count([one, two], workers=4, now_s=1010)
    count([one, two], workers=4, now_s=1020)
    assert [Reading.of(each).worker_s for each in (one, two)] == [60, 20], "of what was before it, one pays nothing"


def test_time_in_which_nobody_looked_counts(tmp_path: Path) -> None:
    """The head was off for an hour, and the machines ran."""
    one = job(tmp_path, "one")
    count([one], workers=2, now_s=1000)
    count([one], workers=2, now_s=4600)
    assert Reading.of(one).usd(JOB) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("away_s", "before", "after", "hours"),
    [
        (3600, 50, 0, 50.0),  # they ran on until just now, or may have
        (5 * 86400, 50, 0, 100.0),  # AWS's switch has ended them
        (3600, 0, 50, 50.0),  # they may have come just after
        (3600, 2, 5, 5.0),
        (30, 50, 0, 0.0),  # it was not away
    ],
)
def test_while_the_head_was_away_the_machines_ran(
    tmp_path: Path, away_s: float, before: int, after: int, hours: float
) -> None:
    """What a run costs is said as the most that it can have been."""
    one = job(tmp_path, "one")
    count([one], workers=before, now_s=1000)
    count([one], workers=after, now_s=1000 + away_s)
    assert Reading.of(one).worker_s / 3600 == pytest.approx(hours)


def test_a_reading_of_another_release_is_read() -> None:
    assert Reading.parse('{"worker_s": 5.0, "at": 7.0}') == Reading(5, 7)
    assert Reading.parse('{"worker_s": 5.0, "at": 7.0, "workers": 3, "of_later": 1}') == Reading(5, 7, 3)


def test_a_clock_that_goes_back_takes_nothing_away(tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    count([one], workers=2, now_s=1000)
    count([one], workers=2, now_s=1100)
    count([one], workers=2, now_s=900)
    now = Reading.of(one)
    assert (now.worker_s, now.at, now.workers) == (200, 900, 2)


def test_a_spent_budget_is_marked_at_the_cent(tmp_path: Path) -> None:
    """0.5 USD an hour, 2 workers, 1 USD: an hour."""
    one = job(tmp_path, "one")
    count([one], workers=2, now_s=0.1)
    count([one], workers=2, now_s=3599.9)
    assert not one.spent.exists()
    count([one], workers=2, now_s=3600.2)
    assert one.spent.exists()


@pytest.mark.parametrize("facts", [{"usd_per_worker_hour": None}, {"budget_usd": None}])
def test_without_a_price_or_a_budget_nothing_is_spent(tmp_path: Path, facts: dict[str, None]) -> None:
    one = job(tmp_path, "one", **facts)
    count([one], workers=1000, now_s=1)
    count([one], workers=1000, now_s=1e6)
    assert not one.spent.exists()


def test_jobs_that_are_not_wanted_cost_nothing(tmp_path: Path) -> None:
    one, ended = job(tmp_path, "one"), job(tmp_path, "ended")
    ended.active.unlink()
    (tmp_path / "no-job").mkdir()
    assert [folder.path for folder in active_jobs(tmp_path)] == [one.path]


def test_a_job_of_an_earlier_release_has_no_price() -> None:
    """Jobs on the data volume outlive the code that wrote them."""
    text = JOB.to_json().replace('  "usd_per_worker_hour": 0.5,\n', "").replace(',\n  "budget_usd": 1.0', "")
    assert Job.from_json(text) == dataclasses.replace(JOB, usd_per_worker_hour=None, budget_usd=None)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, UNSEEN_S - 1), st.integers(0, 500)), max_size=20), st.integers(1, 4))
def test_all_shares_are_the_machines_time(
    tmp_path_factory: pytest.TempPathFactory, looks: list[tuple[float, int]], runs: int
) -> None:
    """However often the head looks, nothing is lost and nothing counted twice."""
    jobs = tmp_path_factory.mktemp("jobs")
    folders = [job(jobs, str(number)) for number in range(runs)]
    now_s, spent = 1.0, 0.0
    count(folders, workers=0, now_s=now_s)
    for step_s, workers in looks:
        now_s += step_s
        spent += step_s * workers
        count(folders, workers=workers, now_s=now_s)
    assert sum(Reading.of(folder).worker_s for folder in folders) == pytest.approx(spent, rel=1e-6, abs=1e-2)


def test_a_budget_holds_on_a_volume_that_takes_nothing_more(tmp_path: Path) -> None:
    """And the runs beside it are counted."""
    full, other = job(tmp_path, "full"), job(tmp_path, "other")
    count([full, other], workers=2, now_s=1000)
    before = Reading.of(full)
    (full.path / f".{full.meter.name}.new").mkdir()  # so that it cannot be written
    count([full, other], workers=2, now_s=1010)
    assert not full.spent.exists()
    assert Reading.of(full) == before
    assert Reading.of(other).worker_s == 10
    count([full], workers=2, now_s=1000 + 3600)  # 2 worker hours at 0.5 USD
    assert full.spent.exists()
