"""The cluster at work: code pushed, runs watched and cancelled, what is there."""

from __future__ import annotations

import functools

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import (
    NEW_HEAD_S,
    STACK_HELP,
    number,
    open_fleet,
    open_stack,
    open_stack_to_change,
    open_steps,
    speaking,
)
from sweepfleet.tasks.pushing import push_checkout

say = functools.partial(print, flush=True)
RUN_HELP = "the run; by default the active one, or the last one"


@task(
    help={
        "stack": STACK_HELP,
        "dirty": "push tracked files with their uncommitted changes; results say so",
        "rollback": "go back to the release before this one; with --to to another",
        "to": "with --rollback: the beginning of a release's commit, or of its hash",
        "timeout": f"seconds to wait for a new head; by default {NEW_HEAD_S}",
        "yes": "replace another person's newer release without being asked",
    }
)
@speaking
def push(
    c: Context,
    stack: str = "",
    to: str = "",
    timeout: str = str(NEW_HEAD_S),
    *,
    dirty: bool = False,
    rollback: bool = False,
    yes: bool = False,
) -> None:
    """Send this commit and its locked environment to the cluster."""
    from sweepfleet.fleet.code.push import roll_back
    from sweepfleet.fleet.code.pusher import pusher
    from sweepfleet.fleet.steps import Steps
    from sweepfleet.grid.errors import UsageError

    patience_s = number(timeout, "--timeout", least=1)
    if to and not rollback:
        raise UsageError("--to requires --rollback.")
    if rollback and dirty:
        raise UsageError("--dirty sends files, --rollback sends none. Remove one.")
    fleet = open_fleet(stack)
    if rollback:
        with Steps() as steps:
            steps.step("Connecting to the head")
            me = pusher(fleet.cloud, fleet.root)
            with fleet.head() as head:
                roll_back(head, fleet.cloud, fleet.outputs, to=to, by=me, steps=steps)
        return
    push_checkout(fleet, dirty=dirty, yes=yes, patience_s=patience_s, say=say)


@task(help={"stack": STACK_HELP})
@speaking
def releases(c: Context, stack: str = "") -> None:
    """List what was pushed, the newest first."""
    from sweepfleet.fleet.code.push import releases, since

    fleet = open_fleet(stack)
    for one in releases(fleet.cloud, fleet.outputs):
        mark = "*" if one.current else " "
        print(f"{mark} {one.label}  {since(one)}  {one.sha256[:12]}")


@task(help={"stack": STACK_HELP})
@speaking
def status(c: Context, stack: str = "") -> None:
    """Show what the cluster is doing: head, workers, release, runs."""
    from sweepfleet.fleet.fleet import NotUpError
    from sweepfleet.fleet.runs.status import status
    from sweepfleet.fleet.stack.standing import explained

    try:
        fleet = open_fleet(stack)
    except NotUpError as error:
        raise explained(error, functools.partial(open_stack, stack)) from None
    for line in status(fleet):
        print(line, flush=True)


@task(
    help={
        "stack": STACK_HELP,
        "name": RUN_HELP,
        "json": "print one JSON object and nothing else on standard output: the summary and the folder",
    }
)
@speaking
def attach(c: Context, stack: str = "", name: str = "", *, json: bool = False) -> None:
    """Watch a run on the cluster to its end, and fetch its results.

    Ctrl-C leaves it running.
    """
    from sweepfleet.fleet.runs import jobs as runs
    from sweepfleet.tasks.sweeps_on_stack import watch_and_finish

    fleet = open_fleet(stack)
    with open_steps(aside=json) as steps:
        steps.step("Connecting to the head")
        with fleet.head() as head:
            name = runs.which(head, name)
    watch_and_finish(c, fleet, name, json=json)


@task(help={"stack": STACK_HELP, "name": RUN_HELP})
@speaking
def cancel(c: Context, stack: str = "", name: str = "") -> None:
    """Cancel a run on the cluster. Finished points are kept.

    The same `inv sweep` resumes it.
    """
    from sweepfleet.fleet.runs import jobs as runs
    from sweepfleet.fleet.steps import Steps
    from sweepfleet.grid.errors import UsageError

    fleet = open_fleet(stack)
    with Steps() as steps, fleet.awake_head() as head:  # asleep, it has no active run
        name = runs.which(head, name)
        steps.step(f"Stopping the run {name} and storing its results")
        if name not in runs.names(head, active=True):
            raise UsageError(f"The run {name} has ended already: inv results --fetch --name {name}")
        missing = runs.cancel(head, name)
    print(f"Stopped {name}. {missing or f'Finished points are kept: inv results --fetch --name {name}'}")


@task(
    name="allow-me",
    help={
        "stack": STACK_HELP,
        "replace": "the network in sshCidrs to replace; 'none' keeps all",
        "yes": "do not ask; for pipelines",
    },
)
@speaking
def allow_me(c: Context, stack: str = "", replace: str = "", *, yes: bool = False) -> None:
    """Let this machine's address reach the head, instead of the last."""
    from sweepfleet.fleet.stack.allow import allow_me

    opened = open_stack_to_change(stack)
    allow_me(opened, replace=replace, address_url=c.config.checkip, yes=yes, say=say)
