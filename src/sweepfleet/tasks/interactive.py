"""Working on the head: from an editor, a terminal or a browser."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import STACK_HELP, open_fleet, project_here, shown, speaking


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
