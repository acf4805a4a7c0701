"""The cluster at work: code pushed, workers started and stopped, runs watched."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.front import (
    NEW_HEAD_S,
    STACK_HELP,
    integer,
    number,
    open_fleet,
    open_stack,
    open_stack_to_change,
    open_steps,
    quiet_interrupt,
    speaking,
)
from sweepfleet.tasks.pushing import push_checkout

say = functools.partial(print, flush=True)
WORKER_HELP = "a worker, by the beginning of its instance id; by default the head"
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


@task(
    help={
        "stack": STACK_HELP,
        "workers": "the number of workers; by default one",
        "timeout": "seconds after which to give up; by default 900",
    }
)
@speaking
def start(c: Context, stack: str = "", workers: str = "1", timeout: str = "900") -> None:
    """Start workers and wait until they have joined.

    Without a sweep they shut down again.
    """
    from sweepfleet.fleet.steps import Steps
    from sweepfleet.fleet.workers.group import ends_by_itself, scale
    from sweepfleet.fleet.workers.joining import STAYS, wait_for_workers
    from sweepfleet.grid.wording import counted

    count, deadline_s = number(workers, "--workers", least=1), number(timeout, "--timeout", least=1)
    fleet = open_fleet(stack)
    fleet.release()
    with Steps() as steps, fleet.head() as head:
        steps.step(f"Starting {counted(count, 'worker')}")
        try:
            scale(head, fleet.cloud, fleet.outputs, count)
            wait_for_workers(fleet, head, count, deadline_s=deadline_s, say=steps.say)
        except KeyboardInterrupt:
            steps.say(STAYS)
            raise
    print(ends_by_itself(has_code=True))


@task(positional=["workers"], help={"stack": STACK_HELP, "workers": "the number of workers"})
@speaking
def scale(c: Context, workers: str, stack: str = "") -> None:
    """Set the number of workers. Returns at once.

    Never less than active runs need.
    """
    from sweepfleet.fleet.code.push import current_release
    from sweepfleet.fleet.workers.group import ends_by_itself, scale
    from sweepfleet.grid.wording import counted

    count = number(workers, "workers", least=0)
    fleet = open_fleet(stack)
    with fleet.head() as head:
        asked = scale(head, fleet.cloud, fleet.outputs, count)
    why = " (what the active runs need)" if asked > count else ""
    print(f"{counted(asked, 'worker')} requested{why}: inv status")
    if asked:
        print(ends_by_itself(has_code=current_release(fleet.cloud, fleet.outputs) is not None))


@task(help={"stack": STACK_HELP, "yes": "also when runs are active: they stop, and the same command resumes them"})
@speaking
def stop(c: Context, stack: str = "", *, yes: bool = False) -> None:
    """Shut down all workers. Finished points are kept."""
    from sweepfleet.fleet.workers.stopping import stop

    stop(open_fleet(stack), yes=yes)
    print("The workers shut down.")


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
        "worker": WORKER_HELP,
        "workers": "of all workers; each line begins with its worker's id",
        "name": "of this run only",
        "follow": "keep printing new lines until Ctrl-C",
        "lines": "the number of last lines; by default 200",
    }
)
@speaking
def logs(
    c: Context,
    stack: str = "",
    worker: str = "",
    name: str = "",
    lines: str = "200",
    *,
    workers: bool = False,
    follow: bool = False,
) -> None:
    """Print the journal of the head, of a worker, or of all workers."""
    from sweepfleet.fleet.runs.jobs import folder_of
    from sweepfleet.run.runs import check_name

    if name:
        check_name(name)
    unit = folder_of(name).unit if name else "sweepfleet-*"
    count = str(number(lines, "--lines", least=1))
    words = ["journalctl", "-u", unit, "-n", count, "--no-pager", "-o", "short-iso", *(["-f"] if follow else [])]
    show(open_fleet(stack), words, worker=worker, workers=workers, sudo=True, endless=follow)


@task(help={"stack": STACK_HELP, "worker": WORKER_HELP})
@speaking
def ssh(c: Context, stack: str = "", worker: str = "") -> None:
    """Open a shell on the head or on a worker."""
    from sweepfleet.fleet.reach.ssh_command import ssh_command

    command = ssh_command(open_fleet(stack), worker=worker)
    with quiet_interrupt():
        raise Exit(code=subprocess.run(command, check=False).returncode)


@task(help={"stack": STACK_HELP, "worker": WORKER_HELP, "workers": "on all workers at once"})
@speaking
def run(c: Context, stack: str = "", worker: str = "", *, workers: bool = False) -> None:
    """Run a command on the head or on workers.

    Such as `inv run -- df -h`. Ends with the command's exit code.
    """
    from sweepfleet.grid.errors import UsageError

    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []  # invoke keeps them to itself
    if not words:
        raise UsageError("No command. Give it after two dashes: inv run -- df -h, or inv run -- 'df -h | sort'")
    if len(words) == 1:
        words = ["sh", "-c", *words]
    show(open_fleet(stack), words, worker=worker, workers=workers, sudo=False)


def show(fleet: Any, words: list[str], *, worker: str, workers: bool, sudo: bool, endless: bool = False) -> None:
    """Run a command on the head, a worker or all of them, with its output as it comes; ends with its exit code."""
    from sweepfleet.fleet.reach.many import on_workers
    from sweepfleet.grid.errors import UsageError

    if worker and workers:
        raise UsageError("--worker means one worker, --workers all of them. Remove one.")
    with quiet_interrupt():
        if workers:
            on_workers(fleet, lambda host, out, err: host.show(*words, out=out, err=err, sudo=sudo), endless=endless)
            return
        with fleet.worker(fleet.find_worker(worker)) if worker else fleet.head() as host:
            code = host.show(*words, out=sys.stdout.buffer, err=sys.stderr.buffer, sudo=sudo)
    if code:
        raise Exit(code=code)


@task(help={"stack": STACK_HELP, "port": "of this machine; by default 8787, or the next that is free"})
@speaking
def dashboard(c: Context, stack: str = "", port: str = "") -> None:
    """Open a tunnel to dask's dashboard, and print its address.

    Ctrl-C closes it.
    """
    from sweepfleet.fleet.reach.tunnel import broken, check_dashboard, free_port, tunnel

    asked = integer(port, "--port")
    fleet = open_fleet(stack)
    here = free_port(asked)
    with quiet_interrupt(), tunnel(fleet, here) as way:
        say(f"{check_dashboard(here)}   (Ctrl-C closes the tunnel)")
        way.wait()
        raise broken(way)


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
    from sweepfleet.tasks.sweeps import watch_and_finish

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
    with Steps() as steps, fleet.head() as head:
        name = runs.which(head, name)
        steps.step(f"Stopping the run {name} and storing its results")
        if name not in runs.names(head, going_on=True):
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
