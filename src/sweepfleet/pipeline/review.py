"""A pull request's look at its stack: what would change, whether it may, what it costs; and the plan, kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.stack import selection as stacks
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.infra.outputs import Outputs
from sweepfleet.infra.settings import Settings
from sweepfleet.pipeline.checkout import Head, head_of
from sweepfleet.pipeline.comment import Review, joined, stack_part
from sweepfleet.pipeline.estimates import Offer, estimates, sweeps_part
from sweepfleet.pipeline.money import money
from sweepfleet.pipeline.plan import STACK, Plan, parse
from sweepfleet.pipeline.policy import Violation, check
from sweepfleet.pipeline.stack import plans_of, settled
from sweepfleet.pipeline.store import Saved


@dataclass(frozen=True, slots=True)
class Reviewed:
    """All that a pull request is told, and what follows."""

    text: str  # Markdown
    refused: str  # why it must not be merged; empty when it may
    failed: str  # why it could not be said


def review(stack: Stack, *, base: str, say: Callable[[str], None]) -> Reviewed:
    """Look at the stack and the sweeps as this checkout would have them.

    Keeps the plan beside the state, under the hash of the checkout's files; one that is refused is kept as refused,
    so that no earlier one of the same files is applied.

    Args:
        stack: to preview.
        base: the branch that this is to go into: sweeps that differ from it are estimated.
        say: what is being done, to a person.

    Raises:
        UsageError: there is no such stack, or its settings cannot be used, or there is no such base.
        ClusterError: Pulumi or AWS refuses.
    """
    settings = settled(stack)
    head = head_of(stack.root)
    say(f"Previewing the stack {stack.full_name} at {head.commit[:10]}")
    cloud = stacks.cloud_of(stack.pulumi.config(stack.full_name))
    lost = stack.deleted_outside(cloud, stack.pulumi.resources(stack.full_name))
    found, plan = _planned(stack, refresh=bool(lost))
    violations = check(plan)
    its = _review(stack, settings, head=head, plan=plan, violations=violations, ended=found is not None)
    if (found is not None or violations) and not its.unsaved:
        plans_of(stack).put(_saved(stack, head, violations=violations, plan=found))
    offer = Offer(
        workers=settings,
        cloud=cloud,
        cache=_cache(stack, "sweep-prices.json"),
        bucket=_bucket(plan),
    )
    sweeps = estimates(stack.root, base=base, offer=offer, say=say)
    reasons = [f"{one.rule}: {one.name}: {one.seen}" for one in violations]
    reasons += [f"{one.grid}: {problem}" for one in sweeps for problem in one.problems]
    return Reviewed(
        text=joined([stack_part(its), sweeps_part(sweeps)]),
        refused="\n".join(reasons),
        failed="\n".join(plan.errors) if its.failed else "",
    )


def _planned(stack: Stack, *, refresh: bool) -> tuple[dict[str, Any] | None, Plan]:
    """Pulumi's plan as it is saved, and as it was told; no plan is saved when the preview came to no end."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        said, ended = stack.pulumi.plan(stack.full_name, save=file, refresh=refresh)
        plan = parse(said)
        saved = json.loads(file.read_text()) if ended else None
    if saved is None and not plan.errors:
        raise ClusterError(f"`pulumi preview` failed and does not say why: {said.strip()[:500]}")
    return saved, plan


def _review(
    stack: Stack, settings: Settings, *, head: Head, plan: Plan, violations: list[Violation], ended: bool
) -> Review:
    cloud = stacks.cloud_of(stack.pulumi.config(stack.full_name))
    its = money(plan, settings, cloud, cache=_cache(stack, "plan-prices.json")) if ended else None
    unsaved = f"changed and not committed: {', '.join(head.changed)}" if head.changed else ""
    return Review(stack.full_name, head.commit, plan, violations, its, unsaved=unsaved)


def _saved(stack: Stack, head: Head, *, violations: list[Violation], plan: dict[str, Any] | None) -> Saved:
    return Saved(
        stack=stack.name,
        tree=head.tree,
        commit=head.commit,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        pulumi=".".join(map(str, stack.pulumi.version())),
        refused=[f"{one.rule}: {one.name}: {one.seen}" for one in violations],
        plan=plan if plan and not violations else {},
    )


def _cache(stack: Stack, name: str) -> Path:
    return stack.folder.path / name


def _bucket(plan: Plan) -> str:
    """The bucket of the stack as it is; empty when it is not up."""
    now = next((step.old for step in plan.steps if step.type == STACK and step.old is not None), None)
    outputs = {} if now is None else now.outputs
    return str(outputs["bucket"]) if set(Outputs.__dataclass_fields__) <= set(outputs) else ""
