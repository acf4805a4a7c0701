"""Numbers and amounts as a person reads them."""

from __future__ import annotations

import pytest

from sweepfleet.grid.wording import counted
from sweepfleet.run.text import dollars, hours_text


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (0.0, "0"),
        (0.00001, "<0.0001"),
        (0.0001, "0.00010"),
        (0.0025, "0.0025"),
        (0.00996, "0.0100"),
        (0.0346, "0.035"),
        (0.1785, "0.18"),
        (0.5, "0.50"),
        (0.994, "0.99"),
        (0.999, "1"),
        (1.0, "1"),
        (2.004, "2"),
        (2.006, "2.01"),
        (12.5, "12.50"),
        (99.999, "100"),
        (1234.5, "1,234.50"),
        (25_000, "25,000"),
    ],
)
def test_an_amount_of_money_is_never_rounded_to_nothing(usd: float, said: str) -> None:
    """Small amounts keep two digits; larger ones have cents, where there are any."""
    assert dollars(usd) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 workers"), (1, "1 worker"), (2, "2 workers"), (1200, "1,200 workers")]
)
def test_one_thing_is_not_many(count: int, said: str) -> None:
    assert counted(count, "worker") == said


@pytest.mark.parametrize(
    ("hours", "said"), [(0.0012, "0.0012 worker hours"), (1.0, "1 worker hour"), (1234.5, "1,234 worker hours")]
)
def test_worker_hours_are_told_however_few(hours: float, said: str) -> None:
    assert hours_text(hours) == said
