"""The machines of a cluster: their journals, shells and commands, and dask's pages."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.front import (
    STACK_HELP,
    integer,
    number,
    open_fleet,
    quiet_interrupt,
    speaking,
)

WORKER_HELP = "a worker, by the beginning of its instance id; by default the head"


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
    from sweepfleet.fleet.runs.journal import journal_command

    words = journal_command(name=name, lines=number(lines, "--lines", least=1), follow=follow)
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
        print(f"{check_dashboard(here)}   (Ctrl-C closes the tunnel)", flush=True)
        way.wait()
        raise broken(way)
