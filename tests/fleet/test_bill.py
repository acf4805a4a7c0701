"""What a whole stack has cost: all that is up, whether a run used it or not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from sweepfleet.fleet.money.bill import summed
from sweepfleet.fleet.money.prices import Prices
from sweepfleet.machine.head.spending import Day, Spending
from tests.infra.test_outputs import sample

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OUT = dataclasses.replace(
    sample(), stack="dev", head_instance_type="t3.medium", data_volume_gb=50, worker_egress="none"
)
KNOWN = Prices({"t3.medium": 0.04}, {}, ("AWS's price list",), "2026-11-27")
DAYS = {
    "2026-10-01": Day(3600 * 100, 50.0),
    "2026-11-26": Day(3600 * 10, 2.0, 0.5),
    "2026-11-27": Day(3600 * 5, 1.0, unpriced_s=7200),
}


def test_a_month_at_rest_is_the_head_its_disks_and_its_address() -> None:
    """As the table in docs/cluster.md has it, in proportion."""
    born = NOW - timedelta(days=400)
    found = summed(Spending({}), OUT, KNOWN, born=born, since_s=30 * 86400, now=NOW)
    assert found.hours == 30 * 24 + 12, "whole days"
    assert found.head_usd == pytest.approx(found.hours * 0.04)
    assert found.disks_usd == pytest.approx(70 * 0.08 / 730 * found.hours)
    assert found.addresses_usd == pytest.approx(0.005 * found.hours)
    assert found.usd == pytest.approx(found.head_usd + found.disks_usd + found.addresses_usd)
    nat = summed(
        Spending({}), dataclasses.replace(OUT, worker_egress="nat"), KNOWN, born=born, since_s=86400, now=NOW
    )
    assert nat.addresses_usd == pytest.approx((0.005 + 0.045 + 0.005) * nat.hours)


def test_workers_are_those_of_the_days_and_nothing_is_older_than_the_stack() -> None:
    born = NOW - timedelta(hours=30)
    found = summed(Spending(DAYS), OUT, KNOWN, born=born, since_s=30 * 86400, now=NOW)
    assert (found.since, found.hours) == (born, 30)
    assert (found.worker_hours, found.workers_usd, found.unused_usd) == (15, 3.0, 0.5)
    lines = list(found.lines())
    assert lines[0] == "Stack dev since 2026-11-26 06:00 UTC, 1 day:"
    assert lines[1] == "  workers    3 USD (15 worker hours, of it 0.50 without an active run)"
    assert lines[2] == "             and 2 worker hours of an unknown price"
    assert lines[3] == "  head       1.20 USD (t3.medium, 30 hours)"
    assert found.to_dict()["usd"] == found.usd


def test_a_head_of_an_unknown_price_is_said() -> None:
    found = summed(Spending({}), OUT, Prices({}, {}, (), ""), born=NOW, since_s=86400, now=NOW)
    assert "  head       unknown (t3.medium, 0 hours)" in list(found.lines())
