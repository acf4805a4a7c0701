"""The workers' prices, as the active runs know them, with spot prices that are asked for again every hour."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError, Machine
from sweepfleet.machine.files import json_of
from sweepfleet.machine.head.rates import Rates, fleet_usd
from sweepfleet.machine.job import Job, JobFolder

ASK_EVERY_S = 3600.0  # AWS changes spot prices now and then, and bills each hour at the price it had


@dataclass
class PriceList:
    """What the workers cost an hour."""

    aws: Aws
    all_jobs: Path  # the folder of all jobs
    hold: Path  # the file of what `inv start` asked for, with what that costs
    _machines: tuple[Machine, ...] = ()
    _spot: dict[str, dict[str, float]] = field(default_factory=dict)
    _known: dict[str, Any] | None = None  # what `Rates` was made of last
    _asked_s: float = float("-inf")  # time.monotonic()
    _types: tuple[str, ...] = ()

    def usd_per_hour(self, members: tuple[str, ...], jobs: list[JobFolder]) -> float | None:
        """What an hour of these workers costs; None: a price is unknown. Raises AwsError: EC2 does not answer."""
        if not members:
            return 0.0
        rates = self._rates(jobs)
        return None if rates is None else fleet_usd(rates, self.machines(members))

    def machines(self, members: tuple[str, ...]) -> tuple[Machine, ...]:
        """These workers. Raises AwsError: EC2 does not answer."""
        if {one.id for one in self._machines} != set(members):
            self._machines = self.aws.machines(members)
        return self._machines

    def of(self, machine: Machine, jobs: list[JobFolder]) -> float:
        """What an hour of one costs; 0 where that is unknown."""
        rates = self._rates(jobs)
        return (rates and rates.usd(machine)) or 0.0

    def on_demand_usd(self, jobs: list[JobFolder]) -> float | None:
        """What an hour of an on-demand worker costs at most, whichever type AWS starts; None: that is unknown."""
        rates = self._rates(jobs)
        if rates is None or not rates.types:
            return None
        prices = [rates.usd(Machine("", one, "", spot=False, launched="")) for one in rates.types]
        known = [price for price in prices if price is not None]
        return max(known) if len(known) == len(prices) else None

    def _rates(self, jobs: list[JobFolder]) -> Rates | None:
        """The prices that the active run which was submitted last came with, with the spot prices of now.

        Without one, those of the command that started the workers, or of the last run.
        """
        held = json_of(self.hold).get("rates")
        last = _last(jobs) or held or self._known or _last([JobFolder(one) for one in self.all_jobs.glob("[!.]*")])
        if last is None:
            return None
        self._known, rates = last, Rates.of(last)
        self._renew(tuple(rates.types))
        return rates.with_spot(self._spot)

    def _renew(self, types: tuple[str, ...]) -> None:
        if types == self._types and time.monotonic() - self._asked_s < ASK_EVERY_S:
            return
        self._asked_s, self._types = time.monotonic(), types
        try:
            self._spot = self.aws.spot_prices(types)
        except AwsError as error:  # those that the job came with hold
            print(f"spot prices cannot be asked for: {error}", flush=True)


def _last(jobs: list[JobFolder]) -> dict[str, Any] | None:
    """The prices of the job that was submitted last, of those that have any."""
    known = [Job.from_json(folder.job.read_text()) for folder in jobs if folder.job.exists()]
    priced = sorted((job for job in known if job.rates), key=lambda job: job.submitted)
    return priced[-1].rates if priced else None
