"""A stack as a pipeline means it: made and settled by people before, and its plans kept beside its state."""

from __future__ import annotations

from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.pulumi_cli import settings_of
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.settings import KEYS, Settings
from sweepfleet.pipeline.store import Plans, place_of

GITOPS = "docs/gitops.md"


def settled(stack: Stack) -> Settings:
    """The stack's settings, all of which somebody has made: a pipeline chooses none and writes none.

    Raises:
        UsageError: there is no such stack, or the settings cannot be used; with the commands for a laptop.
    """
    if not stack.pulumi.has_stack(stack.full_name):
        raise UsageError(
            f"There is no stack {stack.full_name} where Pulumi keeps its state ({stack.pulumi.backend()}). Make it "
            f"from a laptop, once: {GITOPS} says how."
        )
    config = stack.pulumi.config(stack.full_name)
    file = f"Pulumi.{stack.full_name.rpartition('/')[2]}.yaml"
    key = settings_of(config).get("sshPublicKey", str(KEYS["sshPublicKey"].default))
    if " " not in key.strip():
        raise UsageError(
            f"stack {stack.full_name}: sshPublicKey is the path of a file ({key}), which only a laptop has. There: "
            f'pulumi config set --stack {stack.full_name} sshPublicKey "$(cat {key})", and commit {file}.'
        )
    try:
        return stacks.checked(config, stack=stack.full_name)
    except UsageError as error:
        raise UsageError(
            f"{error}\nA pipeline sets nothing by itself. Run these commands on a laptop, with --stack "
            f"{stack.full_name} (or inv up, which sets what is missing), and commit {file}."
        ) from None


def plans_of(stack: Stack) -> Plans:
    """Where the stack's plans are kept. Raises ClusterError: the backend is none that has a place for them."""
    place = place_of(stack.pulumi.backend(), root=stack.root)
    return Plans(place, stack.name)
