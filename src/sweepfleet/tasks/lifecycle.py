"""The cluster's life: made, looked at, taken down."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.asking import confirm
from sweepfleet.tasks.front import (
    STACK_HELP,
    open_fleet,
    open_stack,
    open_stack_to_change,
    project_here,
    shown,
    speaking,
)


def _show_outputs(outputs: Any) -> None:
    width = max(len(one.name) for one in dataclasses.fields(outputs))
    for one in dataclasses.fields(outputs):
        value = getattr(outputs, one.name)
        print(f"{one.name:{width}}  {', '.join(value) if isinstance(value, tuple) else value}")


def _costs(outputs: Any) -> str:
    """What the stack costs while nothing runs on it."""
    from sweepfleet.fleet.money.rest_prices import at_rest

    if outputs.head_idle_stop == "never":
        return "It costs money while it is up: docs/cluster.md says how much"
    return f"Its head sleeps after {outputs.head_idle_stop} without a use; then it costs {at_rest(outputs)}"


def _workers(outputs: Any) -> str:
    """How many workers run, as part of a sentence; an update may come while they do."""
    from sweepfleet.fleet.workers.group import members
    from sweepfleet.grid.wording import counted

    count = members(open_fleet(outputs.stack).cloud, *outputs.worker_groups)
    return f"{counted(count, 'worker')} run{'s' if count == 1 else ''}" if count else "no workers run"


@task(
    help={
        "stack": STACK_HELP,
        "yes": "do not ask; for pipelines",
        "renew_head": "use the newest image and boot text: replaces the head; runs stay on the data volume",
    }
)
@speaking
def up(c: Context, stack: str = "", *, yes: bool = False, renew_head: bool = False) -> None:
    """Create the cluster or apply changed settings; asks first.

    Shows the plan before it asks.
    """
    from sweepfleet.fleet.reach.ssh_config import host_name
    from sweepfleet.fleet.reach.ssh_config_files import stale
    from sweepfleet.fleet.reach.ssh_folder import SshFolder
    from sweepfleet.pipeline.touched import say_what_is_touched

    opened = open_stack_to_change(stack, makes=True, renew_head=renew_head)
    say_what_is_touched(opened, say=functools.partial(print, flush=True))
    outputs = opened.up(yes=yes, address_url=c.config.checkip)
    print(f"The stack {outputs.stack} is up in {outputs.region}; {_workers(outputs)}.")
    head = opened.live(outputs).head_ip or "has no address while it is asleep"
    print(f"Head {head} · bucket {outputs.bucket} · outputs in {shown(opened.folder.outputs_file)}")
    print(f"{_costs(outputs)}. Take it down: inv down")
    if found := stale(SshFolder.own()).get(outputs.stack):
        print("The host {} of your SSH configuration is stale: {}. Fix: {}".format(host_name(outputs.stack), *found))


@task(name="preview", help={"stack": STACK_HELP})
@speaking
def preview_(c: Context, stack: str = "") -> None:
    """Show what the next `up` would do; change nothing."""
    open_stack_to_change(stack).preview()


@task(
    help={
        "stack": STACK_HELP,
        "yes": "do not ask; for pipelines",
        "purge": "delete the bucket with its results and the stack, too",
    }
)
@speaking
def down(c: Context, stack: str = "", *, yes: bool = False, purge: bool = False) -> None:
    """Destroy the cluster except for its results; asks first.

    Shows what is lost before it asks. The bucket with results is kept.
    """
    from sweepfleet.fleet.stack import takedown

    opened = open_stack_to_change(stack)
    print("\n".join(takedown.losses(opened, purge=purge)))
    confirm(
        "Continue?",
        yes=yes,
        unasked="There is no terminal to ask on. To continue without being asked: --yes",
        refused="Nothing was changed.",
    )
    takedown.down(opened, purge=purge)


@task(help={"stack": STACK_HELP, "refresh": "ask Pulumi, not the file in .sweepfleet/", "json": "as JSON"})
@speaking
def outputs(c: Context, stack: str = "", *, refresh: bool = False, json: bool = False) -> None:
    """Show the stack's outputs: addresses, names, ids."""
    opened = open_stack(stack)
    found = opened.live(opened.refresh() if refresh else opened.outputs())
    if json:
        print(found.to_json(), end="")
    else:
        _show_outputs(found)


@task(help={"stack": STACK_HELP})
@speaking
def doctor(c: Context, stack: str = "") -> None:
    """Check all that a cluster needs; say how to fix what is missing."""
    from sweepfleet.fleet.stack.doctor import examine
    from sweepfleet.fleet.stack.project_age import examine_project
    from sweepfleet.grid.errors import printable
    from sweepfleet.grid.wording import counted
    from sweepfleet.tasks import ns

    bad, root = 0, project_here()
    found = itertools.chain(examine_project(root, tasks=ns.task_names), examine(root, asked_stack=stack))
    for finding in found:
        bad += not finding.good
        print(printable(f"{'ok  ' if finding.good else 'FIX '} {finding.subject}: {finding.said}"), flush=True)
        for line in finding.fix.splitlines():
            print(printable(f"       {line}"))
    if bad:
        raise Exit(f"{counted(bad, 'problem')} to fix", 3)
