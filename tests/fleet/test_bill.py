"""What a whole stack has cost: all that is up, whether a run used it or not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from sweepfleet.fleet.money.bill import summed
from sweepfleet.fleet.money.prices import Prices
from sweepfleet.fleet.money.rest_prices import at_rest, rest_items
from sweepfleet.infra import settings
from sweepfleet.machine.head.spending import Day, Spending
from tests.infra.test_outputs import sample

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ada"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OUT = dataclasses.replace(
    sample(),
    stack="dev",
    head_instance_type="t3.medium",
    data_volume_gb=50,
    worker_egress="none",
    head_address="stays",
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
    assert lines[3] == "  head       1.20 USD (t3.medium, up for 30 of 30 hours)"
    assert found.to_dict()["usd"] == found.usd


def test_a_head_of_an_unknown_price_is_said() -> None:
    found = summed(Spending({}), OUT, Prices({}, {}, (), ""), born=NOW, since_s=86400, now=NOW)
    assert "  head       unknown (t3.medium, up for 0 of 0 hours)" in list(found.lines())


def test_a_head_costs_for_the_time_in_which_it_was_up_and_so_does_an_address_that_changes() -> None:
    days = {"2026-11-25": Day(head_s=7200.0), "2026-11-27": Day(head_s=3600.0)}
    out = dataclasses.replace(OUT, head_address="changes")
    found = summed(Spending(days), out, KNOWN, born=NOW - timedelta(days=9), since_s=2 * 86400, now=NOW)
    assert (found.hours, found.head_hours) == (60, 3), "on the day between it slept"
    assert found.head_usd == pytest.approx(3 * 0.04)
    assert found.addresses_usd == pytest.approx(3 * 0.005)
    assert found.disks_usd == pytest.approx(70 * 0.08 / 730 * 60)


def test_before_the_first_look_the_head_was_up() -> None:
    """Without a release nothing runs on it that could stop it."""
    days = {"2026-11-27": Day(head_s=3600.0)}
    found = summed(Spending(days), OUT, KNOWN, born=NOW - timedelta(days=2), since_s=9 * 86400, now=NOW)
    assert found.head_hours == 36 + 1


def test_a_month_at_rest_with_the_defaults_is_below_7_usd() -> None:
    """docs/cluster.md has the sum; its table is of the same prices."""
    defaults = settings.read({"sshCidrs": '["203.0.113.7/32"]', "sshPublicKey": KEY}, stack="dev", region="us-east-1")
    assert sum(rest_items(defaults).values()) == pytest.approx(5.60)
    assert at_rest(defaults) == "5.60 USD a month (70 GB of disks 5.60), and the bucket by its size"
    kept = dataclasses.replace(defaults, head_address="stays", worker_egress="nat")
    assert sum(rest_items(kept).values()) == pytest.approx(5.60 + 3.65 + 36.50)
