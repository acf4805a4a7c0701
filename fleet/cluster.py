"""A cluster's life: made or changed, looked at, taken down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet import bucket, workers
from fleet import stack as stacks
from fleet.boundary import require_boundary
from fleet.errors import ClusterError, NothingToDo
from fleet.folder import StackFolder
from fleet.own_address import CHECKIP_URL
from fleet.pulumi_cli import PulumiCli, Resource
from grid.errors import UsageError
from grid.wording import counted
from infra.layout import IAM_PATH, RENEW_HEAD
from infra.outputs import Outputs

HEAD = "aws:ec2/instance:Instance"
DATA_VOLUME = "aws:ebs/volume:Volume"
BUCKET = "aws:s3/bucket:Bucket"
GROUP = "aws:autoscaling/group:Group"
ROLE = "aws:iam/role:Role"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One stack of one checkout."""

    root: Path
    stack: str
    pulumi: PulumiCli
    say: Callable[[str], None]

    @property
    def name(self) -> str:
        """The stack's own name, without what Pulumi's service puts before it."""
        return self.stack.rpartition("/")[2]

    @property
    def settings(self) -> Path:
        """The file of its settings, which somebody may have made before the stack."""
        return self.root / f"Pulumi.{self.name}.yaml"

    @property
    def folder(self) -> StackFolder:
        """What the checkout remembers of it."""
        return StackFolder(self.root, self.name)

    def up(self, *, yes: bool, address_url: str = CHECKIP_URL) -> Outputs:
        """Make the cluster, or bring it to its settings; Pulumi shows what it will do and asks.

        Makes the stack where there is none, chooses what nobody has set and says so, and keeps the outputs in
        `.sweepfleet/`. Settings that cannot be used are found before anything is made.
        """
        self.pulumi.version()
        new = not self.pulumi.has_stack(self.stack)
        if new:
            self.pulumi.create_stack(self.stack)
        config = self.pulumi.config(self.stack)
        made = stacks.choices(config, new=new and not stacks.names_region(self.settings), address_url=address_url)
        mended = stacks.with_choices(config, made)
        settings = stacks.checked(mended, stack=self.stack)
        require_boundary(stacks.cloud_of(mended), settings)
        self._require_own_roles()
        for choice in made:
            self.pulumi.set_config(self.stack, choice.path, choice.value)
            self.say(f"Set {choice.path} to {choice.value}: {choice.why}.")
        self.pulumi.up(self.stack, yes=yes)
        return self.refresh()

    def preview(self) -> None:
        """Show what `up` would do; changes nothing."""
        stacks.require_stack(self.pulumi, self.stack)
        stacks.checked(self.pulumi.config(self.stack), stack=self.stack)
        self.pulumi.preview(self.stack)

    def refresh(self) -> Outputs:
        """Ask Pulumi for the outputs, and keep them."""
        stacks.require_stack(self.pulumi, self.stack)
        if not any(one.type == HEAD for one in self.pulumi.resources(self.stack)):
            raise ClusterError(f"The stack {self.stack} is not up. Make it: inv up --stack {self.stack}")
        outputs = self.pulumi.outputs(self.stack)
        self.folder.keep(outputs)
        return outputs

    def outputs(self) -> Outputs:
        """The outputs: as remembered, else from Pulumi."""
        return self.folder.outputs() or self.refresh()

    def losses(self, *, purge: bool) -> list[str]:
        """What taking the cluster down would lose and what it would keep, a line each; changes nothing.

        Raises:
            NothingToDo: nothing is left that this could take down.
        """
        stacks.require_stack(self.pulumi, self.stack)
        going = [one for one in self._ours() if purge or not one.protected or one.type == DATA_VOLUME]
        cloud = stacks.cloud_of(self.pulumi.config(self.stack))
        if not going and not purge:
            raise NothingToDo(f"The stack {self.stack} is down already.")
        lines = [f"Taking down {self.stack}: {counted(len(going), 'resource')} in {cloud.region}."]
        for one in self._ours():
            at_work = workers.members(cloud, one.id) if one.type == GROUP else 0
            if at_work:
                lines.append(f"  stopped: {counted(at_work, 'worker')}, and the runs that use them: inv status")
            if one.type == DATA_VOLUME:
                lines.append(f"  lost: the data volume {one.id}, with the ledgers of all runs, and runs that go on")
            inside = bucket.contents(cloud, one.id) if one.type == BUCKET else None
            if inside is not None:
                fate = "lost" if purge else "kept"
                rest = "" if purge else " (inv up uses it again; inv down --purge deletes it)"
                lines.append(f"  {fate}: the bucket {one.id} with {inside}{rest}")
        if purge:
            lines.append(f"  lost: the stack {self.stack} and its history; Pulumi.{self.stack}.yaml stays")
        return lines

    def down(self, *, purge: bool) -> None:
        """Destroy the cluster without asking: all but the bucket, or with `purge` that and the stack too.

        Each step can be given again: what is gone already is passed over.
        """
        stacks.require_stack(self.pulumi, self.stack)
        for one in self.pulumi.resources(self.stack):
            if one.type == DATA_VOLUME and one.protected:
                self.pulumi.unprotect(self.stack, one.urn)
        self.pulumi.destroy(self.stack, keep_protected=True)
        self.folder.forget()
        if purge:
            self._purge()

    def _purge(self) -> None:
        cloud = stacks.cloud_of(self.pulumi.config(self.stack))
        kept = self.pulumi.resources(self.stack)
        for one in kept:
            if one.type == BUCKET and bucket.contents(cloud, one.id) is not None:
                self.say(f"Deleted {counted(bucket.empty(cloud, one.id), 'object version')} in {one.id}.")
        for one in kept:
            if one.protected:
                self.pulumi.unprotect(self.stack, one.urn)
        self.pulumi.destroy(self.stack, keep_protected=False)
        self.pulumi.remove_stack(self.stack)

    def _require_own_roles(self) -> None:
        """Be sure that the machines' roles are where this version has them, or are replaced with the head.

        Another path makes another role, and a head that was told of the first would be a stranger in its bucket.
        """
        old = [one for one in self._ours() if one.type == ROLE and f":role{IAM_PATH}" not in one.arn]
        if old and RENEW_HEAD not in self.pulumi.environment:
            raise UsageError(
                f"An older version made the machines' roles of {self.stack} outside the path {IAM_PATH}. They can "
                "only be replaced together with the head, which stops runs until they are resumed. As an "
                f"administrator: inv up --renew-head --stack {self.stack}"
            )

    def _ours(self) -> list[Resource]:
        """What the stack has in AWS."""
        return [one for one in self.pulumi.resources(self.stack) if one.type.startswith("aws:")]


def open_cluster(root: Path, *, asked: str, renew_head: bool = False, say: Callable[[str], None] = print) -> Cluster:
    """The cluster that a command means.

    Args:
        root: the checkout.
        asked: the stack's name as typed; empty for the selected one, or `dev`.
        renew_head: let Pulumi take up a newer image and boot text, which replaces the head.
        say: tells the user something, a line at a time.
    """
    pulumi = PulumiCli(root, {RENEW_HEAD: "1"} if renew_head else {})
    return Cluster(root, stacks.chosen_stack(pulumi, asked), pulumi, say)


def confirm(question: str, *, yes: bool, ask: Callable[[str], str], interactive: bool) -> None:
    """Go on only when the user wants to.

    Raises:
        UsageError: nobody is there to be asked.
        ClusterError: the answer was no.
    """
    if yes:
        return
    if not interactive:
        raise UsageError("Nobody can be asked here. To go on without asking, add --yes")
    if ask(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise ClusterError("Nothing was changed.")
