"""Each run pays for what it had: the slots that worked for it, and idle time by what it asked for."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.machine.head.meter import Reading, count
from sweepfleet.machine.head.shares import Use, shares
from sweepfleet.machine.job import Job, JobFolder

USES = st.lists(st.builds(Use, worked_s=st.floats(0, 1e4), wanted=st.integers(0, 50)), min_size=1, max_size=5)
JOB = Job("one", "r", "e", "g", "grid.yaml", "inv sweep", 0.0, retry_failed=False, workers_needed=2)


@given(USES, st.floats(0, 1e4))
def test_all_shares_are_the_whole_and_no_work_is_forgotten(uses: list[Use], capacity_s: float) -> None:
    found = shares(uses, capacity_s=capacity_s)
    busy = min(1.0, sum(use.worked_s for use in uses) / capacity_s) if capacity_s else 0.0
    whole = 1.0 if any(use.wanted for use in uses) else busy
    assert sum(share.whole for share in found) == pytest.approx(whole)
    for use, share in zip(uses, found, strict=True):
        assert share.worked >= 0
        assert share.idle >= 0
        assert share.worked * capacity_s + share.carried_s <= use.worked_s * (1 + 1e-9) + 1e-6


@pytest.mark.parametrize(
    ("uses", "capacity_s", "whole"),
    [
        ([Use(60, 3), Use(20, 1)], 80, [0.75, 0.25]),  # all busy: by work
        ([Use(0, 3), Use(0, 1)], 80, [0.75, 0.25]),  # all idle: by what was asked for
        ([Use(40, 0), Use(0, 1)], 80, [0.5, 0.5]),  # what one does not use, the other keeps there
        ([Use(0, 0), Use(0, 0)], 80, [0, 0]),  # both store their results
        ([Use(5, 1), Use(15, 1)], 0, [0.5, 0.5]),  # nobody knows what they can do
    ],
)
def test_work_is_paid_by_whom_it_was_for(uses: list[Use], capacity_s: float, whole: list[float]) -> None:
    assert [share.whole for share in shares(uses, capacity_s=capacity_s)] == pytest.approx(whole)


def job(jobs: Path, name: str, budget_usd: float, wanted: int) -> JobFolder:
    folder = JobFolder(jobs / name)
    folder.path.mkdir(parents=True)
    folder.job.write_text(dataclasses.replace(JOB, name=name, budget_usd=budget_usd, workers_needed=wanted).to_json())
    folder.active.touch()
    return folder


def says(folder: JobFolder, *, wanted: int, used_s: float) -> None:
    progress = {"used_s": used_s, "workers": 4, "threads": 8}
    folder.progress.write_text(json.dumps({"workers_needed": wanted, "progress": progress}))


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_two_runs_of_unequal_size_each_stop_by_their_own_money(
    tmp_path_factory: pytest.TempPathFactory, seed: int, slots: int
) -> None:
    """Of four workers with two slots each, one run has these slots, the other the rest: both stop within 5 %.

    What drivers say of their work comes every five seconds, at any moment of the keeper's own five.
    """
    rng = random.Random(seed)
    folders = [job(tmp_path_factory.mktemp("jobs"), str(each), 1.0, 2) for each in range(2)]
    rates = {0: slots, 1: 8 - slots}  # slots that work for it
    spent: dict[int, float] = {}
    told = {each: rng.uniform(0, 5) for each in rates}
    used = dict.fromkeys(rates, 0.0)
    now_s = 1000.0
    count(folders, workers=4, now_s=now_s, usd_per_hour=0.8)
    while len(spent) < 1:
        before, now_s = now_s, now_s + rng.uniform(5, 7)
        for each, folder in enumerate(folders):
            while told[each] + 5 <= now_s - 1000:
                told[each] += rng.uniform(5, 5.5)
                used[each] = rates[each] * told[each]
            says(folder, wanted=2, used_s=used[each])
        count(folders, workers=4, now_s=now_s, usd_per_hour=0.8)
        spent = {each: now_s for each, folder in enumerate(folders) if folder.spent.exists()}
        assert before < 1e6
    had = {each: (now_s - 1000) / 3600 * 0.8 * rates[each] / 8 for each in rates}
    for each, folder in enumerate(folders):
        assert Reading.of(folder).paid_usd == pytest.approx(had[each], abs=0.05)
    assert max(had.values()) == pytest.approx(1.0, abs=0.05)


def test_a_driver_that_began_anew_is_counted_from_zero(tmp_path: Path) -> None:
    one, other = job(tmp_path, "one", 99, 1), job(tmp_path, "other", 99, 1)
    paid = []
    for look, used_s in enumerate([500.0, 580.0, 20.0, 100.0]):
        says(one, wanted=1, used_s=used_s)
        says(other, wanted=1, used_s=0.0)
        count([one, other], workers=4, now_s=1000 + 10.0 * look, usd_per_hour=360.0)
        paid.append(Reading.of(one).paid_usd)
    assert paid == pytest.approx([0.0, 1.0, 1.0 + 0.25 + 0.375, 2.625])
    assert Reading.of(one).idle_usd == pytest.approx(0.375)
