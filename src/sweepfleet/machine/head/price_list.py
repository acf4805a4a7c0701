"""The workers' prices, as the active runs know them, with spot prices that are asked for again every hour."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sweepfleet.machine.aws import Aws, AwsError, Machine
from sweepfleet.machine.head.rates import Rates, fleet_usd
from sweepfleet.machine.job import Job, JobFolder

ASK_EVERY_S = 3600.0  # AWS changes spot prices now and then, and bills each hour at the price it had


@dataclass
class PriceList:
    """What the workers cost an hour."""

    aws: Aws
    _machines: tuple[Machine, ...] = ()
    _spot: dict[str, dict[str, float]] = field(default_factory=dict)
    _asked_s: float = float("-inf")  # time.monotonic()
    _types: tuple[str, ...] = ()

    def usd_per_hour(self, members: tuple[str, ...], jobs: list[JobFolder]) -> float | None:
        """What an hour of these workers costs; None: a price is unknown. Raises AwsError: EC2 does not answer."""
        if not jobs:
            return None
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

    def _rates(self, jobs: list[JobFolder]) -> Rates | None:
        """The prices that the run that was submitted last came with, with today's spot prices."""
        known = [Job.from_json(folder.job.read_text()) for folder in jobs]
        last = max((job for job in known if job.rates), key=lambda job: job.submitted, default=None)
        if last is None or last.rates is None:
            return None
        rates = Rates.of(last.rates)
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
