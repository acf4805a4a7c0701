"""What exists of a stack when a command did not complete: counted in Pulumi's state and in the account."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.stack import audit
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.grid.wording import counted


@dataclass(frozen=True, slots=True)
class Remains:
    """What exists of one stack."""

    stack: str
    recorded: int | None  # resources in Pulumi's state; None: there is no such stack
    creating: tuple[str, ...]  # what Pulumi was creating when it was stopped at once
    leaked: int | None  # resources that carry the stack's tag and are not in the state; None: unknown
    unknown: str = ""  # why

    def __str__(self) -> str:
        """Sentences for a person, and what to type."""
        if self.recorded is None:
            said = [f"There is no stack {self.stack}: nothing was made."]
        else:
            verb = "exists" if self.recorded == 1 else "exist"
            said = [f"{counted(self.recorded, 'resource')} of {self.stack} {verb}."]
        if self.creating:
            these = "it" if len(self.creating) == 1 else "these"
            said.append(f"Pulumi was stopped while it created {', '.join(self.creating)}: {these} may exist, too.")
        if self.leaked:
            said.append(leaks(self.stack, self.leaked))
        if self.unknown:
            said.append(f"AWS could not be asked what else exists ({self.unknown.rstrip('.')}): inv audit.")
        down = f", or take it down: inv down --stack {self.stack}" if self.recorded or self.creating else ""
        return " ".join([*said, f"Continue: inv up --stack {self.stack}{down}"])


def remains(pulumi: PulumiCli, stack: str, folder: StackFolder) -> Remains:
    """Count what exists of a stack.

    Raises:
        ClusterError: Pulumi cannot be asked.
    """
    if not pulumi.has_stack(stack):
        return Remains(folder.stack, None, (), None)
    state = pulumi.state(stack)
    ids = [one.id for one in state.resources if one.type.startswith("aws:")]
    try:
        leaked, unknown = leaked_beside(pulumi, stack, folder, ids), ""
    except ClusterError as error:
        leaked, unknown = None, str(error)
    return Remains(folder.stack, len(ids), state.creating, leaked, unknown)


def leaked_beside(pulumi: PulumiCli, stack: str, folder: StackFolder, ids: Collection[str]) -> int:
    """How many resources carry the stack's tag and are none of these.

    Raises:
        ClusterError: AWS cannot be asked.
    """
    config = pulumi.config(stack)
    if not config.get(stacks.REGION) and (region := stacks.stands_in(pulumi.resources(stack))):
        config[stacks.REGION] = region
    if not config.get(stacks.REGION):  # nothing was ever made
        return 0
    cloud = stacks.cloud_of(config)
    found = audit.compare(cloud, stack=folder.stack, state=set(ids), cache=folder.path / "audit-prices.json")
    return len(found.leaks)


def leaks(stack: str, count: int) -> str:
    """A sentence that says so."""
    what = "1 resource carries" if count == 1 else f"{count:,} resources carry"
    return f"In AWS, {what} the tag of {stack} without being in Pulumi's state. List: inv audit --stack {stack}."
