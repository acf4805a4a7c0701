"""The workers, from outside: how many, what becomes of them, and what keeps them from coming."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.workers.switch import set_switch
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.head.keeper import BOOT, UPTIME
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.launches import FAILED, cause
from sweepfleet.machine.switch import SWITCH_AFTER

PATHS = MachinePaths()
SLOTS = "sweepfleet.machine.head.slots_of_fleet"
FLEET_CODE = PATHS.code_of(f"{PATHS.home}/fleet")  # of the release that scheduler and workers run
HOLD_S = 1800  # that workers wait for a sweep after `inv start`
# As root: how many workers are kept without a run, what they cost, and for how long from now, by the head's clock
# that no time set wrongly moves. `until_s` is for the keeper of an older release.
HOLD = f"""
read -r up rest < {UPTIME}
read -r boot < {BOOT}
printf '{{"rates": %s, "workers": %d, "for_s": %d, "boot": "%s", "since_s": %s, "until_s": %d}}' \\
  "$1" "$2" "$3" "$boot" "$up" "$(( $(date +%s) + $3 ))" > {PATHS.data}/.hold.new
mv {PATHS.data}/.hold.new {PATHS.data}/hold.json
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """One instance of the group."""

    instance_id: str
    instance_type: str
    zone: str
    spot: bool
    state: str  # EC2's: pending, running ...
    private_ip: str
    launched: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """The autoscaling groups now, taken together."""

    desired: int
    most: int
    workers: tuple[Worker, ...]
    on_demand: int = 0  # of `desired`, those that take the place of spot instances


def group(cloud: Cloud, outputs: Outputs) -> Group:
    """Ask AWS; reads only."""
    with asking_aws("look at the workers"):
        found = _described(cloud, outputs.worker_groups)
        first = found.get(outputs.worker_group)
        if first is None:
            raise ClusterError(
                f"The group {outputs.worker_group} is gone. Bring the stack up: inv up --stack {outputs.stack}"
            )
        ids = [one["InstanceId"] for each in found.values() for one in each["Instances"]]
        workers = []
        if ids:
            pages = cloud.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
            workers = [_worker(one) for reservation in pages for one in reservation["Instances"]]
    alive = tuple(
        sorted((one for one in workers if one.state in ("pending", "running")), key=lambda one: one.instance_id)
    )
    on_demand = sum(one["DesiredCapacity"] for one in found.values() if one is not first)
    return Group(first["DesiredCapacity"] + on_demand, first["MaxSize"], alive, on_demand)


def members(cloud: Cloud, *names: str) -> int:
    """How many machines these groups have; one that is gone has none."""
    with asking_aws(f"look at {', '.join(names)}"):
        found = _described(cloud, names)
    return sum(len(one["Instances"]) for one in found.values())


def _described(cloud: Cloud, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Groups as AWS describes them, by name; those that are gone are not among them."""
    answer = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=list(names))
    return {one["AutoScalingGroupName"]: one for one in answer["AutoScalingGroups"]}


def _worker(one: dict[str, Any]) -> Worker:
    return Worker(
        instance_id=one["InstanceId"],
        instance_type=one["InstanceType"],
        zone=one["Placement"]["AvailabilityZone"],
        spot=one.get("InstanceLifecycle") == "spot",
        state=one["State"]["Name"],
        private_ip=one.get("PrivateIpAddress", ""),
        launched=one["LaunchTime"],
    )


# What the active runs and the hold need together, as the head's keeper counts it, and how many runs are active;
# nothing before the first push.
NEEDED = f"""
cd {PATHS.code} 2>/dev/null || exit 0
python3 -c "
import time
from pathlib import Path
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head.keeper import workers_needed
from sweepfleet.machine.job import active_jobs
data = Data(Path('{PATHS.data}'))
print(workers_needed(data, most=1_000_000, now_s=time.time()), len(active_jobs(data.jobs)))" || echo unknown 1
"""


def scale(head: Host, cloud: Cloud, outputs: Outputs, workers: int, *, rates: Rates | None = None) -> int:
    """Set the number of workers, and keep them for a while when there is no run.

    Args:
        head: of the stack.
        cloud: its account and region.
        outputs: of the stack.
        workers: their number.
        rates: what they cost, for the head to count; None: it counts them at what the last sweep came with.

    Returns:
        the number that was requested: at least what active runs need, or what there is where that is unknown. While
        runs are active, workers beyond it go as soon as they have nothing to do.

    Raises:
        UsageError: more than the stack allows.
        ClusterError: the head cannot be told, or AWS refuses; then no worker was started.
    """
    if not 0 <= workers <= outputs.max_workers:
        raise UsageError(
            f"{counted(workers, 'worker')} cannot be requested: the stack allows 0 to {outputs.max_workers}. For "
            f"more: pulumi config set maxWorkers {workers}, then inv up"
        )
    script = data_volume.needed(f"{HOLD}{NEEDED}")
    priced = json.dumps(rates.to_dict() if rates else None)
    said = head.ask("sh", "-euc", script, "hold", priced, str(workers), str(HOLD_S), sudo=True)
    needed, active, *_ = [*said.split(), "0", "0"]
    now = group(cloud, outputs)  # it may allow another number than is remembered here
    workers = max(workers, min(int(needed), now.most) if needed.isdigit() else now.desired)
    if active == "0" or workers >= now.desired:
        set_size(cloud, outputs, workers)
    return workers  # where runs are active, the keeper ends idle workers; AWS would choose any


def ends_by_itself(*, has_code: bool) -> str:
    """What becomes of workers that no sweep comes to, for whoever has asked for them; pure."""
    hours = f"{SWITCH_AFTER.total_seconds() / 3600:g} hours"
    if has_code:
        said = f"They shut down when no sweep comes within {HOLD_S // 60} minutes. If the head fails, AWS shuts them "
        return f"{said}down after {hours}. Shut them down now: inv stop"
    return f"They have no code: inv push. AWS shuts them down after {hours}. Shut them down now: inv stop"


def set_size(cloud: Cloud, outputs: Outputs, workers: int) -> None:
    """Have AWS run so many workers, whatever the head wants; its switch is set first. Raises ClusterError.

    On-demand workers in the place of spot instances stay as far as these leave room for them.
    """
    if workers:
        set_switch(cloud, outputs)
    with asking_aws("set the number of workers"):
        client, left = cloud.client("autoscaling"), workers
        spot, *spare = (_described(cloud, outputs.worker_groups).get(name) for name in outputs.worker_groups)
        for found in filter(None, spare):
            stay = max(0, min(found["DesiredCapacity"], workers - len(spot["Instances"] if spot else ())))
            left -= stay
            if stay != found["DesiredCapacity"]:
                _set_capacity(client, found["AutoScalingGroupName"], stay)
        _set_capacity(client, outputs.worker_group, left)


def _set_capacity(client: Any, group: str, workers: int) -> None:
    client.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=workers, HonorCooldown=False)


class SchedulerError(ClusterError):
    """The head answers, and its scheduler does not."""


def slots(head: Host, *, known: int = -1, within_s: float = 0.0) -> dict[str, int]:
    """The workers that have joined the scheduler, by instance id, with their slots.

    While there are as many as are `known`, the head waits for more or fewer before it answers, so long at most.

    Raises:
        SchedulerError: nobody can say; with the reason.
        ClusterError: the head does not answer.
    """
    script = f'cd {FLEET_CODE} && exec {PATHS.home}/environment/bin/python -m {SLOTS} "$@"'
    said = head.run("sh", "-c", script, "slots", str(known), str(within_s), sudo=True)
    if said.exit_code:
        last = (said.stderr.strip() or str(said.exit_code)).splitlines()[-1]
        raise SchedulerError(f"The scheduler on the head does not answer: {last}")
    found: dict[str, int] = json.loads(said.stdout.strip().splitlines()[-1])
    return found


def why_none(cloud: Cloud, outputs: Outputs, *, since: datetime) -> str:
    """What AWS says of launches that failed since then; empty when none did."""
    with asking_aws("look at the group's activities"):
        client = cloud.client("autoscaling")
        asked = [client.describe_scaling_activities(AutoScalingGroupName=one) for one in outputs.worker_groups]
    for activity in (each for answer in asked for each in answer["Activities"]):
        if activity["StatusCode"] in FAILED and activity["StartTime"] >= since:
            return cause(activity.get("StatusMessage") or activity.get("Description", ""))
    return ""
