"""On-demand workers in the place of spot instances that AWS does not start, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sweepfleet.grid.wording import counted
from sweepfleet.machine.aws import Aws, AwsError, Group
from sweepfleet.machine.head.circuit import Circuit
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.head.price_list import PriceList
from sweepfleet.machine.head.spot import Fleet, Purse, Shortage, Sizes, patience, payable, sizes
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.machine.launches import cause


@dataclass
class Spare:
    """Decides how many workers are asked of which group, at each look at them."""

    aws: Aws
    prices: PriceList
    drain: Callable[[Sequence[str], int, int], list[str] | None]  # as `shrink.drain`
    lines: tuple[str, ...] = ()  # what there is to say now
    _short: Shortage = field(default_factory=Shortage)
    _spot: Circuit | None = None  # None: no run is active
    _spare: Circuit | None = None
    _drained: list[str] | None = None  # on-demand ones that get no bundles; None: unknown, as at first

    def is_open(self, now_s: float) -> bool:
        """Whether the group with spot instances is not to be asked for more now."""
        return self._spot is not None and self._spot.is_open(now_s)

    def look(self, group: Group, active: Sequence[JobFolder], *, needed: int, keeps: int, now_s: float) -> Sizes:
        """What the groups are to be asked for; what they are asked for already, where all is well.

        Args:
            group: as AWS has it now.
            active: the jobs.
            needed: workers by active runs.
            keeps: workers that are to stay.
            now_s: time.monotonic().

        Raises:
            AwsError: AWS does not answer.
        """
        if self._drained != [] and not over(group, keeps):
            self.hand_back(group, keeps)
        fleet = fleet_of(group)
        failing = self._spot is not None and bool(self._spot.said)
        asked_for = needed if failing else min(needed, group.size)  # the keeper asks for the others in a moment
        there = len(group.members)
        self._short = self._short.looked(needed=asked_for, there=there, spot=fleet.spot, now_s=now_s)
        enough = self._short.since_s is None and not fleet.spare_size
        if enough or not needed:
            self.lines, self._spot, self._spare = (), None, None
            return Sizes(fleet.spot_size, fleet.spare_size)
        try:
            self._read(fleet, patience_s=group.patience_s, now_s=now_s)
        except AwsError as error:  # then as it was known before: the keeper has other work, too
            print(f"why AWS starts no machine cannot be asked: {error}", flush=True)
        purses = [_purse(folder) for folder in active]
        usd = self.prices.on_demand_usd(list(active))
        can_pay = payable(purses, usd_per_hour=usd)
        due_s = self._due_s(group, active, fleet)
        asked = sizes(
            fleet,
            needed=needed,
            due=due_s is not None and now_s >= due_s,
            payable=can_pay,
            spot_open=self.is_open(now_s),
            spare_open=self._spare is not None and self._spare.is_open(now_s),
        )
        self.lines = tuple(self._said(fleet, asked, needed=needed, due_s=due_s, usd=usd, now_s=now_s))
        return asked

    def ask(self, group: Group, asked: Sizes) -> Group:
        """Ask AWS for these sizes, fewer before more, and with the switch set before more; returns the groups then.

        Raises:
            AwsError: AWS refuses.
        """
        spot = group.size - group.spare
        if asked.spot > spot or asked.spare > group.spare:
            self.aws.set_switch()
        steps = [(asked.spot, spot, False), (asked.spare, group.spare, True)]
        for size, before, spare in sorted(steps, key=lambda one: one[0] - one[1]):
            if size != before:
                print(f"{'on-demand ' if spare else ''}workers: {before} -> {size}", flush=True)
                self.aws.set_group_size(size, spare=spare)
        return replace(group, size=asked.spot + asked.spare, spare=asked.spare)

    def resize(self, group: Group, workers: int) -> None:
        """Have so many workers in both groups: more are asked of spot, and with none both are empty.

        Raises:
            AwsError: AWS refuses.
        """
        self.aws.set_group_size(max(0, workers - group.spare))
        if group.spare and not workers:
            self.aws.set_group_size(0, spare=True)

    def hand_back(self, group: Group, keeps: int) -> None:
        """Have the on-demand workers that spot has replaced get no further bundles, and all others get some again."""
        most = over(group, keeps)
        if group.spare_members and (most or self._drained != []):
            before = self._drained or []
            self._drained = self.drain(group.spare_members, most, min(keeps, max(1, group.most - 1)))
            for name in self._drained or ():
                if name not in before:
                    print(f"spot has replaced the on-demand worker {name}, which gets no further bundles", flush=True)
        elif not group.spare_members:
            self._drained = []

    def _read(self, fleet: Fleet, *, patience_s: float | None, now_s: float) -> None:
        """Look at what AWS has started since workers are missing."""
        if self._spot is None:
            # Before now, runs have had enough. AWS's clock says when that was, since it also dates what it starts.
            began = (self.aws.now() - timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%S")
            self._spot = self._spare = Circuit(began)
        self._spot = self._spot.looked(self.aws.launches(), now_s=now_s, patience_s=patience_s)
        if self._spare is not None and (fleet.spare_size > fleet.spare or self._spare.said):
            self._spare = self._spare.looked(self.aws.launches(spare=True), now_s=now_s)

    def _due_s(self, group: Group, active: Sequence[JobFolder], fleet: Fleet) -> float | None:
        """When on-demand takes the place of spot; None: not as things are."""
        spot = self._spot
        if spot is None or not spot.said or not spot.reason.spot_only or group.patience_s is None:
            return None
        if fleet.spare_size:  # it has been waited for
            return float("-inf")
        if self._short.since_s is None:
            return None
        jobs = [Job.from_json(folder.job.read_text()) for folder in active]
        left_s = [job.deadline - time.time() for job in jobs if job.deadline is not None]
        return self._short.since_s + patience(group.patience_s, left_s=left_s)

    def _said(
        self,
        fleet: Fleet,
        asked: Sizes,
        *,
        needed: int,
        due_s: float | None,
        usd: float | None,
        now_s: float,
    ) -> list[str]:
        spot, spare, lines = self._spot, self._spare, list[str]()
        short = self._short.since_s is not None
        if spot is not None and spot.said and (short or fleet.spare_size):
            again = f" Asking again at {_clock(spot.until_s - now_s)}." if spot.is_open(now_s) else ""
            lines.append(f"AWS starts too few workers: {cause(spot.said)}{again}")
            if short and not spot.reason.spot_only:
                lines.append("On-demand workers cannot take their place: they would fail for the same reason.")
        if spare is not None and spare.said:
            again = f" Asking again at {_clock(spare.until_s - now_s)}." if spare.is_open(now_s) else ""
            lines.append(f"AWS starts no on-demand workers in place of spot: {cause(spare.said)}{again}")
        if asked.spare:
            count = counted(asked.spare, "on-demand worker")
            lines.append(f"{count} in place of spot instances, until AWS has spot instances again.")
        elif due_s is not None and now_s < due_s:
            lines.append(f"On-demand workers take their place at {_clock(due_s - now_s)} (spotPatience).")
        elif due_s is not None and fleet.room(needed) and not (spare and spare.is_open(now_s)):
            price = "an unknown price" if usd is None else f"up to {usd:.4g} USD an hour each"
            lines.append(
                f"On-demand workers, at {price}, do not take their place: what is left of the runs' budgets does not "
                "pay for them."
            )
        return lines


def over(group: Group, keeps: int) -> int:
    """How many on-demand workers spot has replaced; where none is to stay, all go together and not by this."""
    return fleet_of(group).over(keeps) if keeps else 0


def idle_ones(group: Group, *, surplus: int, keeps: int) -> list[tuple[tuple[str, ...], int]]:
    """Which workers may be ended as soon as they are idle, and how many of them at most.

    What spot has replaced is on-demand. A spot instance that has just joined is idle, too, and is not in its place.
    """
    replaced = over(group, keeps)
    if not replaced:
        return [(group.members, surplus)]
    others = tuple(one for one in group.members if one not in group.spare_members)
    return [(group.spare_members, replaced), (others, surplus - replaced)]


def fleet_of(group: Group) -> Fleet:
    """Both groups, as the decisions need them."""
    spare = len(group.spare_members)
    return Fleet(
        most=group.most,
        spot=len(group.members) - spare,
        spot_size=group.size - group.spare,
        spare=spare,
        spare_size=group.spare,
    )


def _purse(folder: JobFolder) -> Purse:
    """What a job needs and may still cost."""
    job, reading = Job.from_json(folder.job.read_text()), Reading.of(folder)
    paid = reading.usd(job)
    unpriced = job.usd_per_worker_hour is None and not job.rates  # its command has accepted that
    rest = None if job.budget_usd is None or unpriced else job.budget_usd - (paid or 0.0)
    said = folder.read_progress()
    return Purse(0 if folder.spent.exists() else int(said.get("workers_needed", job.workers_needed)), rest)


def _clock(in_s: float) -> str:
    """The time in so many seconds, for a person."""
    return f"{datetime.now(UTC) + timedelta(seconds=in_s):%H:%M} UTC"
