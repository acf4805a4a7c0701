"""What all workers have cost, by day: nothing is lost and nothing counted twice, however often the head looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepfleet.machine.head.meter import SWITCH_AFTER_S, UNSEEN_S
from sweepfleet.machine.head.spending import Day, Spending, looked, note

NEW_DAY = 1_796_083_200.0  # 2026-12-01 00:00 UTC
LOOKS = st.lists(
    st.tuples(st.floats(0, UNSEEN_S - 1), st.integers(0, 50), st.none() | st.floats(0, 100), st.booleans()),
    max_size=30,
)


@given(LOOKS)
def test_all_days_are_all_time(looks: list[tuple[float, int, float | None, bool]]) -> None:
    now_s = NEW_DAY - 300
    spending = looked(Spending({}), workers=9, usd_per_hour=9.0, used=True, now_s=now_s)
    worker_s = usd = unused = unpriced_s = 0.0
    for step_s, workers, rate, used in looks:
        now_s += step_s
        worker_s += step_s * workers
        usd += step_s / 3600 * (rate or 0.0)
        unused += 0.0 if used else step_s / 3600 * (rate or 0.0)
        unpriced_s += step_s * workers if rate is None else 0.0
        spending = looked(spending, workers=workers, usd_per_hour=rate, used=used, now_s=now_s)
        spending = Spending.parse(spending.to_json())
    days = spending.days.values()
    found = [sum(getattr(day, name) for day in days) for name in ("worker_s", "usd", "unused_usd", "unpriced_s")]
    assert found == pytest.approx([worker_s, usd, unused, unpriced_s], abs=1e-3)
    assert set(spending.days) <= {"2026-11-30", "2026-12-01"}


@pytest.mark.parametrize(("away_s", "usd"), [(3600, 2.0), (5 * 86400, 2.0 * SWITCH_AFTER_S / 3600)])
def test_while_the_head_was_away_the_workers_ran_until_awss_switch(away_s: float, usd: float) -> None:
    before = looked(Spending({}), workers=4, usd_per_hour=2.0, used=True, now_s=NEW_DAY)
    now = looked(before, workers=0, usd_per_hour=0.0, used=False, now_s=NEW_DAY + away_s)
    assert sum(day.usd for day in now.days.values()) == pytest.approx(usd)


def test_half_a_file_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "spending.json"
    file.write_text('{"days": {"2026-')
    note(file, workers=1, usd_per_hour=3600.0, used=False, now_s=NEW_DAY)
    note(file, workers=1, usd_per_hour=3600.0, used=False, now_s=NEW_DAY + 5)
    [day] = Spending.parse(file.read_text()).days.values()
    assert (day.usd, day.unused_usd) == (5.0, 5.0)


def test_the_time_in_which_the_head_was_up_is_counted_by_day() -> None:
    """Not the time in which it slept; a day that an older version has begun stays without."""
    spending = Spending({"2026-11-30": Day(head_s=None)})
    for now_s in (NEW_DAY + 10, NEW_DAY + 15, NEW_DAY + 20, NEW_DAY + 40_000, NEW_DAY + 40_005):
        spending = looked(spending, workers=0, usd_per_hour=0.0, used=False, now_s=now_s)
        spending = Spending.parse(spending.to_json())
    assert spending.days["2026-12-01"].head_s == 10 + UNSEEN_S + 5
    assert spending.days["2026-11-30"].head_s is None
    assert (
        looked(spending, workers=0, usd_per_hour=0.0, used=False, now_s=NEW_DAY - 5).days["2026-11-30"].head_s is None
    )
