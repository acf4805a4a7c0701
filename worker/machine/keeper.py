"""The head's keeper: as many workers as the runs can use, none when there is no run, and a switch for a dead head.

The switch is a scale-in that AWS itself carries out at a time; while work goes on, the time is put off.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from worker.machine import meter
from worker.machine.aws import Aws, AwsError
from worker.machine.facts import Data, Facts
from worker.machine.job import going_on

POLL_S = 2.0
IDLE_S = 20.0  # without a run, before the workers go
SWITCH = "sweepfleet-dead-man"
SWITCH_AFTER = timedelta(seconds=meter.SWITCH_AFTER_S)
SWITCH_EVERY_S = 600.0
LOOK_EVERY_S = 30.0  # at the group: its size, and how many machines there are
METER_EVERY_S = 5.0
SPENT_S = 120.0  # after which a run that has cost its budget has no workers, whatever its driver does


def wanted(data: Data, *, most: int, now_s: float) -> int:
    """How many workers the runs that go on can use, or `inv start` asked for; 0 for none."""
    total = 0
    for folder in going_on(data.jobs):
        if folder.spent.exists() and now_s - folder.spent.stat().st_mtime > SPENT_S:
            continue
        facts = _json(folder.progress) or _json(folder.job)
        total += int(facts.get("workers_wanted", 1))
    hold = _json(data.hold)
    if hold.get("until_s", 0) > now_s:
        total = max(total, int(hold.get("workers", 0)))
    return min(total, most)


def keep(facts: Facts) -> None:
    """Keep the group's size right, for ever."""
    data, aws = Data(Path(facts.data)), Aws(facts)
    busy_s = switch_s = metered_s = float("-inf")
    size: int | None = None
    most = there = 0
    looked_s = 0.0
    while True:
        try:
            now_s = time.monotonic()
            if size is None or now_s - looked_s > LOOK_EVERY_S:
                size, most, there = aws.group_size()
                looked_s = now_s
            aim = wanted(data, most=most, now_s=time.time())
            busy_s = now_s if aim else busy_s
            if now_s - metered_s > METER_EVERY_S:
                meter.count(going_on(data.jobs), workers=there, now_s=time.time())
                metered_s = now_s
            if aim and now_s - switch_s > SWITCH_EVERY_S:
                at = datetime.now(UTC) + SWITCH_AFTER
                aws.schedule_scale_in(name=SWITCH, at=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
                switch_s = now_s
            idle = not aim and size and now_s - busy_s > IDLE_S
            if aim > size or idle:
                print(f"workers: {size} -> {aim}", flush=True)
                aws.set_group_size(aim)
                size = aim
        except AwsError as error:
            print(error, flush=True)
            size = None
            time.sleep(5)
        time.sleep(POLL_S)


def _json(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):  # not there, or just being written
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    keep(Facts.read())
