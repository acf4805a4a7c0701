"""The release that a sweep runs, agreed with whoever starts it: this checkout's, or the cluster's as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sweepfleet.fleet.code.push import Pushed, current_release, new, push, replaced
from sweepfleet.fleet.code.pusher import pusher
from sweepfleet.fleet.code.release import make_release
from sweepfleet.fleet.code.same_code import difference
from sweepfleet.fleet.code.send_data import lacking, lines
from sweepfleet.fleet.errors import NothingToDo
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep

EDITED = "The grid file and its points files travel with the sweep; the code comes by inv push."
NEW_HEAD_S = 300.0  # in which a head that was just made answers


class Confirm(Protocol):
    """Asks a person, and returns only when the answer is yes."""

    def __call__(self, question: str, *, yes: bool, unasked: str, refused: str) -> None:
        """Ask; `yes`: it is confirmed already, `unasked`: what to say where nobody can be asked, `refused`: after no.

        Raises UsageError, or what the front door ends with.
        """


def unasked(question: str, *, yes: bool, unasked: str, refused: str) -> None:  # noqa: ARG001 - as `Confirm` has it
    """Where nobody is asked. Raises UsageError unless it is confirmed already."""
    if not yes:
        raise UsageError(unasked)


def push_checkout(
    fleet: Fleet,
    *,
    dirty: bool,
    yes: bool,
    confirm: Confirm,
    patience_s: float = NEW_HEAD_S,
    say: Callable[[str], None],
) -> None:
    """Make this checkout the cluster's release; asks before it replaces another person's newer one.

    Raises:
        NothingToDo: it is the release already.
        GoneError: AWS has no head any more.
        UsageError: files are changed, or another person's code would be replaced and nobody can be asked.
        ClusterError: the head cannot take it.
    """
    with Steps(say=say) as steps:
        steps.step("Packing the tracked files")
        now = current_release(fleet.cloud, fleet.outputs)
        try:
            release = new(make_release(fleet.root, dirty=dirty), now)
        except NothingToDo:
            fleet.require_head()  # a bucket outlives its cluster, and names a release still
            raise
        me = pusher(fleet.cloud, fleet.root)
        missing = lacking(release, fleet.cloud, fleet.outputs)
    for line in lines(release, missing):
        say(line)
    concern = replaced(now, me, root=fleet.root, parts=release.parts)
    if concern:
        instead = "Get it first: git pull. Replace it: inv push --yes"
        confirm(
            f"{concern} Replace it?",
            yes=yes,
            unasked=f"{concern} {instead}",
            refused=f"Nothing was pushed. {instead}",
        )
    with Steps(say=say) as steps:
        steps.step("Connecting to the head")
        with fleet.head(patience_s=patience_s, say=say) as head:
            try:
                push(head, release, by=me, missing=missing, steps=steps)
            except KeyboardInterrupt:
                say("Interrupted; the head finishes what it has begun. Whether the release is current: inv releases")
                raise


def release_for(
    fleet: Fleet,
    checked: Sweep,
    *,
    push: bool,
    as_pushed: bool,
    confirm: Confirm,
    patience_s: float = NEW_HEAD_S,
    say: Callable[[str], None],
) -> Pushed:
    """The release that a sweep runs: the cluster's, which this checkout must agree with unless it is said otherwise.

    Args:
        fleet: the cluster.
        checked: the sweep.
        push: make this checkout the release first, where they differ.
        as_pushed: run the release as it is.
        confirm: asks whether to push.
        patience_s: for a head that does not answer yet.
        say: to a person.

    Raises:
        UsageError: files of the target differ, and nobody can be asked; or nothing was pushed yet.
        GoneError: AWS has no head any more.
        ClusterError: AWS, Git or the head refuse.
    """

    def pushed() -> Pushed:
        push_checkout(fleet, dirty=False, yes=False, confirm=confirm, patience_s=patience_s, say=say)
        now = fleet.release()
        if difference(fleet, checked, now) is not None:
            raise UsageError("Somebody else pushed at the same time. See: inv releases. Then sweep again.")
        return now

    if push and as_pushed:
        raise UsageError("--push replaces the release, --as-pushed keeps it. Remove one.")
    if push and current_release(fleet.cloud, fleet.outputs) is None:
        return pushed()
    release = fleet.release()
    if as_pushed:
        return release
    differs = difference(fleet, checked, release)
    if differs is None:
        return release
    fleet.require_head()
    if push:
        return pushed()
    seen = "\n".join(differs.lines)
    if not differs.target:
        say(seen)
        return release
    instead = f"Push this checkout first: inv sweep --push. Run the release as it is: inv sweep --as-pushed. {EDITED}"
    confirm(
        f"{seen}\nPush this checkout first?",
        yes=False,
        unasked=f"The cluster would run other code than this checkout's.\n{seen}\n{instead}",
        refused=f"Nothing was run. {instead}",
    )
    return pushed()
