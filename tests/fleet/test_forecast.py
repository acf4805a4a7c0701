"""What an active run will have cost at its end, and what of it was for nothing."""

from __future__ import annotations

import pytest

from sweepfleet.fleet.money.forecast import Forecast, forecast
from sweepfleet.machine.head.meter import Reading
from sweepfleet.run.run_progress import Progress

METER = Reading(worker_s=7200, at=1.0, workers=4, paid_usd=1.5, idle_usd=0.2, usd_per_hour=1.6, share=0.5)
# 100 points of 36 s on four slots: half an hour for the 200 that are left
HALFWAY = Progress(total=300, exact=True, resumed=0, done=100, computed=100, busy_s=3600.0, slots=4, lost_s=900.0)


def test_a_run_goes_on_at_its_rate_until_its_points_are_done() -> None:
    """It pays half of the workers; a slot of its four that worked for nothing for a quarter of an hour is lost."""
    found = forecast(METER, HALFWAY)
    assert (found.usd_per_hour, found.left_s) == (0.8, 1800.0)
    assert found.end_usd == pytest.approx(1.5 + 0.5 * 0.8)
    assert found.lost_usd == pytest.approx(0.25 * 0.8 / 4)
    assert list(found.lines(budget_usd=10)) == [
        "now 0.80 USD an hour · about 1.90 USD at its end, in about 30 min",
        "of it for idle slots 0.20 USD and interruptions 0.050 USD",
    ]
    [first, _] = found.lines(budget_usd=1.8)
    assert first.endswith("in about 30 min, more than its budget: it stops there")


@pytest.mark.parametrize(
    ("reading", "progress"),
    [
        (Reading(), None),
        (Reading(worker_s=10, at=1.0, workers=4), HALFWAY),  # no price is known
        (METER, None),  # nothing has run
        (METER, Progress(total=300, exact=True, resumed=0, slots=4)),
    ],
)
def test_what_is_unknown_is_not_said(reading: Reading, progress: Progress | None) -> None:
    found = forecast(reading, progress)
    assert found.end_usd is None
    assert not any("end" in line for line in found.lines(budget_usd=10))
    assert not list(Forecast().lines(budget_usd=10))


@pytest.mark.parametrize(
    ("deadline_s", "said"),
    [
        (7200.0, "deadline in 2 h: met"),
        (600.0, "deadline in 10 min: missed by about 20 min with the workers of now"),
        (-5.0, "deadline over: the run has as many workers as it can use"),
    ],
)
def test_an_active_run_says_whether_it_meets_its_deadline(deadline_s: float, said: str) -> None:
    assert said in list(forecast(METER, HALFWAY, deadline_s=deadline_s).lines(budget_usd=10))
    assert not any("deadline" in line for line in forecast(METER, HALFWAY).lines(budget_usd=10))
