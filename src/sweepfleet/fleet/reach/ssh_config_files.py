"""The hosts of a stack for ssh: written, removed with the stack, and known when they are stale."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import ssh_config
from sweepfleet.fleet.reach.host_keys import published_key
from sweepfleet.fleet.reach.ssh_folder import SshFolder, change, locked, read, user_hosts, write_whole
from sweepfleet.fleet.reach.ssh_keys import private_key_of
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.grid.errors import UsageError


def add(fleet: Fleet, folder: SshFolder) -> Path:
    """Write the hosts of a cluster for ssh, with the keys that its machines published; returns their file.

    Raises:
        UsageError: the user has a host of this name, or another checkout's stack has it, or the user's configuration
            cannot be changed.
        NotYetError: the head has published no host key.
        GoneError: AWS has no head any more.
    """
    out, root = fleet.outputs, fleet.root.resolve()
    _require_free(folder, out.stack, root)
    fleet.require_head()
    key = published_key(fleet.cloud, out, out.head_identity)
    private = private_key_of(out.ssh_public_key)
    hosts = ssh_config.Hosts(
        stack=out.stack,
        root=root,
        head_id=out.head_id,
        user=out.ssh_user,
        identity_file=private if private and private.is_file() else None,
        known_hosts=folder.known_hosts(out.stack),
        workers_known_hosts=folder.workers_known_hosts(out.stack),
        python=Path(sys.executable),
        profile=os.environ.get("AWS_PROFILE", ""),
    )
    with locked(folder):
        write_whole(folder.known_hosts(out.stack), f"{hosts.name} {key}\n".encode())
        write_whole(folder.block(out.stack), ssh_config.block(hosts).encode())
        change(folder, ssh_config.with_include)
    return folder.block(out.stack)


def which(folder: SshFolder, root: Path, asked: str) -> str:
    """The stack whose hosts are to be removed: the one asked for, else the only one of this checkout.

    Raises:
        UsageError: there is none, or more than one, or it is that of another checkout that is there.
    """
    blocks = folder.blocks()
    own = [stack for stack, whose in blocks.items() if whose.root == root.resolve()]
    if not asked and len(own) == 1:
        return own[0]
    if not asked and own:
        raise UsageError(f"More than one stack has hosts for ssh: {', '.join(own)}. Name one: --stack {own[0]}")
    if not asked or asked not in blocks:
        what = f"The stack {asked}" if asked else "This checkout"
        raise UsageError(f"{what} has no hosts for ssh. Stacks that have: {', '.join(blocks) or 'none'}")
    if asked not in own and blocks[asked].root.exists():
        raise UsageError(_of_another(asked, blocks[asked].root))
    return asked


def stale(folder: SshFolder) -> dict[str, tuple[str, str]]:
    """The stacks whose hosts no longer lead to them: why, and what fixes that."""
    found = {}
    for stack, whose in folder.blocks().items():
        try:
            outputs = StackFolder(whose.root, stack).outputs()
        except ClusterError:  # which every command of the stack says
            continue
        again, away = f"inv ssh-config --stack {stack}", f"inv ssh-config --remove --stack {stack}"
        if not whose.root.exists():
            found[stack] = f"{whose.root}, the checkout that it belongs to, is gone", away
        elif outputs is None:
            found[stack] = f"the stack {stack} of {whose.root} is not up", away
        elif outputs.head_id != whose.head_id:
            found[stack] = "the head was replaced", again
        elif not ssh_config.includes(read(folder.config), folder.pattern):
            found[stack] = f"{folder.config} does not include {folder.pattern}", again
    return found


def _require_free(folder: SshFolder, stack: str, root: Path) -> None:
    """Refuse a name that leads elsewhere: to a host of the user's, or to the stack of another checkout."""
    whose = folder.blocks().get(stack)
    if whose is not None and whose.root != root and StackFolder(whose.root, stack).outputs_file.exists():
        raise UsageError(_of_another(stack, whose.root))
    ours = ssh_config.host_name(stack)
    workers = tuple(pattern.removesuffix("*") for pattern in ssh_config.worker_patterns(stack))
    taken = [
        f"{file}, line {line}: Host {name}"
        for file, line, name in user_hosts(folder, folder.config, set())
        if name == ours or name.startswith(workers)
    ]
    if taken:
        places = "\n".join(f"  {place}" for place in taken)
        raise UsageError(
            f"Your SSH configuration has this host already. Rename or remove it; nothing was written.\n{places}"
        )


def _of_another(stack: str, root: Path) -> str:
    return (
        f"The host {ssh_config.host_name(stack)} is the stack {stack} of another checkout: {root}. Remove it there, "
        f"if you no longer use it: inv ssh-config --remove --stack {stack}"
    )
