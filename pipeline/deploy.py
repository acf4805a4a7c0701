"""A merge's way to the cluster: the plan that was reviewed is applied, and nothing that it does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fleet import stack as stacks
from fleet.cluster import Cluster
from fleet.errors import ClusterError, NothingToDo
from fleet.letterbox import push_by_letter
from fleet.pusher import pusher
from fleet.release import make_release
from grid.errors import UsageError
from infra.outputs import Outputs
from pipeline.checkout import head_of
from pipeline.plan import parse
from pipeline.stack import plans_of, settled
from pipeline.store import Saved

# What Pulumi's pkg/backend/diy/lock.go and pkg/resource/deploy say
LOCKED = "currently locked by"
NOT_PLANNED = ("violates plan:", "is not allowed by the plan")  # the update would do what its plan has not
NOT_NEEDED = re.compile(r"expected resource operations for .+ but none were seen")
ERROR = re.compile(r"\berror: (.+)")


def deploy(cluster: Cluster, *, say: Callable[[str], None]) -> Outputs:
    """Apply the plan that was kept for this checkout's files; keep the stack's outputs.

    Args:
        cluster: the stack.
        say: what Pulumi says, a line at a time.

    Raises:
        UsageError: there is no such stack, its settings cannot be used, or files are changed.
        ClusterError: there is no such plan, or it was refused, or applying it failed; says how to go on.
    """
    settled(cluster)
    head = head_of(cluster.root)
    if head.changed:
        raise UsageError(f"Changed and not committed: {', '.join(head.changed)}. What is deployed is a commit's.")
    saved = _plan_of(cluster, head.tree)
    say(f"Applying the plan that was made of {saved.commit[:10]} at {saved.made}")
    with TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        file.write_text(json.dumps(saved.plan))
        ended, said = cluster.pulumi.up_as_planned(cluster.stack, file, say=say)
        if not ended and not (_done_before(said) and _as_declared(cluster, Path(folder, "look.json"))):
            raise ClusterError(_why(cluster.stack, said))
    if not ended:
        say("What Pulumi calls errors is what the plan allowed and was done already: nothing is left to do.")
    return cluster.refresh()


def push(cluster: Cluster, outputs: Outputs, *, say: Callable[[str], None]) -> None:
    """Have the cluster run this checkout's commit; through the bucket, so that no SSH key is needed.

    Raises:
        UsageError: files are changed.
        ClusterError: the head cannot take it; the old release goes on.
    """
    cloud = stacks.cloud_of(cluster.pulumi.config(cluster.stack))
    try:
        release = make_release(cluster.root, dirty=False)
        push_by_letter(cloud, outputs, release, by=pusher(cloud, cluster.root), say=say)
    except NothingToDo as already:
        say(str(already))


def _plan_of(cluster: Cluster, tree: str) -> Saved:
    saved = plans_of(cluster).get(tree)
    again = (
        "Make it at this commit: inv ci.preview (on GitHub: run the pull request's plan job again), and then this "
        "again"
    )
    if saved is None:
        raise ClusterError(
            f"There is no plan of exactly these files (tree {tree[:10]}): the branch was not up to date when it was "
            f"merged, or nobody previewed it. Nothing was changed. {again}."
        )
    if saved.refused:
        reasons = "".join(f"\n  {reason}" for reason in saved.refused)
        raise ClusterError(f"The plan of these files was refused; nothing was changed.{reasons}\nMend it by a merge.")
    return saved


def _done_before(said: str) -> bool:
    """Whether an update ended in errors only since it did not need all of its plan.

    Pulumi wants each step of a replacement to come; when the plan is applied again, none does.
    """
    errors = ERROR.findall(said)
    return bool(errors) and all(NOT_NEEDED.search(error) for error in errors)


def _as_declared(cluster: Cluster, file: Path) -> bool:
    """Whether the stack is what its program says; `file` is written."""
    said, ended = cluster.pulumi.plan(cluster.stack, save=file)
    return ended and not parse(said).changes


def _why(stack: str, said: str) -> str:
    """What an update that failed means, and how to go on."""
    if LOCKED in said:
        return (
            f"Nothing was changed: another update of {stack} is going on, or one was killed and left its lock. Wait "
            f"for it; when there is none any more: pulumi cancel --stack {stack}. Then run this again."
        )
    if any(one in said for one in NOT_PLANNED) or _done_before(said):
        return (
            f"The plan does not fit: {stack} is no longer what it was when the plan was made. What the plan allowed "
            "up to there was done and is recorded, and nothing else. Make the plan anew at this commit: inv "
            "ci.preview (on GitHub: run the pull request's plan job again), and then run this again; or merge the "
            "next pull request, whose plan begins with what there is now."
        )
    return (
        "The update failed halfway; what Pulumi said is above. What was made is recorded. Run this again, and the "
        "same plan goes on from there; where it then says that the plan does not fit, make it anew first: inv "
        "ci.preview. Or merge a pull request that mends it: its plan begins with what there is now."
    )
