"""Takes a cluster down: what that would lose, then all of it, step by step."""

from __future__ import annotations

from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.reach import bucket
from sweepfleet.fleet.reach.ssh_config import host_name
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.gone import DownError
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, GROUP, Resource
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted


def losses(stack: Stack, *, purge: bool) -> list[str]:
    """What taking the cluster down would lose and what it would keep, a line each; changes nothing.

    Raises:
        NothingToDo: nothing is left that this could take down.
    """
    with stack.step("Reading the state of the stack"):
        try:
            stack.require_stack()
        except DownError as error:
            raise NothingToDo(str(error)) from None
        state = stack.pulumi.state(stack.full_name)
    ours = [one for one in state.resources if one.type.startswith("aws:")]
    going = [one for one in ours if purge or not one.protected or one.type == DATA_VOLUME]
    if not going and not purge and not state.creating:
        stack.folder.forget()
        stack.look_for_leaks(())
        raise NothingToDo(f"The stack {stack.full_name} is already down.")
    if not ours:
        return [f"Removing the stack {stack.full_name} and its history; nothing of it is left in AWS."]
    with stack.step("Looking at its resources in AWS"):
        return _fates(stack, ours, going, purge=purge)


def _fates(stack: Stack, ours: list[Resource], going: list[Resource], *, purge: bool) -> list[str]:
    """What becomes of the resources that the stack has, as `losses` says it."""
    cloud = stacks.cloud_of(stack.config())
    lost = stack.lost(cloud, ours)
    lines = [f"Taking down {stack.full_name}: {counted(len(going), 'resource')} in {cloud.region}."]
    if lost:
        lines.append(f"  already deleted outside Pulumi: {', '.join(map(str, lost))}")
    there = [one for one in ours if one not in [each.resource for each in lost]]
    groups = [one.id for one in there if one.type == GROUP]
    if groups and (at_work := workers.members(cloud, *groups)):
        lines.append(f"  stopped: {counted(at_work, 'worker')}, and the runs that use them: inv status")
    for one in there:
        if one.type == DATA_VOLUME:
            lines.append(f"  lost: the data volume {one.id}, with notebooks and all runs' ledgers, active ones too")
        inside = bucket.contents(cloud, one.id) if one.type == BUCKET else None
        if inside is not None:
            fate = "lost" if purge else "kept"
            rest = "" if purge else " (inv up uses it again; inv down --purge deletes it)"
            lines.append(f"  {fate}: the bucket {one.id} with {inside}{rest}")
    if purge:
        lines.append(f"  lost: the stack {stack.full_name} and its history; {stack.settings.name} is kept")
    return lines


def down(stack: Stack, *, purge: bool) -> None:
    """Destroy the cluster without asking: all but the bucket, or with `purge` that and the stack too.

    Each step can be given again: what is gone already is passed over.
    """
    stack.require_stack()
    with stack.counting():
        stack.settle()
        before = [one.id for one in stack.ours()]
        if resources := stack.pulumi.resources(stack.full_name):
            cloud = stacks.cloud_of(stack.config())
            with stack.step("Looking in AWS for what was deleted outside Pulumi"):
                lost = stack.lost(cloud, resources)
            if lost:
                stack.remove_from_state(cloud, lost)
        _unprotect(stack, [one for one in stack.pulumi.resources(stack.full_name) if one.type == DATA_VOLUME])
        stack.without_stale_lock(lambda: stack.pulumi.destroy(stack.full_name, keep_protected=True))
        _require_gone([one for one in stack.ours() if not one.protected])
        if stack.folder.forget():
            stack.say(f"Removed the host {host_name(stack.name)} from your SSH configuration.")
        if purge:
            _purge(stack, before)
        else:
            stack.look_for_leaks(before)
            stack.say(f"The stack {stack.name} is down.{_kept(stack)}")


def _purge(stack: Stack, before: list[str]) -> None:
    kept = stack.pulumi.resources(stack.full_name)
    for one in kept:
        if one.type == BUCKET:
            _empty(stack, one.id)
    _unprotect(stack, kept)
    stack.without_stale_lock(lambda: stack.pulumi.destroy(stack.full_name, keep_protected=False))
    _require_gone(stack.ours())
    stack.look_for_leaks(before)  # while there is a stack whose audit can be asked for
    with stack.step("Removing the stack and its history"):
        stack.without_stale_lock(lambda: stack.pulumi.remove_stack(stack.full_name))
    stack.say(f"The stack {stack.name} is down, and nothing is kept of it.")


def _empty(stack: Stack, name: str) -> None:
    """Delete what is in a bucket, if there is such a bucket."""
    with stack.step(f"Emptying the bucket {name}") as steps:
        cloud = stacks.cloud_of(stack.config())
        if bucket.contents(cloud, name) is None:
            return
        what = "object version"
        count = bucket.empty(
            cloud, name, deleted=lambda so_far: steps.update(f"Deleted {counted(so_far, what)} in {name}")
        )
        steps.say(f"Deleted {counted(count, what)} in {name}.")


def _unprotect(stack: Stack, resources: list[Resource]) -> None:
    """Let those be deleted that are protected; only the state changes."""
    protected = [one for one in resources if one.protected]
    if protected:
        with stack.step("Removing the protection of what is deleted"):
            for one in protected:
                stack.pulumi.unprotect(stack.full_name, one.urn)


def _kept(stack: Stack) -> str:
    kept = [one.id for one in stack.ours() if one.type == BUCKET]
    return f" Kept: the bucket {kept[0]}. Delete it, too: inv down --purge --stack {stack.name}" if kept else ""


def _require_gone(left: list[Resource]) -> None:
    if left:
        names = ", ".join(one.name for one in left[:5]) + (", ..." if len(left) > 5 else "")
        raise ClusterError(f"Pulumi completed, but its state still has {names}. Run the same command again.")
