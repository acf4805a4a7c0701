"""The cluster at work: code pushed, workers started and stopped, runs watched."""

from __future__ import annotations

import functools
import subprocess
import time
from datetime import UTC, datetime
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from tasks.front import ROOT, STACK_HELP, integer, speaking

say = functools.partial(print, flush=True)
NEW_HEAD_S = 300  # in which a head that was just made answers
RUN_HELP = "the run; by default the one that goes on, or the last one"


def open_fleet(stack: str) -> Any:
    """The cluster that a task means."""
    from fleet.fleet import open_fleet

    return open_fleet(ROOT, asked=stack)


@task(
    help={
        "stack": STACK_HELP,
        "dirty": "ship tracked files as they are, changed ones too; results will say so",
        "rollback": "take up the release before this one again; with --to another one",
        "to": "with --rollback: the beginning of a release's commit",
    }
)
@speaking
def push(c: Context, stack: str = "", to: str = "", *, dirty: bool = False, rollback: bool = False) -> None:
    """Bring this checkout's commit and its locked environment to the cluster."""
    from fleet.push import current_release, push, roll_back
    from fleet.release import make_release
    from grid.errors import UsageError

    fleet = open_fleet(stack)
    if to and not rollback:
        raise UsageError("--to goes with --rollback.")
    if rollback:
        with fleet.head() as head:
            roll_back(head, fleet.cloud, fleet.outputs, to=to, say=say)
        return
    release = make_release(ROOT, dirty=dirty)
    now = current_release(fleet.cloud, fleet.outputs)
    with fleet.head(patience_s=NEW_HEAD_S) as head:
        push(head, release, now, say=say)


@task(help={"stack": STACK_HELP})
@speaking
def releases(c: Context, stack: str = "") -> None:
    """List what was pushed, the newest first."""
    from fleet.push import releases

    fleet = open_fleet(stack)
    for one in releases(fleet.cloud, fleet.outputs):
        when = datetime.fromtimestamp(one.pushed, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        mark = "*" if one.current else " "
        print(f"{mark} {one.commit[:10]}{' with changes' if one.dirty else ''}  pushed {when}  {one.sha256[:12]}")


@task(help={"stack": STACK_HELP, "workers": "so many; by default one"})
@speaking
def start(c: Context, stack: str = "", workers: str = "1") -> None:
    """Start workers, and wait until they have joined; they leave when no sweep comes."""
    from fleet.joining import wait_for_workers
    from fleet.workers import scale

    fleet = open_fleet(stack)
    count = integer(workers, "--workers") or 1
    fleet.release()
    with fleet.head() as head:
        scale(head, fleet.cloud, fleet.outputs, count)
        wait_for_workers(fleet, head, count, say=say)


@task(positional=["workers"], help={"stack": STACK_HELP, "workers": "so many"})
@speaking
def scale(c: Context, workers: str, stack: str = "") -> None:
    """Have so many workers, and do not wait for them."""
    from fleet.workers import scale

    fleet = open_fleet(stack)
    with fleet.head() as head:
        scale(head, fleet.cloud, fleet.outputs, integer(workers, "workers") or 0)
    print(f"{workers} workers asked for: inv status")


@task(help={"stack": STACK_HELP, "yes": "also when runs go on: they stop, and the same command goes on with them"})
@speaking
def stop(c: Context, stack: str = "", *, yes: bool = False) -> None:
    """Send all workers home; what is done is kept."""
    from fleet import runs
    from fleet.workers import scale
    from grid.errors import UsageError

    fleet = open_fleet(stack)
    with fleet.head() as head:
        going_on = runs.names(head, going_on=True)
        if going_on and not yes:
            raise UsageError(f"Runs go on: {', '.join(going_on)}. To stop them too: inv stop --yes")
        for name in going_on:
            runs.cancel(head, name)
            print(f"Stopped {name}; the same inv sweep goes on with it.")
        scale(head, fleet.cloud, fleet.outputs, 0)
    print("The workers go.")


@task(help={"stack": STACK_HELP})
@speaking
def status(c: Context, stack: str = "") -> None:
    """Show what the cluster is doing: head, workers, release, runs."""
    from fleet.status import status

    for line in status(open_fleet(stack)):
        print(line, flush=True)


@task(
    help={
        "stack": STACK_HELP,
        "worker": "of this worker, by the beginning of its instance id; by default of the head",
        "name": "of this run alone",
        "follow": "go on printing what comes",
        "lines": "how many of the last ones",
    }
)
@speaking
def logs(
    c: Context, stack: str = "", worker: str = "", name: str = "", lines: str = "200", *, follow: bool = False
) -> None:
    """Print the journal of the head or of a worker."""
    fleet = open_fleet(stack)
    unit = f"sweepfleet-run@{name}.service" if name else "sweepfleet-*"
    words = ["journalctl", "-u", unit, "-n", str(integer(lines, "--lines") or 200), "--no-pager", "-o", "short-iso"]
    with fleet.worker(worker) if worker else fleet.head() as host:
        answer = host.run(*words, *(["-f"] if follow else []), sudo=True, shown=True, deadline_s=None)
    if answer.exit_code:
        raise Exit(code=3)


@task(help={"stack": STACK_HELP, "worker": "this worker, by the beginning of its instance id; by default the head"})
@speaking
def ssh(c: Context, stack: str = "", worker: str = "") -> None:
    """Open a shell on the head or on a worker."""
    from fleet.ssh_command import ssh_command

    raise Exit(code=subprocess.run(ssh_command(open_fleet(stack), worker=worker), check=False).returncode)


@task(positional=["command"], help={"stack": STACK_HELP, "command": "as one word: inv run 'df -h'"})
@speaking
def run(c: Context, command: str, stack: str = "") -> None:
    """Run a command on the head; its output and its exit code are the command's own."""
    fleet = open_fleet(stack)
    with fleet.head() as head:
        answer = head.run("sh", "-c", command, shown=True, deadline_s=None)
    if answer.exit_code:
        raise Exit(code=answer.exit_code)


@task(help={"stack": STACK_HELP, "port": "on this machine"})
@speaking
def dashboard(c: Context, stack: str = "", port: str = "8787") -> None:
    """Open a tunnel to dask's dashboard on the head, and print its address; Ctrl-C closes it."""
    fleet = open_fleet(stack)
    with fleet.head() as head, head.forwarded(integer(port, "--port") or 8787, 8787):
        say(f"http://127.0.0.1:{port}/status   (Ctrl-C closes the tunnel)")
        while True:
            time.sleep(3600)


@task(help={"stack": STACK_HELP, "name": RUN_HELP})
@speaking
def attach(c: Context, stack: str = "", name: str = "") -> None:
    """Watch a run on the cluster to its end, and fetch its results; Ctrl-C leaves it running."""
    from fleet import runs
    from tasks.sweeps import watch_and_finish

    fleet = open_fleet(stack)
    with fleet.head() as head:
        name = runs.which(head, name)
    watch_and_finish(c, fleet, name, json=False)


@task(help={"stack": STACK_HELP, "name": RUN_HELP})
@speaking
def cancel(c: Context, stack: str = "", name: str = "") -> None:
    """Stop a run on the cluster; what is done is kept, and the same inv sweep goes on with it."""
    from fleet import runs
    from grid.errors import UsageError

    fleet = open_fleet(stack)
    with fleet.head() as head:
        name = runs.which(head, name)
        if name not in runs.names(head, going_on=True):
            raise UsageError(f"The run {name} has ended already: inv results --fetch --name {name}")
        runs.cancel(head, name)
    print(f"Stopped {name}; what is done is kept: inv results --fetch --name {name}")


@task(
    name="allow-me",
    help={
        "stack": STACK_HELP,
        "replace": "the network in sshCidrs that goes; 'none' keeps all",
        "yes": "do not ask; for pipelines",
    },
)
@speaking
def allow_me(c: Context, stack: str = "", replace: str = "", *, yes: bool = False) -> None:
    """Let this machine's address reach the head, in the place of the one before."""
    from fleet.allow import allow_me
    from fleet.cluster import open_cluster

    allow_me(
        open_cluster(ROOT, asked=stack, say=say), replace=replace, address_url=c.config.checkip, yes=yes, say=say
    )
