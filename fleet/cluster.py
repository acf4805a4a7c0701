"""A cluster's life: made or changed, looked at, taken down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fleet import bucket, deleted, workers
from fleet import stack as stacks
from fleet.boundary import require_boundary
from fleet.cloud import Cloud
from fleet.errors import ClusterError, LeakedError, NothingToDo, StoppedError
from fleet.folder import StackFolder
from fleet.gone import DownError, require_head
from fleet.locks import LockedError, removed
from fleet.own_address import CHECKIP_URL
from fleet.passphrase import unlock
from fleet.pulumi_cli import PulumiCli
from fleet.pulumi_state import BUCKET, DATA_VOLUME, GROUP, HEAD, ROLE, Resource
from fleet.remains import leaked_beside, leaks, remains
from grid.errors import UsageError
from grid.wording import counted
from infra.layout import IAM_PATH, RENEW_HEAD
from infra.outputs import Outputs


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
        return stacks.settings_file(self.root, self.stack)

    @property
    def folder(self) -> StackFolder:
        """What the checkout remembers of it."""
        return StackFolder(self.root, self.name)

    def up(self, *, yes: bool, address_url: str = CHECKIP_URL) -> Outputs:
        """Make the cluster, or bring it to its settings; Pulumi shows what it will do and asks.

        Makes the stack where there is none, chooses what nobody has set and says so, and keeps the outputs in
        `.sweepfleet/`. Settings that cannot be used are found before anything is made.
        """
        self.pulumi.require()
        if not self.pulumi.has_stack(self.stack):
            self.pulumi.create_stack(self.stack)
        resources = self.pulumi.resources(self.stack)
        config = self.pulumi.config(self.stack)
        made = stacks.choices(config, stands_in=stacks.stands_in(resources), address_url=address_url)
        mended = stacks.with_choices(config, made)
        settings = stacks.checked(mended, stack=self.stack)
        cloud = stacks.cloud_of(mended)
        self._heal(cloud, resources)
        require_boundary(cloud, settings)
        self._require_own_roles()
        for choice in made:
            self.pulumi.set_config(self.stack, choice.path, choice.value)
            self.say(f"Set {choice.path} to {choice.value}: {choice.why}.")
        if not resources and mended[stacks.REGION] == config.get(stacks.REGION):
            self.say(f"Region {mended[stacks.REGION]}, from the stack's settings.")
        with self._counted():
            settled = self._settle()
            self.without_stale_lock(lambda: self.pulumi.up(self.stack, yes=yes))
            outputs = self.refresh()
        if settled:
            self._look_for_leaks(())
        return outputs

    def config(self) -> dict[str, str]:
        """The stack's configuration; its region is where it stands when its settings name none."""
        config = self.pulumi.config(self.stack)
        if not config.get(stacks.REGION) and (region := stacks.stands_in(self.pulumi.resources(self.stack))):
            config[stacks.REGION] = region
        return config

    def unlocked(self, ask: Callable[[str], str] | None, *, makes: bool) -> Cluster:
        """The same with what Pulumi needs to change the stack: the passphrase of its secrets, where it has one.

        Args:
            ask: asks on the terminal without showing what is typed; None: nobody is there.
            makes: the stack is to be made where there is none; otherwise it is left to the command to say so.

        Raises:
            UsageError, ClusterError: as `passphrase.unlock`.
        """
        self.pulumi.require()
        if not makes and not self.pulumi.has_stack(self.stack):
            return self
        return replace(self, pulumi=unlock(self.pulumi, self.stack, settings=self.settings, ask=ask))

    def _lost(self, cloud: Cloud, resources: list[Resource]) -> list[deleted.Deleted]:
        """What AWS no longer has; nothing where AWS does not let one look, which is said.

        Raises:
            ClusterError: the credentials are another account's.
        """
        deleted.require_same_account(cloud, resources, stack=self.stack)
        try:
            return deleted.missing(cloud, resources)
        except ClusterError as error:
            self.say(f"{error} Whether something was deleted outside Pulumi is unknown.")
            return []

    def _heal(self, cloud: Cloud, resources: list[Resource]) -> None:
        """Say what AWS no longer has, and remove it from the state; `up` makes it again.

        Raises:
            ClusterError: the credentials are another account's, or the head has to be made again, too.
        """
        lost = self._lost(cloud, resources)
        if not lost:
            return
        self.say(f"Deleted outside Pulumi: {', '.join(map(str, lost))}.")
        names = {one.resource.type for one in lost}
        if names & deleted.IN_BOOT_TEXT and HEAD not in names and RENEW_HEAD not in self.pulumi.environment:
            volume = " The runs on the data volume and their ledgers are lost." if DATA_VOLUME in names else ""
            raise ClusterError(
                f"The head was set up with what is gone and cannot use another.{volume} Nothing was changed. To make "
                f"it and the head again: inv up --renew-head --stack {self.stack}. To take down what is left: "
                f"inv down --stack {self.stack}"
            )
        deleted.wait_until_terminated(cloud, lost)
        self.without_stale_lock(lambda: self.pulumi.refresh(self.stack))

    def preview(self) -> None:
        """Show what `up` would do; changes nothing."""
        self.require_stack()
        config, resources = self.pulumi.config(self.stack), self.pulumi.resources(self.stack)
        if region := stacks.region_choice(config, stands_in=stacks.stands_in(resources)):
            raise UsageError(
                f"stack {self.stack}: {region.path} is not set. inv up sets it to {region.value}, {region.why}. "
                f"inv preview changes nothing; set it: pulumi config set --stack {self.stack} {region.path} "
                f"{region.value}"
            )
        stacks.checked(config, stack=self.stack)
        if lost := self._lost(stacks.cloud_of(config), resources):
            self.say(
                f"Deleted outside Pulumi: {', '.join(map(str, lost))}. inv up makes it again, or says what to type."
            )
        self.pulumi.preview(self.stack)

    def refresh(self) -> Outputs:
        """Ask Pulumi for the outputs, and keep them."""
        self.require_stack()
        if not any(one.type == HEAD for one in self.pulumi.resources(self.stack)):
            raise ClusterError(f"The stack {self.stack} is not up. Make it: inv up --stack {self.stack}")
        outputs = self.pulumi.outputs(self.stack)
        self.folder.keep(outputs)
        return outputs

    def outputs(self) -> Outputs:
        """The outputs: as remembered, else from Pulumi."""
        return self.folder.outputs() or self.refresh()

    def require_stack(self) -> None:
        """Be sure that Pulumi has the stack.

        Raises:
            DownError: this checkout knows it as up, and it was taken down and removed elsewhere.
            ClusterError: AWS has its head, and Pulumi has no such stack where it is logged in; or AWS refuses.
            UsageError: nobody knows it.
        """
        known = None if self.pulumi.has_stack(self.stack) else self.folder.outputs()
        if known is not None:
            cloud = Cloud(known.region, endpoint_url=known.endpoint_url)
            if deleted.has_head(cloud, known.head_id):
                raise ClusterError(
                    f"Pulumi has no stack {self.stack} at {self.pulumi.backend()}, and AWS has its head "
                    f"{known.head_id}: its state is kept elsewhere. Log in there: pulumi login"
                )
            require_head(self.root, cloud, known)
        stacks.require_stack(self.pulumi, self.stack)

    def losses(self, *, purge: bool) -> list[str]:
        """What taking the cluster down would lose and what it would keep, a line each; changes nothing.

        Raises:
            NothingToDo: nothing is left that this could take down.
        """
        try:
            self.require_stack()
        except DownError as error:
            raise NothingToDo(str(error)) from None
        state = self.pulumi.state(self.stack)
        ours = [one for one in state.resources if one.type.startswith("aws:")]
        going = [one for one in ours if purge or not one.protected or one.type == DATA_VOLUME]
        if not going and not purge and not state.creating:
            self.folder.forget()
            self._look_for_leaks(())
            raise NothingToDo(f"The stack {self.stack} is down already.")
        if not self._ours():
            return [f"Removing the stack {self.stack} and its history; nothing of it is left in AWS."]
        cloud = stacks.cloud_of(self.config())
        lost = self._lost(cloud, self._ours())
        lines = [f"Taking down {self.stack}: {counted(len(going), 'resource')} in {cloud.region}."]
        if lost:
            lines.append(f"  already deleted outside Pulumi: {', '.join(map(str, lost))}")
        for one in ours:
            if one in [each.resource for each in lost]:
                continue
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
            lines.append(f"  lost: the stack {self.stack} and its history; {self.settings.name} stays")
        return lines

    def down(self, *, purge: bool) -> None:
        """Destroy the cluster without asking: all but the bucket, or with `purge` that and the stack too.

        Each step can be given again: what is gone already is passed over.
        """
        self.require_stack()
        with self._counted():
            self._settle()
            before = [one.id for one in self._ours()]
            if resources := self.pulumi.resources(self.stack):
                cloud = stacks.cloud_of(self.config())
                if lost := self._lost(cloud, resources):
                    deleted.wait_until_terminated(cloud, lost)
                    self.without_stale_lock(lambda: self.pulumi.refresh(self.stack))
            for one in self.pulumi.resources(self.stack):
                if one.type == DATA_VOLUME and one.protected:
                    self.pulumi.unprotect(self.stack, one.urn)
            self.without_stale_lock(lambda: self.pulumi.destroy(self.stack, keep_protected=True))
            self._require_gone([one for one in self._ours() if not one.protected])
            self.folder.forget()
            if purge:
                self._purge(before)
            else:
                self._look_for_leaks(before)
                self.say(f"The stack {self.name} is down.{self._kept()}")

    def _purge(self, before: list[str]) -> None:
        kept = self.pulumi.resources(self.stack)
        for one in kept:
            if one.type == BUCKET and bucket.contents(cloud := stacks.cloud_of(self.config()), one.id) is not None:
                self.say(f"Deleted {counted(bucket.empty(cloud, one.id), 'object version')} in {one.id}.")
        for one in kept:
            if one.protected:
                self.pulumi.unprotect(self.stack, one.urn)
        self.without_stale_lock(lambda: self.pulumi.destroy(self.stack, keep_protected=False))
        self._require_gone(self._ours())
        self._look_for_leaks(before)  # while there is a stack whose audit can be asked for
        self.without_stale_lock(lambda: self.pulumi.remove_stack(self.stack))
        self.say(f"The stack {self.name} is down, and nothing is kept of it.")

    def _kept(self) -> str:
        kept = [one.id for one in self._ours() if one.type == BUCKET]
        return f" Kept: the bucket {kept[0]}. Delete it, too: inv down --purge --stack {self.name}" if kept else ""

    def _require_gone(self, left: list[Resource]) -> None:
        if left:
            names = ", ".join(one.name for one in left[:5]) + (", ..." if len(left) > 5 else "")
            raise ClusterError(f"Pulumi completed, and its state still has {names}.")

    def _look_for_leaks(self, before: Collection[str]) -> None:
        """Compare the account with the state, and with what was in the state `before`: AWS takes a while to delete.

        Raises:
            ClusterError: there is more in the account, or it cannot be asked.
        """
        ids = {*before, *(one.id for one in self._ours())}
        count = leaked_beside(self.pulumi, self.stack, self.folder, ids)
        if count:
            raise LeakedError(leaks(self.name, count))

    def _settle(self) -> bool:
        """Drop from the state what Pulumi was creating when it was killed; whether there was any."""
        creating = self.pulumi.state(self.stack).creating
        if creating:
            self.say(
                f"Pulumi was stopped while it created {', '.join(creating)}. Its state is compared with AWS first. "
                f"What AWS made nevertheless is not in it: inv audit --stack {self.name}"
            )
            self.without_stale_lock(lambda: self.pulumi.forget_creating(self.stack))
        return bool(creating)

    def without_stale_lock(self, act: Callable[[], None]) -> None:
        """Do it; where a process of this machine that has ended left its lock, remove that first."""
        try:
            act()
        except LockedError as error:
            if not removed(error.locks):
                raise
            self.say(f"Removed the lock of {'; '.join(map(str, error.locks))}: no such process runs any more.")
            act()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """What breaks off within says what exists then.

        Raises:
            StoppedError: it was interrupted.
            ClusterError: it failed.
        """
        try:
            yield
        except (LockedError, LeakedError, UsageError):  # nothing was changed, or it is said already
            raise
        except (ClusterError, KeyboardInterrupt) as error:
            stopped = StoppedError("Interrupted.") if isinstance(error, KeyboardInterrupt) else error
            try:
                rest = str(remains(self.pulumi, self.stack, self.folder))
            except ClusterError as unknown:
                why = str(unknown).rstrip(".")
                rest = f"What exists of {self.name} could not be counted ({why}): inv audit --stack {self.name}"
            message = f"{stopped} {rest}"
            if isinstance(stopped, StoppedError):
                raise StoppedError(message, number=stopped.number) from None
            raise ClusterError(message) from None

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
