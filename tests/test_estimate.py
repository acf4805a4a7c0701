"""What a sweep would take of a cluster: the arithmetic, and the line that a person reads before paying."""

from __future__ import annotations

import pytest

from fleet.cost import Rate
from fleet.estimate import Capacity


def capacity(usd: float | None, *, budget_usd: float = 25) -> Capacity:
    return Capacity(10, 4, Rate(usd, "a price list", () if usd else ("x9.large",)), budget_usd)


def test_money_is_for_the_time_that_slots_are_busy_however_many_there_are() -> None:
    """1000 points of 36 s are 10 hours of a slot, which is 2.5 hours of a worker with four."""
    assert capacity(0.4).slots == 40
    assert capacity(0.4).usd(1000 * 36) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("capacity", "busy_s", "line"),
    [
        (capacity(0.4), 36_000, "Cost: about 1.00 USD at most, of a budget of 25 (a price list)."),
        (
            capacity(0.4, budget_usd=0.5),
            36_000,
            "Cost: about 1.00 USD at most, more than a budget of 0 (a price list).",
        ),
        (capacity(None), 36_000, "Cost: not known: there is no price of x9.large."),
    ],
)
def test_the_line_says_whether_the_budget_will_do(capacity: Capacity, busy_s: float, line: str) -> None:
    assert capacity.line(busy_s) == line
