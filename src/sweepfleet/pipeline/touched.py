"""What an update of a cluster does to the runs that are active on it, said before it is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import open_fleet
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.stack.awake import AsleepError
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, GROUP, HEAD
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.wording import counted
from sweepfleet.pipeline.plan import Plan, Step, parse

RESTARTS = frozenset({"instanceType", "cpuOptions", "ebsOptimized"})  # what EC2 changes of a stopped instance alone


def say_what_is_touched(stack: Stack, *, say: Callable[[str], None]) -> None:
    """Where runs are active: what applying the stack's settings would do to them. Says nothing where none is.

    It takes a preview, which is only made for active runs. What keeps it from one is left to the update to say.

    Args:
        stack: that is updated; one that is not up has no runs.
        say: tells the user a line.
    """
    try:
        if stack.folder.outputs() is None:
            return
    except ClusterError:  # of another version; the update writes them anew
        return
    fleet = open_fleet(stack.root, asked=stack.name)
    try:
        with fleet.awake_head() as head:
            names, unknown = runs.names(head, active=True), ""
    except DownError:
        say(f"The stack {stack.name} was taken down elsewhere. It is made again.")
        return
    except (GoneError, AsleepError):  # asleep, it has no active run
        return
    except ClusterError as error:
        names, unknown = [], str(error)
    if not names and not unknown:
        return
    try:
        with TemporaryDirectory() as folder:
            plan = parse(stack.pulumi.plan(stack.full_name, save=Path(folder, "plan.json"))[0])
        active = {one: workers.members(fleet.cloud, one) for one in fleet.outputs.worker_groups}
    except ClusterError:
        return
    found = list(effects(plan, active=active))
    if unknown and found:
        say(f"Whether runs are active is unknown: {unknown}")
    elif names:
        say(f"Active: {', '.join(names)}.")
    for line in found or (["This update stops no worker and does not restart the head."] if names else []):
        say(f"  {line}")


def effects(plan: Plan, *, active: Mapping[str, int]) -> Iterator[str]:
    """What a plan does to active runs, a sentence each.

    Args:
        plan: of the update.
        active: the number of workers of each group, by the group's name in AWS.
    """
    for step in plan.changes:
        # Pulumi names a group in AWS as the program does, with a hyphen and some letters after it.
        yield from _effect(step, sum(n for name, n in active.items() if name.rpartition("-")[0] == step.name))


def _effect(step: Step, active: int) -> Iterator[str]:
    stop = f"{counted(active, 'worker')} stop{'s' if active == 1 else ''}"
    if step.type == DATA_VOLUME and step.goes:
        yield "The data volume is deleted, with notebooks and the ledgers of all runs."
    elif step.type == BUCKET and step.goes:
        yield "The bucket is deleted, with the results of all runs."
    elif step.type == HEAD and step.goes:
        yield "The head is replaced. Runs wait for it, and resume by themselves; points in flight may run again."
    elif step.type == HEAD and RESTARTS & set(step.changed):
        yield "The head is restarted. Runs wait for it, and resume by themselves; points in flight may run again."
    elif step.type == GROUP and step.goes and active:
        yield f"The group of workers is replaced: {stop}. Their points in flight run again."
    elif step.type == GROUP and step.new is not None:
        most = step.new.inputs.get("maxSize")
        if isinstance(most, int | float) and most < active:  # no number where only the update will know it
            stops = f"{active - int(most)} of {active} stop. Points that they do not finish run again."
            yield f"At most {counted(int(most), 'worker')} may run: {stops}"
