"""Working on the head: from an editor, a terminal or a browser."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.front import (
    STACK_HELP,
    integer,
    open_fleet,
    open_steps,
    project_here,
    quiet_interrupt,
    shown,
    speaking,
)

IDLE_HELP = "a new one ends after this time without use, as 30m, 2h or 1d; by default 2h"
BROKEN = 255  # ssh's own exit code


@task(
    name="ssh-config",
    help={
        "stack": STACK_HELP,
        "remove": "remove the hosts again, and the line in ~/.ssh/config with the last of them",
    },
)
@speaking
def ssh_config(c: Context, stack: str = "", *, remove: bool = False) -> None:
    """Let ssh, rsync and editors connect: adds hosts to ~/.ssh/config.

    The head is `sweepfleet-STACK`; workers are `sweepfleet-STACK-worker-1` or, by instance id,
    `sweepfleet-STACK-i-0abc`. Host keys are checked against those that the machines published.
    """
    from sweepfleet.fleet.reach import ssh_config_files as files
    from sweepfleet.fleet.reach.ssh_config import host_name
    from sweepfleet.fleet.reach.ssh_folder import SshFolder
    from sweepfleet.fleet.reach.ssh_folder import remove as remove_hosts

    folder = SshFolder.own()
    if remove:
        name = files.which(folder, project_here(), stack)
        remove_hosts(folder, name)
        print(f"Removed the host {host_name(name)} from your SSH configuration.")
        return
    fleet = open_fleet(stack)
    file = files.add(fleet, folder)
    name = host_name(fleet.outputs.stack)
    print(f"Wrote {shown(file)}, which {shown(folder.config)} includes.")
    if not folder.is_ssh_s_own:
        print(f"ssh itself reads another home's: give it this one with ssh -F {folder.config}")
    print(f"The head: ssh {name} · a worker: ssh {name}-worker-1, or by its instance id: ssh {name}-i-ID")
    print(f"Editors find {name} in their list of SSH hosts. Remove: inv ssh-config --remove")


@task(help={"stack": STACK_HELP, "idle": IDLE_HELP, "end": "end it, with all its variables"})
@speaking
def console(c: Context, stack: str = "", idle: str = "", *, end: bool = False) -> None:
    """Open IPython on the head, with its variables from before.

    It runs in the environment of the cluster's release. Ctrl-D or a broken connection leave it there: `inv console`
    again comes back to it. At hand: `sf`, and `fleet.client()`, dask's client of the cluster.
    """
    from sweepfleet.fleet.errors import ClusterError
    from sweepfleet.fleet.reach.sessions import console_command

    fleet = open_fleet(stack)
    if end:
        return end_session(fleet, "console")
    begin_session(fleet, "console", idle)
    print("Leave it: Ctrl-D · come back: inv console", flush=True)
    code = subprocess.run(console_command(fleet, terminal=sys.stdin.isatty()), check=False).returncode
    if code == BROKEN or code < 0:  # or somebody has ended ssh
        raise ClusterError("The connection broke. The console keeps its variables; come back: inv console")
    if code:
        raise Exit(code=code)
    return None


@task(
    help={
        "stack": STACK_HELP,
        "port": "of this machine; by default 8888, or the next that is free",
        "idle": IDLE_HELP,
        "end": "end it, with all its kernels; files stay",
        "no-open": "print the address, and open no browser",
    }
)
@speaking
def notebook(
    c: Context, stack: str = "", port: str = "", idle: str = "", *, end: bool = False, no_open: bool = False
) -> None:
    """Open JupyterLab on the head in the browser, through a tunnel.

    Its files are on the head's data volume, its kernels in the environment of the cluster's release. Ctrl-C closes
    the tunnel and leaves both: `inv notebook` again comes back to them.
    """
    from sweepfleet.fleet.errors import ClusterError
    from sweepfleet.fleet.reach.tunnel import LOOPBACK, broken, free_port, tunnel
    from sweepfleet.machine.session import PORT

    asked = integer(port, "--port")
    fleet = open_fleet(stack)
    if end:
        return end_session(fleet, "notebook")
    here = free_port(asked, usual=PORT)
    begun = begin_session(fleet, "notebook", idle)
    address = f"http://{LOOPBACK}:{here}/lab?token={begun.token}"
    with quiet_interrupt(), tunnel(fleet, here, to=PORT) as way:
        print(f"{address}   (Ctrl-C closes the tunnel; the notebook stays)", flush=True)
        if not no_open and has_browser():
            webbrowser.open(address)
        way.wait()
        raise ClusterError(f"{broken(way)}. The notebook keeps its kernels; come back: inv notebook")


def has_browser() -> bool:
    """Whether a browser has a screen here: one that would take over the terminal is no help."""
    screen = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and screen


def begin_session(fleet: Any, kind: str, idle: str) -> Any:
    """Have a console or a notebook server on the head, and say what it is."""
    from sweepfleet.fleet.client.session import job_of
    from sweepfleet.fleet.reach import sessions
    from sweepfleet.machine.session import IDLE_S

    asked_s = sessions.idle_seconds(idle) if idle else None
    release = fleet.release()
    current = release.sha256
    job = job_of(fleet, release, workers=None, unpriced=True)  # what uses workers there asks where no price is known
    with open_steps(aside=False) as steps:
        steps.step("Connecting to the head")
        with fleet.head() as head:
            begun = sessions.begin(head, kind, idle_s=asked_s or IDLE_S, job=job, steps=steps)
    for line in sessions.lines(begun, stack=fleet.outputs.stack, current=current, asked_idle_s=asked_s):
        print(line, flush=True)
    return begun


def end_session(fleet: Any, kind: str) -> None:
    """End a console or a notebook server on the head."""
    from sweepfleet.fleet.reach import sessions
    from sweepfleet.fleet.stack.awake import AsleepError

    try:
        with open_steps(aside=False) as steps, fleet.awake_head() as head:
            was_there = sessions.end(head, kind, steps=steps)
    except AsleepError:  # which it is only without a session
        was_there = False
    print(f"The {kind} has ended." if was_there else f"No {kind} is active.")
