"""A cluster that is up, as the commands that run sweeps on it need it: outputs, AWS, and the way to the head."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sweepfleet.fleet.code.push import Pushed, current_release
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach import console, remote
from sweepfleet.fleet.reach.bucket import get_json
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import NoKeyError, NotYetError
from sweepfleet.fleet.stack.awake import AsleepError, HeadState, head_state, wake
from sweepfleet.fleet.stack.folder import StackFolder, stacks_up
from sweepfleet.fleet.stack.gone import require_head
from sweepfleet.fleet.workers.group import Worker, group
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.facts import GOING_TO_SLEEP, KEYS

RETRY_S = 2.0
WAKE_S = 600.0  # for a head that was woken to answer


def _asleep(state: HeadState) -> AsleepError:
    """That the head is asleep; one that EC2 has as running has said itself that it goes."""
    seen = state if state.is_asleep else replace(state, word="stopping")
    return AsleepError(f"{seen.line(datetime.now(UTC))}. Wake it: inv ssh. A sweep wakes it, too: inv sweep")


def _stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class NotUpError(UsageError):
    """This checkout remembers no such stack as up; Pulumi and AWS were not asked."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A cluster that is up: its outputs, AWS, and the way to its machines, from this checkout."""

    root: Path
    outputs: Outputs
    cloud: Cloud

    @property
    def folder(self) -> StackFolder:
        """What the checkout remembers of the stack."""
        return StackFolder(self.root, self.outputs.stack)

    def state(self) -> HeadState:
        """The head's state by EC2, and its address now. Raises ClusterError: AWS refuses."""
        return head_state(self.cloud, self.outputs.head_id)

    def require_head(self) -> HeadState | None:
        """Be sure that AWS has the head, awake or asleep; returns its state, None where AWS cannot be asked.

        Raises:
            GoneError: it has none any more; says why and what to type.
        """
        return require_head(self.root, self.cloud, self.outputs)

    def woken(self, *, say: Callable[[str], None] = _stderr) -> Outputs:
        """The outputs with the head's address of now. A head that is asleep is woken until it answers, which is said.

        Raises:
            GoneError: AWS has none any more.
            ClusterError: it does not start, or does not answer then.
        """
        state = self.require_head()
        if state is not None and state.is_asleep:
            with contextlib.ExitStack() as stack:
                self._open(stack, state, patience_s=0, say=say)
            state = self.state()
        return self.outputs if state is None else state.reached(self.outputs)

    @contextlib.contextmanager
    def head(self, *, patience_s: float = 0, say: Callable[[str], None] = _stderr) -> Iterator[remote.Host]:
        """An open connection to the head; see `fleet.reach.remote.head`. A head that is asleep is woken.

        Args:
            patience_s: for a head that has just been made, and does not answer yet.
            say: tells the user so, once.

        Raises:
            GoneError: AWS has none any more.
            ClusterError: it cannot be had, with the last lines of its console when its boot did not come so far.
        """
        with contextlib.ExitStack() as stack:
            yield self._open(stack, self.require_head(), patience_s=patience_s, say=say)

    @contextlib.contextmanager
    def awake_head(self) -> Iterator[remote.Host]:
        """The same, without waking it: for what only looks.

        Raises:
            AsleepError: the head is asleep, or goes to sleep.
            ClusterError: as of `head`.
        """
        state = self.require_head()
        if state is not None and state.is_asleep:
            raise _asleep(state)
        with contextlib.ExitStack() as stack:
            opening = remote.head(self.cloud, self.outputs if state is None else state.reached(self.outputs))
            try:
                host = stack.enter_context(opening)
            except ClusterError as error:
                state = self._state_after(state)
                if state is not None and (state.is_asleep or self._is_between()):
                    raise _asleep(state) from None
                raise self._with_console(error) from None
            yield host

    def _open(
        self,
        stack: contextlib.ExitStack,
        state: HeadState | None,
        *,
        patience_s: float,
        say: Callable[[str], None],
    ) -> remote.Host:
        """Connect, as often as the patience allows; wake the head first where it is asleep, or falls asleep now."""
        waits = False
        began_s = time.monotonic()
        end_s = began_s + patience_s
        while True:
            if state is not None and state.is_asleep:
                state = wake(self.cloud, self.outputs, state, say=say)
                end_s, patience_s = max(end_s, time.monotonic() + WAKE_S), max(patience_s, WAKE_S)
            opening = remote.head(self.cloud, self.outputs if state is None else state.reached(self.outputs))
            try:
                return stack.enter_context(opening)
            except ClusterError as error:
                state = self._state_after(state)
                if state is not None and state.is_asleep:
                    continue
                if self._is_between():
                    end_s, patience_s = max(end_s, began_s + WAKE_S), max(patience_s, WAKE_S)
                elif not isinstance(error, NotYetError):
                    raise
                if time.monotonic() > end_s:
                    raise self._with_console(error) from None
                if not waits:
                    say(f"Waiting for the head, {patience_s:.0f} s at most. {error}")
                    waits = True
                time.sleep(RETRY_S)

    def _is_between(self) -> bool:
        """Whether the head said that it goes to sleep, and not yet that it is up: it lets nobody in."""
        try:
            said = get_json(self.cloud, self.outputs.bucket, KEYS.head, doing="read what the head said last")
        except ClusterError:
            return False
        return said is not None and said.get("state") == GOING_TO_SLEEP

    def _state_after(self, state: HeadState | None) -> HeadState | None:
        """The head's state after a failed connection: its address may be another by now. As before if unknown."""
        if state is None:
            return None
        try:
            return self.state()
        except ClusterError:
            return state

    @contextlib.contextmanager
    def worker(self, found: Worker) -> Iterator[remote.Host]:
        """An open connection to a worker, through the head; errors as of `head`."""
        with contextlib.ExitStack() as stack:
            outputs = self.woken()
            opening = remote.worker(self.cloud, outputs, instance_id=found.instance_id, address=found.private_ip)
            try:
                host = stack.enter_context(opening)
            except NotYetError as error:
                raise self._with_console(error, found.instance_id) from None
            yield host

    def _with_console(self, error: ClusterError, instance_id: str = "") -> ClusterError:
        """The same error, with the machine's console where its boot has not come to its host key; else the head's."""
        if not isinstance(error, NoKeyError):
            return error
        return NotYetError(f"{error}\n{console.last_lines(self.cloud, instance_id or self.outputs.head_id)}")

    def find_worker(self, instance_id: str) -> Worker:
        """The worker whose instance id begins so.

        Raises:
            UsageError: there is none, or more than one.
        """
        self.require_head()
        workers = group(self.cloud, self.outputs).workers
        found = [one for one in workers if one.instance_id.startswith(instance_id)]
        if len(found) != 1:
            known = ", ".join(one.instance_id for one in workers) or "none now"
            seen = f"{len(found)} workers have" if found else "No worker has"
            raise UsageError(f"{seen} an id that begins with {instance_id!r}. The workers: {known}")
        return found[0]

    def release(self) -> Pushed:
        """The release that the cluster runs.

        Raises:
            UsageError: nothing was pushed yet.
        """
        try:
            found = current_release(self.cloud, self.outputs)
        except ClusterError:
            self.require_head()  # taken down with its bucket
            raise
        if found is None:
            raise UsageError("The cluster has no code yet. Push it: inv push")
        return found


def open_fleet(root: Path, *, asked: str, profile: str | None = None) -> Fleet:
    """The cluster that a command means: the one asked for, else the one that is up.

    Raises:
        NotUpError: none is up, as far as this checkout knows.
        UsageError: more than one is.
        ClusterError: its remembered outputs cannot be used.
    """
    up = stacks_up(root)
    if not asked and len(up) > 1:
        raise UsageError(f"More than one stack is up: {', '.join(up)}. Say which: --stack {up[0]}")
    if asked not in up and (asked or not up):
        what = f"stack {asked}" if asked else "stack"
        raise NotUpError(
            f"This checkout knows of no {what} that is up. Make it: inv up. Where somebody else made it: "
            f"inv outputs --refresh{f' --stack {asked}' if asked else ''}"
        )
    outputs = StackFolder(root, asked or up[0]).outputs()
    if outputs is None:
        raise UsageError(f"The stack {asked or up[0]} is not up any more. Make it: inv up")
    return Fleet(root, outputs, Cloud(outputs.region, profile=profile, endpoint_url=outputs.endpoint_url))
