"""A cluster's life: made or changed, looked at, taken down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError, LeakedError, StoppedError
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack import deleted
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.awake import head_state, with_address
from sweepfleet.fleet.stack.boundary import require_boundary, require_own_path
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.gone import require_head
from sweepfleet.fleet.stack.locks import LockedError, removed
from sweepfleet.fleet.stack.own_address import CHECKIP_URL
from sweepfleet.fleet.stack.passphrase import unlock
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.pulumi_state import DATA_VOLUME, HEAD, Resource
from sweepfleet.fleet.stack.remains import leaked_beside, leaks, remains
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import RENEW_HEAD
from sweepfleet.infra.outputs import Outputs


@dataclass(frozen=True, slots=True)
class Stack:
    """What Pulumi declares and keeps the state of, up or not, from one checkout."""

    root: Path
    full_name: str  # as Pulumi has it: with the organisation and the project, where it keeps them
    pulumi: PulumiCli
    say: Callable[[str], None]

    @property
    def name(self) -> str:
        """The stack's own name, without what Pulumi's service puts before it."""
        return self.full_name.rpartition("/")[2]

    @property
    def settings(self) -> Path:
        """The file of its settings, which somebody may have made before the stack."""
        return stacks.settings_file(self.root, self.full_name)

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
        if not self.pulumi.has_stack(self.full_name):
            self.pulumi.create_stack(self.full_name)
        resources = self.pulumi.resources(self.full_name)
        config = self.pulumi.config(self.full_name)
        made = stacks.choices(config, stands_in=stacks.stands_in(resources), address_url=address_url)
        mended = stacks.with_choices(config, made)
        settings = stacks.checked(mended, stack=self.full_name)
        cloud = stacks.cloud_of(mended)
        self.heal(cloud, resources)
        require_boundary(cloud, settings)
        if RENEW_HEAD not in self.pulumi.environment:
            require_own_path(self.ours(), stack=self.full_name)
        for choice in made:
            self.pulumi.set_config(self.full_name, choice.path, choice.value)
            self.say(f"Set {choice.path} to {choice.value}: {choice.why}.")
        if not resources and mended[stacks.REGION] == config.get(stacks.REGION):
            self.say(f"Region {mended[stacks.REGION]}, from the stack's settings.")
        with self.counting():
            settled = self.settle()
            self.without_stale_lock(lambda: self.pulumi.up(self.full_name, yes=yes))
            with self.step("Reading the outputs of the stack"):
                outputs = self.refresh()
            self.give_address(cloud, outputs)
        if settled:
            self.look_for_leaks(())
        return outputs

    def config(self) -> dict[str, str]:
        """The stack's configuration; its region is where it stands when its settings name none."""
        config = self.pulumi.config(self.full_name)
        if not config.get(stacks.REGION) and (region := stacks.stands_in(self.pulumi.resources(self.full_name))):
            config[stacks.REGION] = region
        return config

    def unlocked(self, ask: Callable[[str], str] | None, *, makes: bool) -> Stack:
        """The same with what Pulumi needs to change the stack: the passphrase of its secrets, where it has one.

        Args:
            ask: asks on the terminal without showing what is typed; None: nobody is there.
            makes: the stack is to be made where there is none; otherwise it is left to the command to say so.

        Raises:
            UsageError, ClusterError: as `passphrase.unlock`.
        """
        self.pulumi.require()
        if not makes and not self.pulumi.has_stack(self.full_name):
            return self
        return replace(self, pulumi=unlock(self.pulumi, self.full_name, settings=self.settings, ask=ask))

    def lost(self, cloud: Cloud, resources: list[Resource]) -> list[deleted.Deleted]:
        """What AWS no longer has; nothing where AWS does not let one look, which is said.

        Raises:
            ClusterError: the credentials are another account's.
        """
        deleted.require_same_account(cloud, resources, stack=self.full_name)
        try:
            return deleted.missing(cloud, resources)
        except ClusterError as error:
            self.say(f"{error} Whether something was deleted outside Pulumi is unknown.")
            return []

    def heal(self, cloud: Cloud, resources: list[Resource]) -> None:
        """Say what AWS no longer has, and remove it from the state; `up` makes it again.

        Raises:
            ClusterError: as `deleted_outside`.
        """
        if lost := self.deleted_outside(cloud, resources):
            self.remove_from_state(cloud, lost)

    def deleted_outside(self, cloud: Cloud, resources: list[Resource]) -> list[deleted.Deleted]:
        """What AWS no longer has, which is said; changes nothing.

        Raises:
            ClusterError: the credentials are another account's, or the head has to be made again, too.
        """
        if not resources:
            return []
        with self.step("Looking in AWS for what was deleted outside Pulumi"):
            lost = self.lost(cloud, resources)
        if not lost:
            return []
        self.say(f"Deleted outside Pulumi: {', '.join(map(str, lost))}.")
        names = {one.resource.type for one in lost}
        if names & deleted.IN_BOOT_TEXT and HEAD not in names and RENEW_HEAD not in self.pulumi.environment:
            volume = " The runs on the data volume and their ledgers are lost." if DATA_VOLUME in names else ""
            raise ClusterError(
                f"The head works with these resources alone and cannot use new ones.{volume} Nothing was "
                f"changed. To make them and the head again: inv up --renew-head --stack {self.full_name}. To take "
                f"down the rest: inv down --stack {self.full_name}"
            )
        return lost

    def remove_from_state(self, cloud: Cloud, lost: list[deleted.Deleted]) -> None:
        """Have Pulumi see that this is gone."""
        if any(one.resource.type == HEAD for one in lost):
            with self.step("Waiting until the head is terminated"):
                deleted.wait_until_terminated(cloud, lost)
        self.without_stale_lock(lambda: self.pulumi.refresh(self.full_name))

    def preview(self) -> None:
        """Show what `up` would do; changes nothing."""
        self.require_stack()
        config, resources = self.pulumi.config(self.full_name), self.pulumi.resources(self.full_name)
        if region := stacks.region_choice(config, stands_in=stacks.stands_in(resources)):
            raise UsageError(
                f"stack {self.full_name}: {region.path} is not set. inv up sets it to {region.value}, {region.why}. "
                f"inv preview changes nothing, so set it first: pulumi config set --stack {self.full_name} "
                f"{region.path} {region.value}"
            )
        stacks.checked(config, stack=self.full_name)
        if lost := self.lost(stacks.cloud_of(config), resources):
            self.say(
                f"Deleted outside Pulumi: {', '.join(map(str, lost))}. inv up makes it again, or says which "
                "command does."
            )
        self.pulumi.preview(self.full_name)

    def refresh(self) -> Outputs:
        """Ask Pulumi for the outputs, and keep them."""
        self.require_stack()
        if not any(one.type == HEAD for one in self.pulumi.resources(self.full_name)):
            raise ClusterError(f"The stack {self.full_name} is not up. Make it: inv up --stack {self.full_name}")
        outputs = self.pulumi.outputs(self.full_name)
        self.folder.keep(outputs)
        return outputs

    def give_address(self, cloud: Cloud, outputs: Outputs) -> None:
        """Be sure that a head that is awake has an address. Raises ClusterError: AWS gives it none."""
        try:
            state = head_state(cloud, outputs.head_id)
        except ClusterError:  # whoever connects to it will say so
            return
        if state.word == "running" and not state.public_ip and outputs.head_address == "changes":
            with self.step("Waiting for the head's public address"):
                with_address(cloud, outputs, state)

    def live(self, outputs: Outputs) -> Outputs:
        """The outputs with the head's address of now, where it changes; as they are where AWS cannot be asked."""
        if outputs.head_address != "changes":
            return outputs
        try:
            state = head_state(Cloud(outputs.region, endpoint_url=outputs.endpoint_url), outputs.head_id)
        except ClusterError:
            return outputs
        return state.reached(outputs)

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
        known = None if self.pulumi.has_stack(self.full_name) else self.folder.outputs()
        if known is not None:
            cloud = Cloud(known.region, endpoint_url=known.endpoint_url)
            if deleted.has_head(cloud, known.head_id):
                raise ClusterError(
                    f"Pulumi has no stack {self.full_name} at {self.pulumi.backend()}, and AWS has its head "
                    f"{known.head_id}: its state is kept elsewhere. Log in there: pulumi login"
                )
            require_head(self.root, cloud, known)
        stacks.require_stack(self.pulumi, self.full_name)

    def look_for_leaks(self, before: Collection[str]) -> None:
        """Compare the account with the state, and with what was in the state `before`: AWS takes a while to delete.

        Raises:
            ClusterError: there is more in the account, or it cannot be asked.
        """
        with self.step("Looking in AWS for what the state does not have"):
            ids = {*before, *(one.id for one in self.ours())}
            count = leaked_beside(self.pulumi, self.full_name, self.folder, ids)
        if count:
            raise LeakedError(leaks(self.name, count))

    def settle(self) -> bool:
        """Drop from the state what Pulumi was creating when it was killed; whether there was any."""
        creating = self.pulumi.state(self.full_name).creating
        if creating:
            self.say(
                f"Pulumi was stopped while it created {', '.join(creating)}. Its state is compared with AWS "
                f"first. What AWS made all the same is not in the state. List it: inv audit --stack {self.name}"
            )
            self.without_stale_lock(lambda: self.pulumi.forget_creating(self.full_name))
        return bool(creating)

    def without_stale_lock(self, act: Callable[[], None]) -> None:
        """Do it; where a process of this machine that has ended left its lock, remove that first."""
        try:
            act()
        except LockedError as error:
            if not removed(error.locks):
                raise
            self.say(f"Removed the stale lock of {'; '.join(map(str, error.locks))}: that process has ended.")
            act()

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[Steps]:
        """Show a step within; neither another one nor Pulumi itself may have the terminal meanwhile."""
        with Steps(say=self.say) as steps:
            steps.step(text)
            yield steps

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
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
                with self.step("Counting what exists"):
                    rest = str(remains(self.pulumi, self.full_name, self.folder))
            except ClusterError as unknown:
                why = str(unknown).rstrip(".")
                rest = f"What exists of {self.name} could not be counted ({why}): inv audit --stack {self.name}"
            message = f"{stopped} {rest}"
            if isinstance(stopped, StoppedError):
                raise StoppedError(message, number=stopped.number) from None
            raise ClusterError(message) from None

    def ours(self) -> list[Resource]:
        """What the stack has in AWS."""
        return [one for one in self.pulumi.resources(self.full_name) if one.type.startswith("aws:")]


def open_stack(root: Path, *, asked: str, renew_head: bool = False, say: Callable[[str], None] = print) -> Stack:
    """The stack that a command means.

    Args:
        root: the checkout.
        asked: the stack's name as typed; empty for the selected one, or `dev`.
        renew_head: let Pulumi take up a newer image and boot text, which replaces the head.
        say: tells the user something, a line at a time.
    """
    pulumi = PulumiCli(root, {RENEW_HEAD: "1"} if renew_head else {})
    return Stack(root, stacks.chosen_stack(pulumi, asked), pulumi, say)
