"""moto keeps one scheduled action of a name in a region; AWS keeps one of a name for each autoscaling group."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.models import AutoScalingBackend

_put = AutoScalingBackend.put_scheduled_update_group_action
_delete = AutoScalingBackend.delete_scheduled_action


def _put_of_group(self: AutoScalingBackend, name: str, *words: Any, **named: Any) -> Any:
    before = dict(self.scheduled_actions)
    made = _put(self, name, *words, **named)
    self.scheduled_actions.clear()
    self.scheduled_actions.update(before | {f"{name}/{made.scheduled_action_name}": made})
    return made


def _delete_of_group(self: AutoScalingBackend, auto_scaling_group_name: str, scheduled_action_name: str) -> None:
    _delete(self, auto_scaling_group_name, scheduled_action_name)  # which finds out whether there is one
    self.scheduled_actions.pop(f"{auto_scaling_group_name}/{scheduled_action_name}", None)


def install() -> None:
    """Have moto do as AWS does, once in a process."""
    manners: Any = AutoScalingBackend
    manners.put_scheduled_update_group_action = _put_of_group
    manners.delete_scheduled_action = _delete_of_group
