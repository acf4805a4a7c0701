"""What an hour of a worker costs: by its own type, zone and market, with its disk and its address; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sweepfleet.machine.aws import Machine
from sweepfleet.machine.files import known


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in US dollars an hour: those that the submitting command has found, and the head renews."""

    on_demand: dict[str, float] = field(default_factory=dict)  # by type
    spot: dict[str, dict[str, float]] = field(default_factory=dict)  # by type and zone
    credits: dict[str, float] = field(default_factory=dict)  # beside them, of a type with all its cores busy
    beside: float = 0.0  # a worker's disk, and its address where it has one

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Rates:
        """Out of a job; what a later version may have added is skipped."""
        return cls(**known(cls, said))

    def to_dict(self) -> dict[str, Any]:
        """As `of` reads it."""
        return asdict(self)

    @property
    def types(self) -> list[str]:
        """The types that it has a price of."""
        return sorted({*self.on_demand, *self.spot})

    def with_spot(self, now: Mapping[str, dict[str, float]]) -> Rates:
        """The same with the spot prices of now."""
        return replace(self, spot={**self.spot, **now})

    def usd(self, machine: Machine) -> float | None:
        """What an hour of this machine costs; None: its price is unknown.

        A zone without a spot price has that of the dearest one; a type without any has its on-demand price, which
        is above it.
        """
        on_demand = self.on_demand.get(machine.instance_type)
        zones = self.spot.get(machine.instance_type, {}) if machine.spot else {}
        price = zones.get(machine.zone, max(zones.values(), default=on_demand))
        return None if price is None else price + self.credits.get(machine.instance_type, 0.0) + self.beside


def fleet_usd(rates: Rates, machines: tuple[Machine, ...]) -> float | None:
    """What an hour of these machines costs; None where the price of one is unknown."""
    prices = [rates.usd(machine) for machine in machines]
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None
