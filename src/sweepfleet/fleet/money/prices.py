"""What instances cost: AWS's price list and spot history when they can be asked, else a small table that ships.

Prices are US dollars an hour. Whatever is printed with them says where they come from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.money.cpu_credits import is_charged, surplus_usd
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws

LIST_REGION = "us-east-1"  # the Price List API answers in few regions, for all of them
LIST_SOURCE, HISTORY_SOURCE = "AWS's price list", "EC2's spot price history"
FRESH = timedelta(hours=12)

# Linux on-demand in us-east-1, for the size xlarge; other sizes of a family cost in proportion. As AWS's price list
# had them in August 2026: https://aws.amazon.com/ec2/pricing/on-demand/
TABLE_SOURCE = "a table of us-east-1's prices of August 2026"
XLARGE_USD_PER_HOUR = {
    "c5": 0.17,
    "c6a": 0.153,
    "c6g": 0.136,
    "c6i": 0.17,
    "c7a": 0.20528,
    "c7g": 0.145,
    "c7i": 0.1785,
    "m5": 0.192,
    "m6a": 0.1728,
    "m6g": 0.154,
    "m6i": 0.192,
    "m7a": 0.23184,
    "m7g": 0.1632,
    "m7i": 0.2016,
    "r5": 0.252,
    "r6i": 0.252,
    "r7g": 0.2142,
    "r7i": 0.2646,
    "t3": 0.1664,
    "t3a": 0.1504,
    "t4g": 0.1344,
}
SIZES = {"nano": 1 / 32, "micro": 1 / 16, "small": 1 / 8, "medium": 1 / 4, "large": 1 / 2, "xlarge": 1.0}


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of some instance types in one region, and where they come from."""

    on_demand: dict[str, float]
    spot: dict[str, float]  # in the dearest zone
    sources: tuple[str, ...]
    asked: str  # the day, as ISO 8601 has it
    zones: dict[str, dict[str, float]] = field(default_factory=dict)  # spot prices by type and zone

    def of(self, instance_type: str, *, spot: bool) -> float | None:
        """A type's price; where no spot price is known, the on-demand one, which is above it. None: unknown."""
        on_demand = self.on_demand.get(instance_type)
        return self.spot.get(instance_type, on_demand) if spot else on_demand

    def mixed(self, types: Iterable[str], *, workers: int, on_demand_base: int, spot_percent: int) -> float | None:
        """What an hour of one of so many workers (or the first) costs at most; spot and on-demand as they are shared.

        That is the dearest of the types with all its cores busy: burstable ones with their CPU credits. None when a
        type's price is not known, since it may be the one that AWS chooses.
        """
        names, workers = list(types), max(1, workers)
        base = min(on_demand_base, workers)
        on_demand_share = (base + (workers - base) * (100 - spot_percent) / 100) / workers
        dearest = []
        for spot in (False, True):
            known = [self._busy(name, spot=spot) for name in names]
            if None in known:
                return None
            dearest.append(max(price for price in known if price is not None))
        return dearest[0] * on_demand_share + dearest[1] * (1 - on_demand_share)

    def _busy(self, instance_type: str, *, spot: bool) -> float | None:
        """A type's price with its CPU credits at full load."""
        price, surplus = self.of(instance_type, spot=spot), surplus_usd(instance_type)
        return None if price is None or surplus is None else price + surplus

    def unknown(self, types: Iterable[str]) -> list[str]:
        """The types whose price with all cores busy is not known."""
        return [name for name in types if self._busy(name, spot=False) is None]

    @property
    def label(self) -> str:
        """Where they come from, for a person."""
        return f"{' and '.join(self.sources)}, asked {self.asked}" if self.sources else "no price is known"

    def label_of(self, workers: Iterable[str]) -> str:
        """The same for the price of workers of these types, with what it includes."""
        burstable = [name for name in workers if is_charged(name)]
        return f"{self.label}; with CPU credits of {', '.join(burstable)} at full load" if burstable else self.label


def prices(cloud: Cloud, types: Iterable[str], *, cache: Path, now: datetime | None = None) -> Prices:
    """The prices of these types, asked for at most twice a day.

    Args:
        cloud: whose region.
        types: instance types.
        cache: a file that keeps them.
        now: the time; by default it is looked up.

    Side effect: writes `cache`. What cannot be asked is made good from the table, and not kept.
    """
    now = now or datetime.now(UTC)
    names = sorted(set(types))
    kept = _kept(cache, cloud.region, names, now=now)
    if kept is not None:
        return kept
    today = now.date().isoformat()
    sources = []
    on_demand: dict[str, float] = {}
    zones: dict[str, dict[str, float]] = {}
    with contextlib.suppress(ClusterError), asking_aws("ask for prices"):
        if not cloud.endpoint_url:  # AWS's list is AWS's own
            listed = dataclasses.replace(cloud, region=LIST_REGION).client("pricing")
            on_demand = list_prices(listed, names, cloud.region)
            sources.append(LIST_SOURCE)
    with contextlib.suppress(ClusterError), asking_aws("ask for spot prices"):
        zones = spot_prices(cloud.client("ec2"), names, now=now)
        sources += [HISTORY_SOURCE] if zones else []
    spot = {name: max(prices.values()) for name, prices in zones.items()}
    complete = len(on_demand) == len(names) and bool(spot)
    made_good = {name: price for name in names if name not in on_demand and (price := from_table(name)) is not None}
    found_at = (*sources, *([TABLE_SOURCE] if made_good else []))
    found = Prices(on_demand | made_good, spot, found_at, today, zones)
    if complete:
        _keep(cache, cloud.region, names, found, now=now)
    return found


def list_prices(client: Any, types: Iterable[str], region: str) -> dict[str, float]:
    """On-demand prices by type, from the Price List API; a type that it does not know is left out.

    https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
    """
    fixed = {
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    found = {}
    for name in types:
        product = fixed | {"instanceType": name}
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in product.items()]
        answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=10)
        known = [price for product in answer["PriceList"] for price in _usd_per_hour(json.loads(product))]
        if known:
            found[name] = max(known)
    return found


def _usd_per_hour(product: dict[str, Any]) -> list[float]:
    terms = product.get("terms", {}).get("OnDemand", {}).values()
    dimensions = [one for term in terms for one in term["priceDimensions"].values()]
    return [
        price
        for one in dimensions
        if one["unit"] == "Hrs" and (price := float(one["pricePerUnit"].get("USD", 0))) > 0
    ]


def spot_prices(client: Any, types: Iterable[str], *, now: datetime) -> dict[str, dict[str, float]]:
    """Spot prices by type and zone as they are now."""
    pages = client.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=now
    )
    found: dict[str, dict[str, float]] = {}
    for page in pages:
        for one in page["SpotPriceHistory"]:
            here = found.setdefault(one["InstanceType"], {})
            zone, price = one["AvailabilityZone"], float(one["SpotPrice"])
            here[zone] = max(price, here.get(zone, 0.0))
    return found


def from_table(instance_type: str) -> float | None:
    """A type's on-demand price from the table that ships; None when it is not in it."""
    family, _, size = instance_type.partition(".")
    times = size.removesuffix("xlarge")
    factor = float(times) if times.isdecimal() else SIZES.get(size)
    price = XLARGE_USD_PER_HOUR.get(family)
    return None if price is None or factor is None else price * factor


def _kept(cache: Path, region: str, names: list[str], *, now: datetime) -> Prices | None:
    try:
        said = json.loads(cache.read_text())
        fresh = now - datetime.fromisoformat(said["at"]) < FRESH
        if not fresh or said["region"] != region or said["types"] != names:
            return None
        return Prices(said["on_demand"], said["spot"], tuple(said["sources"]), said["asked"], said["zones"])
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is of another version
        return None


def _keep(cache: Path, region: str, names: list[str], found: Prices, *, now: datetime) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    beside = cache.with_name(f".{cache.name}.{os.getpid()}")
    said = {"at": now.isoformat(), "region": region, "types": names} | dataclasses.asdict(found)
    beside.write_text(json.dumps(said, indent=2) + "\n")
    beside.replace(cache)
