"""A stack as a pipeline means it: made and settled by people before, and its plans kept beside its state."""

from __future__ import annotations

from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.cluster import Cluster
from sweepfleet.fleet.stack.pulumi_cli import settings_of
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.settings import KEYS, Settings
from sweepfleet.pipeline.store import Plans, place_of

GITOPS = "docs/gitops.md"


def settled(cluster: Cluster) -> Settings:
    """The stack's settings, all of which somebody has made: a pipeline chooses none and writes none.

    Raises:
        UsageError: there is no such stack, or the settings cannot be used; with the commands for a laptop.
    """
    if not cluster.pulumi.has_stack(cluster.stack):
        raise UsageError(
            f"There is no stack {cluster.stack} where Pulumi keeps its state ({cluster.pulumi.backend()}). Make it "
            f"from a laptop, once: {GITOPS} says how."
        )
    config = cluster.pulumi.config(cluster.stack)
    file = f"Pulumi.{cluster.stack.rpartition('/')[2]}.yaml"
    key = settings_of(config).get("sshPublicKey", str(KEYS["sshPublicKey"].default))
    if " " not in key.strip():
        raise UsageError(
            f"stack {cluster.stack}: sshPublicKey is the path of a file ({key}), which only a laptop has. There: "
            f'pulumi config set --stack {cluster.stack} sshPublicKey "$(cat {key})", and commit {file}.'
        )
    try:
        return stacks.checked(config, stack=cluster.stack)
    except UsageError as error:
        raise UsageError(
            f"{error}\nA pipeline sets nothing by itself. Run these commands on a laptop, with --stack "
            f"{cluster.stack} (or inv up, which chooses what nobody has set), and commit {file}."
        ) from None


def plans_of(cluster: Cluster) -> Plans:
    """Where the stack's plans are kept. Raises ClusterError: the backend is none that has a place for them."""
    place = place_of(cluster.pulumi.backend(), root=cluster.root)
    return Plans(place, cluster.name)
