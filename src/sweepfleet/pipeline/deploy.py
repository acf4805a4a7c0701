"""A merge's way to the cluster: the plan that was reviewed is applied, and nothing that it does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.fleet.code.pusher import pusher
from sweepfleet.fleet.code.release import make_release
from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.reach.letterbox import push_by_letter
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.outputs import Outputs
from sweepfleet.pipeline.checkout import head_of
from sweepfleet.pipeline.plan import parse
from sweepfleet.pipeline.stack import plans_of, settled
from sweepfleet.pipeline.store import Saved

# What Pulumi's pkg/backend/diy/lock.go and pkg/resource/deploy say
LOCKED = "currently locked by"
NOT_PLANNED = ("violates plan:", "is not allowed by the plan")  # the update would do what its plan has not
NOT_NEEDED = re.compile(r"expected resource operations for .+ but none were seen")
AGAIN = (
    "Make the plan at this commit: inv ci.preview (on GitHub: run the pull request's plan job again). Then "
    "run this again"
)
ERROR = re.compile(r"\berror: (.+)")


def deploy(stack: Stack, *, say: Callable[[str], None]) -> Outputs:
    """Apply the plan that was kept for this checkout's files; keep the stack's outputs.

    Args:
        stack: to deploy.
        say: what Pulumi says, a line at a time.

    Raises:
        UsageError: there is no such stack, its settings cannot be used, or files are changed.
        ClusterError: there is no such plan, or it was refused, or applying it failed; says how to go on.
    """
    settled(stack)
    head = head_of(stack.root)
    if head.changed:
        raise UsageError(f"Changed and not committed: {', '.join(head.changed)}. Only a commit can be deployed.")
    saved = _plan_of(stack, head.tree)
    _heal(stack, saved)
    say(f"Applying the plan that was made of {saved.commit[:10]} at {saved.made}")
    with TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        file.write_text(json.dumps(saved.plan))
        ended, said = stack.pulumi.up_as_planned(stack.full_name, file, say=say)
        if not ended and not (_done_before(said) and _as_declared(stack, Path(folder, "look.json"))):
            raise ClusterError(_why(stack.full_name, said))
    if not ended:
        say("Pulumi's errors name steps of the plan that were done already. Nothing is left to do.")
    outputs = stack.refresh()
    stack.give_address(stacks.cloud_of(stack.pulumi.config(stack.full_name)), outputs)
    return outputs


def push(stack: Stack, outputs: Outputs, *, say: Callable[[str], None]) -> None:
    """Have the cluster run this checkout's commit; through the bucket, so that no SSH key is needed.

    Raises:
        UsageError: files are changed.
        ClusterError: the head cannot take it; the old release goes on.
    """
    cloud = stacks.cloud_of(stack.pulumi.config(stack.full_name))
    try:
        release = make_release(stack.root, dirty=False)
        push_by_letter(cloud, outputs, release, by=pusher(cloud, stack.root), say=say)
    except NothingToDo as already:
        say(str(already))


def _heal(stack: Stack, saved: Saved) -> None:
    """Remove from the state what AWS no longer has, where the plan makes it again.

    Raises:
        ClusterError: the plan was made before that was deleted, and makes nothing again; nothing was changed.
    """
    cloud = stacks.cloud_of(stack.pulumi.config(stack.full_name))
    lost = stack.deleted_outside(cloud, stack.pulumi.resources(stack.full_name))
    planned = {urn: set(one["steps"]) for urn, one in saved.plan.get("resourcePlans", {}).items()}
    if lacking := [one for one in lost if planned.get(one.resource.urn, set()) - {"create", "delete"}]:
        raise ClusterError(
            f"The plan does not make {', '.join(map(str, lacking))} again, which AWS no longer has. Nothing was "
            f"changed. {AGAIN}."
        )
    if lost:
        stack.remove_from_state(cloud, lost)


def _plan_of(stack: Stack, tree: str) -> Saved:
    saved = plans_of(stack).get(tree)
    if saved is None:
        raise ClusterError(
            f"There is no saved plan of exactly these files (tree {tree[:10]}): the branch was not up to date "
            f"when it was merged, or it was not previewed. Nothing was changed. {AGAIN}."
        )
    if saved.refused:
        reasons = "".join(f"\n  {reason}" for reason in saved.refused)
        raise ClusterError(
            f"The plan of these files was refused; nothing was changed.{reasons}\nFix it with another merge."
        )
    return saved


def _done_before(said: str) -> bool:
    """Whether an update ended in errors only since it did not need all of its plan.

    Pulumi wants each step of a replacement to come; when the plan is applied again, none does.
    """
    errors = ERROR.findall(said)
    return bool(errors) and all(NOT_NEEDED.search(error) for error in errors)


def _as_declared(stack: Stack, file: Path) -> bool:
    """Whether the stack is what its program says; `file` is written."""
    said, ended = stack.pulumi.plan(stack.full_name, save=file)
    return ended and not parse(said).changes


def _why(stack: str, said: str) -> str:
    """What an update that failed means, and how to go on."""
    if LOCKED in said:
        return (
            f"Nothing was changed: another update of {stack} is active, or one was killed and left its lock. "
            "Wait until it has ended, then run this again. Only when you know that none is active, first: "
            f"pulumi cancel --stack {stack}"
        )
    if any(one in said for one in NOT_PLANNED) or _done_before(said):
        return (
            f"The plan does not fit: {stack} has changed since the plan was made. The steps of the plan up to "
            "there were done and are recorded; nothing else was changed. Make the plan again at this commit: "
            "inv ci.preview (on GitHub: run the pull request's plan job again). Then run this again. Or merge "
            "the next pull request, whose plan begins with the present state."
        )
    return (
        "The update failed halfway; Pulumi's output is above. What was made is recorded. Run this again: the "
        "same plan continues from there. If that says that the plan does not fit, make the plan again first: inv "
        "ci.preview. Or merge a pull request that fixes the cause: its plan begins with the present state."
    )
