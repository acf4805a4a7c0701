"""AWS's own switch, set from outside the cluster; `machine.switch` says what it is."""

from __future__ import annotations

from datetime import datetime

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.switch import SWITCH, switch_time


def set_switch(cloud: Cloud, outputs: Outputs) -> datetime:
    """Have AWS empty the stack's groups in a while, or later than it was told to before; returns when.

    Raises:
        ClusterError: AWS refuses, does not say what time it is, or a group is gone.
    """
    groups = list(outputs.worker_groups)
    client = cloud.client("autoscaling")
    with asking_aws("look at the workers"):
        answer = client.describe_auto_scaling_groups(AutoScalingGroupNames=groups)
    try:
        at = switch_time(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    except ValueError:
        raise ClusterError(
            "AWS's time is unknown, so the dead-man's switch cannot be set, which shuts down workers when the "
            "head cannot. No worker was started. Try again."
        ) from None
    missing = set(groups) - {one["AutoScalingGroupName"] for one in answer["AutoScalingGroups"]}
    if missing:
        raise ClusterError(
            f"The group {', '.join(sorted(missing))} is gone. Bring the stack up: inv up --stack {outputs.stack}"
        )
    with asking_aws(
        "set the dead-man's switch, which shuts down workers when the head cannot (no worker was started)"
    ):
        for name in groups:
            client.put_scheduled_update_group_action(
                AutoScalingGroupName=name, ScheduledActionName=SWITCH, StartTime=at, MinSize=0, DesiredCapacity=0
            )
    return at
