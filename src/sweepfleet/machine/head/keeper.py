"""The head's keeper: as many workers as the runs can use, none when there is no run, and a switch for a dead head.

The switch is a scheduled scale-to-zero in AWS; while runs are active, the keeper moves it two hours ahead.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

from sweepfleet.machine import leaving
from sweepfleet.machine.aws import Aws, AwsError, Group
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.files import json_of
from sweepfleet.machine.head import meter, spending
from sweepfleet.machine.head.launch_notes import LaunchNotes
from sweepfleet.machine.head.price_list import PriceList
from sweepfleet.machine.head.replace import Replace
from sweepfleet.machine.head.shrink import Shrink, all_known, drain, in_order, retire
from sweepfleet.machine.head.spare import Spare, idle_ones, over
from sweepfleet.machine.job import active_jobs

POLL_S = 2.0
SHORTEST_S = 0.2  # between two looks: a budget ends when it is spent, not when it is next looked at
IDLE_S = 20.0  # without a run, before the workers go
SWITCH_EVERY_S = 600.0
LOOK_EVERY_S = 30.0  # at the group: its size, and how many machines there are
CHANGES_EVERY_S = 5.0  # at a group that changes: each machine is paid for from when it is there
METER_EVERY_S = 5.0
SPENT_S = 120.0  # after which a run that has cost its budget has no workers, whatever its driver does
UPTIME = Path("/proc/uptime")  # seconds since the boot; no change of the clock moves it
BOOT = Path("/proc/sys/kernel/random/boot_id")


def needed(data: Data, *, now_s: float) -> int:
    """The number of workers that the active runs can use; 0 without a run."""
    total = 0
    for folder in active_jobs(data.jobs):
        if folder.spent.exists() and now_s - folder.spent.stat().st_mtime > SPENT_S:
            continue
        if not folder.progress.exists():  # its driver has not counted yet what is left of it
            total += 0 if (data.runs / folder.path.name).exists() else 1
            continue
        facts = json_of(folder.progress) or json_of(folder.job)
        total += int(facts.get("workers_needed", 1))
    return total


def held(data: Data) -> int:
    """The number of workers that `inv start` or `inv scale` keeps without a run; 0 once their time is over.

    It is counted on this machine, in seconds since its boot; after a reboot, from that on. AWS's switch, which that
    command has set and no hold moves, ends it in any case.
    """
    hold = json_of(data.hold)
    since_s = hold.get("since_s", 0.0) if hold.get("boot") == BOOT.read_text().strip() else 0.0
    over = float(UPTIME.read_text().split()[0]) - since_s >= hold.get("for_s", 0.0)
    return 0 if over else int(hold.get("workers", 0))


def workers_needed(data: Data, *, most: int, now_s: float) -> int:
    """The number of workers that the active runs can use, or that are kept for a sweep to come; 0 for none."""
    return min(max(needed(data, now_s=now_s), held(data)), most)


def keep(facts: Facts) -> None:
    """Keep the group's size right, for ever.

    It is raised for active runs alone, and after the switch was set: what a hold keeps, its command has started.
    While runs are active, it is lowered by idle workers alone.
    """
    data, aws = Data(Path(facts.data)), Aws(facts)
    shrink, replace, prices = Shrink(aws, retire), Replace(aws), PriceList(aws, data.jobs, data.hold)
    spare, notes = Spare(aws, prices, drain), LaunchNotes(data.launches)
    busy_s = switch_s = metered_s = asked_s = float("-inf")
    budget_s = float("inf")  # from when it was metered until a run will have cost its budget
    size: int | None = None
    group = Group(0, 0, ())
    looked_s = 0.0
    while True:
        try:
            now_s = time.monotonic()
            settled = len(group.members) == size or bool(spare.lines)  # as it is said there, that may take hours
            look_s = LOOK_EVERY_S if settled else CHANGES_EVERY_S
            if looks := size is None or now_s - looked_s > look_s:
                group = aws.group()
                size, looked_s = group.size, now_s
            active = active_jobs(data.jobs)
            aim = min(needed(data, now_s=time.time()), group.most)
            keeps = min(max(aim, held(data)), group.most)
            busy_s = now_s if keeps else busy_s
            going = leaving.read(data.leaving, now_s=time.time())
            if any(replace.due(group, going, keeps=keeps)):
                replace.replace(going, keeps=keeps)
                size = None
                continue
            if looks and now_s - asked_s > LOOK_EVERY_S:
                asked_s, asked = now_s, spare.look(group, active, needed=aim, keeps=keeps, now_s=now_s)
                notes.note(spare.lines, active)
                group = spare.ask(group, asked)
                size = group.size
            if now_s - metered_s > min(METER_EVERY_S, budget_s):
                billed = (*group.members, *(name for name in going if name not in group.members))
                usd, there = prices.usd_per_hour(billed, active), len(billed)
                budget_s = meter.count(active, workers=there, now_s=time.time(), usd_per_hour=usd)
                spending.note(data.spending, workers=there, usd_per_hour=usd, used=bool(active), now_s=time.time())
                metered_s = now_s
            aim = min(aim, size) if spare.is_open(now_s) else aim
            if aim > size or (aim and now_s - switch_s > SWITCH_EVERY_S):
                aws.set_switch()
                switch_s = now_s
            idle = not aim and size and now_s - busy_s > IDLE_S
            if aim > size or idle:
                print(f"workers: {size} -> {aim}", flush=True)
                spare.resize(group, aim)
                size = aim
            due = shrink.is_due(surplus=max(_surplus(group, size, keeps), over(group, keeps)), now_s=now_s)
            if due and all_known(active, now_s=time.time()):
                group, size = aws.group(), None
                machines = in_order(prices.machines(group.members), price=functools.partial(prices.of, jobs=active))
                spare.hand_back(group, keeps)
                for may_go, most in idle_ones(group, surplus=_surplus(group, group.size, keeps), keeps=keeps):
                    shrink.end_idle([one for one in machines if one in may_go], most=most, now_s=now_s)
        except AwsError as error:
            print(error, flush=True)
            size = None
            time.sleep(5)
        time.sleep(min(POLL_S, max(SHORTEST_S, metered_s + budget_s - time.monotonic())))


def _surplus(group: Group, size: int, keeps: int) -> int:
    """How many machines are too many; where none is to stay, they go together and not by this."""
    return min(size, len(group.members)) - keeps if keeps else 0


if __name__ == "__main__":
    keep(Facts.read())
