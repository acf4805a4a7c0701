"""What exists of a stack that this checkout does not know to be up: its `inv up` broke off, or was run elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import NotUpError
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, HEAD, Resource
from sweepfleet.fleet.stack.remains import remains
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.wording import counted
from sweepfleet.infra.outputs import Outputs


def explained(error: NotUpError, open_it: Callable[[], Stack]) -> SweepfleetError:
    """The same error with what Pulumi's state and AWS have of the stack, and what to type; changes nothing.

    Args:
        error: that a command ends with.
        open_it: opens the stack that is meant, which asks Pulumi.
    """
    try:
        stack = open_it()
        name = stack.name
        with stack.step(f"Asking Pulumi and AWS what exists of {name}"):
            found = remains(stack.pulumi, stack.full_name, stack.folder)
            ours = stack.ours() if found.recorded else []
            outputs = _outputs(stack, ours)
    except ClusterError as unknown:
        return UsageError(f"{error} What exists is unknown: {unknown}")
    if outputs is not None and not found.creating:
        return UsageError(
            f"The stack {name} is up in {outputs.region}, and its {counted(len(ours), 'resource')} cost money; this "
            f"checkout does not have its outputs. Get them: inv outputs --refresh --stack {name}. Take it down: "
            f"inv down --stack {name}"
        )
    buckets = [one.id for one in ours if one.type == BUCKET]
    stands = any(not one.protected or one.type == DATA_VOLUME for one in ours)  # the bucket's guards are, too
    if found.creating or found.leaked or stands:
        return ClusterError(
            f"The stack {name} is not complete: its last update broke off, or is active now. What exists costs "
            f"money. {found}"
        )
    if buckets:
        return UsageError(
            f"The stack {name} is down, and its bucket {buckets[0]} is kept. Make it again: inv up --stack {name}. "
            f"Delete the bucket, too: inv down --purge --stack {name}"
        )
    if found.unknown:
        return UsageError(f"{error} What exists of {name} in AWS is unknown: {found.unknown}")
    return error


def _outputs(stack: Stack, ours: list[Resource]) -> Outputs | None:
    """The stack's outputs, if they are of the head that it has: Pulumi keeps those of a stack that was taken down."""
    heads = [one.id for one in ours if one.type == HEAD]
    if not heads:
        return None
    try:
        found = stack.pulumi.outputs(stack.full_name)
    except ClusterError:
        return None
    return found if found.head_id in heads else None
