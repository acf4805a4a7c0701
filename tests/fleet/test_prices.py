"""Prices: asked of AWS, kept for a while, made good from the table; botocore's own model of the APIs checks them."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from sweepfleet.fleet.money import prices as prices_module
from sweepfleet.fleet.money.cpu_credits import surplus_usd
from sweepfleet.fleet.money.prices import (
    HISTORY_SOURCE,
    LIST_SOURCE,
    TABLE_SOURCE,
    Prices,
    from_table,
    list_prices,
    prices,
    spot_prices,
)
from sweepfleet.fleet.reach.cloud import Cloud

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TYPES = ["c7i.xlarge", "m7i.xlarge"]


def product(usd: str, unit: str = "Hrs") -> str:
    """A product as the Price List API has it: a text of JSON."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}}
    return json.dumps({"product": {}, "terms": {"OnDemand": {"SKU.T": {"priceDimensions": {"SKU.T.D": dimension}}}}})


def stubbed(service: str) -> tuple[Any, Stubber]:
    """A client whose answers are given beforehand; botocore checks calls and answers against its model of the API."""
    client = boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )
    stub = Stubber(client)
    stub.activate()
    return client, stub


class Aws(Cloud):
    """Both services, stubbed; counts how often a client was made."""

    clients: dict[str, Any] = {}  # noqa: RUF012 - set anew by each test
    made: list[tuple[str, str]] = []  # noqa: RUF012

    def client(self, service: str) -> Any:
        self.made.append((service, self.region))
        return self.clients[service]


@pytest.fixture
def aws() -> tuple[Stubber, Stubber]:
    """Stubs of the price list and of EC2 in eu-west-1."""
    (pricing, listed), (ec2, history) = stubbed("pricing"), stubbed("ec2")
    Aws.clients, Aws.made = {"pricing": pricing, "ec2": ec2}, []
    return listed, history


def answer_list(stub: Stubber, *usd: str) -> None:
    """Have the list answer for one type after another."""
    for price in usd:
        stub.add_response(
            "get_products",
            {"PriceList": [product(price)] if price else []},
            {"ServiceCode": "AmazonEC2", "Filters": ANY, "MaxResults": 10},
        )


def answer_history(stub: Stubber, *entries: tuple[str, str, str]) -> None:
    """Have the spot history answer with type, zone and price."""
    history = [{"InstanceType": name, "AvailabilityZone": zone, "SpotPrice": price} for name, zone, price in entries]
    asked = {"InstanceTypes": ANY, "ProductDescriptions": ["Linux/UNIX"], "StartTime": ANY}
    stub.add_response("describe_spot_price_history", {"SpotPriceHistory": history}, asked)


def test_the_list_is_asked_for_this_region_linux_and_a_machine_of_ones_own_account() -> None:
    client, stub = stubbed("pricing")
    wanted = {
        "regionCode": "eu-west-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "instanceType": "c7i.xlarge",
    }
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    stub.add_response(
        "get_products",
        {"PriceList": [product("0.2"), product("0.2037"), product("9", unit="Quantity"), product("0")]},
        {"ServiceCode": "AmazonEC2", "Filters": filters, "MaxResults": 10},
    )
    assert list_prices(client, ["c7i.xlarge"], "eu-west-1") == {"c7i.xlarge": 0.2037}


def test_spot_prices_are_those_of_each_zone() -> None:
    client, stub = stubbed("ec2")
    answer_history(
        stub,
        ("c7i.xlarge", "a", "0.07"),
        ("c7i.xlarge", "b", "0.09"),
        ("c7i.xlarge", "c", "0.08"),
        ("m7i.xlarge", "a", "0.08"),
    )
    assert spot_prices(client, TYPES, now=NOW) == {
        "c7i.xlarge": {"a": 0.07, "b": 0.09, "c": 0.08},
        "m7i.xlarge": {"a": 0.08},
    }


def test_prices_are_kept_for_half_a_day(aws: tuple[Stubber, Stubber], tmp_path: Path) -> None:
    listed, history = aws
    cache = tmp_path / "new" / "prices.json"
    for usd in ("0.2", "0.3"):
        answer_list(listed, usd, "0.25")
        answer_history(history, *((name, "a", "0.1") for name in TYPES))
    first = prices(Aws("eu-west-1"), TYPES, cache=cache, now=NOW)
    assert first.on_demand == {"c7i.xlarge": 0.2, "m7i.xlarge": 0.25}
    assert first.sources == (LIST_SOURCE, HISTORY_SOURCE)
    assert Aws.made == [("pricing", "us-east-1"), ("ec2", "eu-west-1")]
    assert prices(Aws("eu-west-1"), TYPES, cache=cache, now=NOW + timedelta(hours=11)) == first
    assert len(Aws.made) == 2
    later = prices(Aws("eu-west-1"), TYPES, cache=cache, now=NOW + timedelta(hours=13))
    assert later.on_demand["c7i.xlarge"] == 0.3


def test_what_is_kept_is_for_the_same_region_and_types_alone(aws: tuple[Stubber, Stubber], tmp_path: Path) -> None:
    listed, history = aws
    cache = tmp_path / "prices.json"
    for usd in (("0.2", "0.25"), ("0.4", "0.5"), ("0.6",)):
        answer_list(listed, *usd)
        answer_history(history, *((name, "a", "0.1") for name in TYPES))
    prices(Aws("eu-west-1"), TYPES, cache=cache, now=NOW)
    assert prices(Aws("eu-west-2"), TYPES, cache=cache, now=NOW).on_demand["c7i.xlarge"] == 0.4
    assert prices(Aws("eu-west-2"), TYPES[:1], cache=cache, now=NOW).on_demand == {"c7i.xlarge": 0.6}


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"at": "yesterday"}', '{"at": "2026-11-24T12:00:00+00:00"}'])
def test_a_cache_that_cannot_be_read_is_made_anew(broken: str, aws: tuple[Stubber, Stubber], tmp_path: Path) -> None:
    cache = tmp_path / "prices.json"
    cache.write_text(broken)
    answer_list(aws[0], "0.2", "0.25")
    answer_history(aws[1], *((name, "a", "0.1") for name in TYPES))
    assert prices(Aws("eu-west-1"), TYPES, cache=cache, now=NOW).on_demand["c7i.xlarge"] == 0.2
    assert json.loads(cache.read_text())["on_demand"]["c7i.xlarge"] == 0.2


def test_what_aws_does_not_say_comes_from_the_table_and_is_not_kept(
    aws: tuple[Stubber, Stubber], tmp_path: Path
) -> None:
    listed, history = aws
    listed.add_client_error("get_products", "AccessDeniedException", "not you")
    history.add_client_error("describe_spot_price_history", "UnauthorizedOperation", "nor you")
    cache = tmp_path / "prices.json"
    found = prices(Aws("eu-west-1"), [*TYPES, "z1d.large"], cache=cache, now=NOW)
    assert found.on_demand == {"c7i.xlarge": 0.1785, "m7i.xlarge": 0.2016}
    assert found.spot == {}
    assert found.label == f"{TABLE_SOURCE}, asked 2026-11-24"
    assert not cache.exists()


def test_another_services_endpoint_is_not_asked_for_awss_list(aws: tuple[Stubber, Stubber], tmp_path: Path) -> None:
    answer_history(aws[1], ("c7i.xlarge", "a", "0.1"))
    cloud = Aws("eu-west-1", endpoint_url="http://127.0.0.1:9")
    found = prices(cloud, ["c7i.xlarge"], cache=tmp_path / "prices.json", now=NOW)
    assert Aws.made == [("ec2", "eu-west-1")]
    assert found.sources == (HISTORY_SOURCE, TABLE_SOURCE)


@pytest.mark.parametrize(
    ("instance_type", "usd"),
    [
        ("c7i.xlarge", 0.1785),
        ("c7i.large", 0.08925),
        ("c7i.4xlarge", 0.714),
        ("t3.medium", 0.0416),
        ("t4g.nano", 0.0042),
        ("c7i.metal-24xl", None),
        ("c7i", None),
        ("z9.xlarge", None),
        ("c7i.-1xlarge", None),
    ],
)
def test_the_table_knows_a_familys_sizes(instance_type: str, usd: float | None) -> None:
    assert from_table(instance_type) == (None if usd is None else pytest.approx(usd))


KNOWN = Prices({"a": 1.0, "b": 2.0}, {"a": 0.3}, (), "")


@pytest.mark.parametrize(
    ("workers", "base", "percent", "usd"),
    [
        (10, 0, 0, 2.0),  # all on-demand: the dearest type
        (10, 0, 100, 2.0),  # all spot: b's spot price is not known, so its on-demand one
        (10, 10, 100, 2.0),
        (0, 0, 100, 2.0),  # `inv scale 0`: of the first one
    ],
)
def test_a_worker_costs_what_the_dearest_type_costs(workers: int, base: int, percent: int, usd: float) -> None:
    assert KNOWN.mixed(["a", "b"], workers=workers, on_demand_base=base, spot_percent=percent) == usd


def test_spot_and_on_demand_count_as_they_are_shared() -> None:
    """Four on-demand before any spot instance, and a quarter of the other six."""
    mixed = KNOWN.mixed(["a"], workers=10, on_demand_base=4, spot_percent=75)
    assert mixed == pytest.approx((5.5 * 1.0 + 4.5 * 0.3) / 10)
    assert KNOWN.mixed(["a"], workers=2, on_demand_base=4, spot_percent=100) == 1.0


def test_a_type_without_a_price_makes_the_cost_unknown() -> None:
    assert KNOWN.mixed(["a", "c"], workers=1, on_demand_base=0, spot_percent=100) is None
    assert dataclasses.replace(KNOWN, on_demand={}).label == "no price is known"


def test_the_table_has_every_default_type() -> None:
    """Or a newcomer without rights to the price list would be told nothing."""
    from sweepfleet.infra.settings import KEYS

    for name in (*KEYS["workerInstanceTypes"].default, KEYS["headInstanceType"].default):
        assert from_table(name) is not None, name
    assert prices_module.SIZES["xlarge"] == 1


@pytest.mark.parametrize(
    ("instance_type", "usd"),
    [
        ("t3.medium", 0.08),  # 2 vCPUs less a baseline of 20 %, at 0.05
        ("t3a.nano", 0.095),  # 5 %
        ("t4g.large", 0.056),  # 30 %, at 0.04
        ("t3.2xlarge", 0.24),  # 8 vCPUs, 40 %
        ("c7i.xlarge", 0.0),
        ("t2.large", 0.0),  # AWS launches it as standard
        ("t3.16xlarge", None),
    ],
)
def test_a_burstable_worker_is_charged_for_what_is_above_its_baseline(instance_type: str, usd: float | None) -> None:
    assert surplus_usd(instance_type) == (None if usd is None else pytest.approx(usd))


def test_a_burstable_worker_costs_its_price_and_its_credits_spot_or_not() -> None:
    """A budget that counted the price alone would stop at up to three times its amount."""
    known = Prices({"t3.medium": 0.0416, "c7i.large": 0.09}, {"t3.medium": 0.01, "c7i.large": 0.04}, ("a list",), "")
    types = ["t3.medium", "c7i.large"]
    on_demand = known.mixed(types, workers=1, on_demand_base=1, spot_percent=0)
    assert on_demand == pytest.approx(0.1216), "the dearest under load is not the dearest by price"
    assert known.mixed(types, workers=1, on_demand_base=0, spot_percent=100) == pytest.approx(0.09)
    assert known.of("t3.medium", spot=False) == 0.0416, "a head has standard credits"
    assert known.label_of(types).endswith("; with CPU credits of t3.medium at full load")
    assert known.label_of(types[1:]) == known.label


def test_a_size_whose_credits_are_not_known_has_no_price_under_load() -> None:
    known = Prices({"t3.16xlarge": 1.0}, {}, (), "")
    assert known.mixed(["t3.16xlarge"], workers=1, on_demand_base=0, spot_percent=0) is None
    assert known.unknown(["t3.16xlarge"]) == ["t3.16xlarge"], "which is why no budget is enforced"
