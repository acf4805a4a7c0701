"""What moto's autoscaling groups leave out: the launch template's options, spot and types, failures, schedules.

All of it in moto's own process and on its own objects: who calls the API sees one cloud.
"""

from __future__ import annotations

import copy
import threading
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling.models import Activity, AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from tests.cloud.rehearsal.launch import SHORTAGES, SPOT, members, pools, run

NO_CAPACITY = (
    "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). Our system "
    "will be working on provisioning additional capacity. Launching EC2 instance failed."
)
RETRY_S = 5  # AWS waits longer; nobody learns anything from waiting
_sizing = threading.RLock()  # the API's threads and the reconciler's must not both launch what is missing


def install() -> None:
    """Give moto's groups these manners. Once in a process, before any group is made."""
    manners: dict[str, Any] = {
        "set_desired_capacity": _set_desired_capacity,
        "replace_autoscaling_group_instances": lambda self, *_: fill(self),
        "update": _keeping_policy(FakeAutoScalingGroup.update),
    }
    for name, manner in manners.items():
        setattr(FakeAutoScalingGroup, name, manner)
    answers: Any = AutoScalingResponse
    answers.describe_scaling_activities = _describe_scaling_activities


def fill(group: FakeAutoScalingGroup, *, beyond: int = 0) -> None:
    """Launch what is missing of the group's size; a failure becomes an activity, and is tried again later."""
    with _sizing:
        for _ in range((group.desired_capacity or 0) + beyond - len(members(group))):
            if not _launch(group):
                return


def retry(group: FakeAutoScalingGroup) -> None:
    """`fill`, unless the last failure is too fresh."""
    failed = SHORTAGES.failed_at.get(group.name)
    if failed is None or (utcnow() - failed).total_seconds() > RETRY_S:
        fill(group)


def run_due_actions(backend: AutoScalingBackend) -> None:
    """Execute scheduled actions whose time has come; as in AWS, one without a recurrence is gone then."""
    for name, action in list(backend.scheduled_actions.items()):
        if action.start_time is None or _time(action.start_time) > utcnow():
            continue
        if action.recurrence is None:
            backend.scheduled_actions.pop(name, None)
        else:
            action.start_time = None  # how it goes on would take a reader of cron's language
        group = backend.autoscaling_groups.get(action.auto_scaling_group_name)
        if group is not None:
            group.min_size = group.min_size if action.min_size is None else action.min_size
            group.max_size = group.max_size if action.max_size is None else action.max_size
            size = group.desired_capacity if action.desired_capacity is None else action.desired_capacity
            _record(group, "Executed scheduled action " + action.scheduled_action_name)
            group.set_desired_capacity(min(max(size or 0, group.min_size or 0), group.max_size or 0))


def _set_desired_capacity(self: FakeAutoScalingGroup, new_capacity: int | None) -> None:
    self.desired_capacity = self.min_size if new_capacity is None else new_capacity
    here = members(self)
    surplus = len(here) - (self.desired_capacity or 0)
    if surplus > 0:
        leaving = [each for each in here if not each.protected_from_scale_in][:surplus]
        self.instance_states = [each for each in self.instance_states if each not in leaving]
        if leaving:
            self.autoscaling_backend.ec2_backend.terminate_instances([each.instance.id for each in leaving])
        for each in leaving:
            _record(self, f"Terminating EC2 instance: {each.instance.id}")
    else:
        SHORTAGES.failed_at.pop(self.name, None)
        fill(self)


def _keeping_policy(update: Any) -> Any:
    """A change of the size alone leaves a mixed-instances policy as it was; moto would forget it."""

    def updated(self: FakeAutoScalingGroup, **changes: Any) -> None:
        if not changes.get("mixed_instances_policy") and not changes.get("launch_template"):
            policy = copy.deepcopy(self.mixed_instances_policy)
            if policy:  # moto has both written into it, and takes one
                policy["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateName", None)
            changes["mixed_instances_policy"] = policy
        update(self, **changes)

    return updated


def _launch(group: FakeAutoScalingGroup) -> bool:
    tried = None
    for pool in pools(group):
        if not SHORTAGES.refused(pool):
            instance = run(group, pool)
            group.instance_states.append(
                InstanceState(instance, protected_from_scale_in=group.new_instances_protected_from_scale_in)
            )
            _record(group, f"Launching a new EC2 instance: {instance.id}")
            return True
        tried = tried or pool
    if tried is not None:
        why = NO_CAPACITY.format(type=tried.instance_type, zone=tried.subnet.availability_zone)
        prefix = "Could not launch Spot Instances. InsufficientInstanceCapacity - " if tried.market == SPOT else ""
        _record(group, "Launching a new EC2 instance.  Status Reason: " + prefix + why, failed=prefix + why)
    SHORTAGES.failed_at[group.name] = utcnow()
    return False


def _record(group: FakeAutoScalingGroup, description: str, *, failed: str = "") -> None:
    activity = Activity(
        description, f"At {utcnow():%Y-%m-%dT%H:%M:%SZ}.", group, status_code="Failed" if failed else "Successful"
    )
    activity.progress = 100
    activity.status_message = failed or None  # type: ignore[attr-defined]
    activities = group.__dict__.setdefault("rehearsal_activities", [])
    activities.insert(0, activity)


def _describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
    name, most = self._get_param("AutoScalingGroupName"), self._get_param("MaxRecords") or 100
    groups = [g for g in self.autoscaling_backend.autoscaling_groups.values() if name in {None, g.name}]
    activities = [each for group in groups for each in group.__dict__.get("rehearsal_activities", [])]
    return ActionResult({"Activities": activities[: int(most)]})


def _time(text: Any) -> datetime:
    """A time as the API got it, without its zone, as moto's are."""
    when = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
