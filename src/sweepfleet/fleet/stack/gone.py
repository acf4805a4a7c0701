"""A head that AWS no longer has: the stack was taken down elsewhere, or only its head was terminated."""

from __future__ import annotations

from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import NotYetError
from sweepfleet.fleet.stack.awake import HeadState, head_state
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.pulumi_state import HEAD, State
from sweepfleet.grid.wording import counted
from sweepfleet.infra.outputs import Outputs


class GoneError(NotYetError):
    """AWS has no such head any more."""


class DownError(GoneError):
    """The stack was taken down; this checkout has forgotten it now."""


def require_head(root: Path, cloud: Cloud, outputs: Outputs) -> HeadState | None:
    """Be sure that AWS has the head, awake or asleep; returns its state.

    None where AWS cannot be asked: the connection to it will tell.

    Raises:
        GoneError: it was terminated; says by what, as Pulumi's state has it, and what to type.
    """
    try:
        found = head_state(cloud, outputs.head_id)
    except ClusterError:
        return None
    if found.exists:
        return found
    head, stack = f"AWS has no head {outputs.head_id} of the stack {outputs.stack} any more", outputs.stack
    try:
        state = _recorded(PulumiCli(root), stack)
    except ClusterError as error:
        why = str(error).rstrip(".")
        raise GoneError(
            f"{head}. Whether the whole stack was taken down is unknown, since Pulumi cannot be asked ({why}). "
            f"Ask it: inv outputs --refresh --stack {stack}"
        ) from None
    if HEAD in state.in_flight:
        raise GoneError(
            f"{head}: an update of the stack deletes or replaces it, or was stopped while it did so. Wait for the "
            f"update. If none is active: inv up --stack {stack} · take all down: inv down --stack {stack}"
        )
    heads = [one.id for one in state.resources if one.type == HEAD]
    if outputs.head_id in heads:
        raise GoneError(
            f"{head}: it was terminated, and not by Pulumi. Make it again: inv up --stack {stack} · take all "
            f"down: inv down --stack {stack}"
        )
    if heads:
        raise GoneError(f"{head}: it was replaced elsewhere. Get its address: inv outputs --refresh --stack {stack}")
    StackFolder(root, stack).forget()
    ours = [one for one in state.resources if one.type.startswith("aws:") and not one.protected]
    verb = "exists" if len(ours) == 1 else "exist"
    rest = f" {counted(len(ours), 'resource')} of it still {verb}: inv down --stack {stack}." if ours else ""
    raise DownError(
        f"{head}: the stack was taken down elsewhere, and is now forgotten here.{rest} Make it again: "
        f"inv up --stack {stack} · run sweeps on this machine: inv sweep --local"
    )


def _recorded(pulumi: PulumiCli, stack: str) -> State:
    """What Pulumi's state has of the stack; nothing where there is no such stack."""
    return pulumi.state(stack) if pulumi.has_stack(stack) else State((), ())
