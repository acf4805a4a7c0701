"""What a pull request is told of a stack, and an issue of its drift; Markdown. Pure.

Names, values and messages come from the branch: they pass `pipeline.markdown.text`, and can be nothing but text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweepfleet.grid.wording import counted
from sweepfleet.pipeline.drift import Drift
from sweepfleet.pipeline.markdown import table, text
from sweepfleet.pipeline.money import Item, Money
from sweepfleet.pipeline.plan import REPLACING, Plan, Step
from sweepfleet.pipeline.policy import Violation
from sweepfleet.run.text import dollars

ROWS = 100  # of a table; a comment has an end
MESSAGE = 2000  # characters of an error of Pulumi's
OPS = {"create": "create", "update": "update", "replace": "**replace**", "delete": "**delete**"}


@dataclass(frozen=True, slots=True)
class Review:
    """What was found out about a stack at one commit."""

    stack: str
    commit: str
    plan: Plan
    violations: Sequence[Violation]
    money: Money | None  # None: the preview came to no end
    unsaved: str = ""  # why the plan is not kept for the merge; empty when it is

    @property
    def refused(self) -> bool:
        """Whether it must not be merged so."""
        return bool(self.violations)

    @property
    def failed(self) -> bool:
        """Whether Pulumi could not work out what to do."""
        return bool(self.plan.errors) or self.money is None


def joined(parts: Sequence[str]) -> str:
    """One text of several parts, each of which is Markdown."""
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def stack_part(review: Review) -> str:
    """What a pull request is told of its stack."""
    sign = "❌" if review.refused or review.failed else "✅"
    lines = [f"### {sign} Stack {text(review.stack)} at {text(review.commit[:10])}", ""]
    lines += _failure(review.plan)
    lines += _violations(review.violations)
    lines += _changes(review.plan)
    if review.money is not None:
        lines += _money(review.money)
    lines += [f"⚠️ {text(one, most=MESSAGE)}\n" for one in review.plan.warnings]
    lines.append(_fate(review))
    return "\n".join(lines) + "\n"


def drift_part(stack: str, found: Drift) -> str:
    """What an issue says of a stack that is not as its program has it."""
    changes = found.plan.changes
    rows = [[_type(step.type), text(step.name), _sign(step), _properties(step)] for step in changes]
    lines = [f"The stack {text(stack)} differs from its program.", ""]
    if rows:
        lines += [*table(("What", "Name", "Pulumi would", "Differences"), rows[:ROWS]), *_more(rows), ""]
        lines += ["Somebody changed it by hand, or there is a newer machine image. To restore it, from a laptop:", ""]
        lines += [f"    pulumi refresh --stack {stack} && inv up --stack {stack}", ""]
    strangers = [[text(one.group), text(one.rule), text(one.opens)] for one in found.strangers]
    if strangers:
        lines += ["Rules that are not in any program let traffic through the stack's security groups:", ""]
        lines += [*table(("Security group", "Rule", "Lets through"), strangers[:ROWS]), *_more(strangers), ""]
        lines += ["To remove one:", ""]
        lines += [f"    {one.command}" for one in found.strangers[:ROWS]]
        lines.append("")
    lines += [
        (
            "To keep a change, add it to the program or the settings. This issue closes itself when stack and "
            "program match."
        )
    ]
    return "\n".join(lines) + "\n"


def _failure(plan: Plan) -> Iterator[str]:
    for error in plan.errors:
        yield f"**Pulumi says:** {text(error, most=MESSAGE)}"
        yield ""


def _violations(found: Sequence[Violation]) -> Iterator[str]:
    if not found:
        return
    yield f"**Refused, for {counted(len(found), 'reason')}.** Nothing was changed."
    yield ""
    rows = [
        [f"{_type(one.type)} {text(one.name)}", text(one.rule), text(one.seen), text(one.remedy, most=MESSAGE)]
        for one in found
    ]
    yield from table(("Resource", "Rule", "Found in the plan", "Fix"), rows[:ROWS])
    yield from _more(rows)
    yield ""


def _changes(plan: Plan) -> Iterator[str]:
    steps = plan.changes
    same = len({step.urn for step in plan.steps if not step.grouping} - {step.urn for step in steps})
    if not steps:
        if not plan.errors:
            yield "Nothing changes."
            yield ""
        return
    ops = [_op(step) for step in steps]
    counts = ", ".join(f"{ops.count(op)} to {op}" for op in OPS if op in ops)
    others = len(ops) - sum(ops.count(op) for op in OPS)
    yield f"**Plan:** {counts}{f', {others} otherwise' if others else ''}; {same} unchanged."
    yield ""
    yield f"<details><summary>{counted(len(steps), 'change')}</summary>"
    yield ""
    rows = [
        [OPS.get(_op(step), text(step.op)), _type(step.type), text(step.name), _properties(step)] for step in steps
    ]
    yield from table(("", "What", "Name", "Changes"), rows[:ROWS])
    yield from _more(rows)
    yield ""
    yield "</details>"
    yield ""


def _sign(step: Step) -> str:
    return OPS.get(_op(step), text(step.op))


def _op(step: Step) -> str:
    return "replace" if step.op in REPLACING else step.op


def _type(kind: str) -> str:
    """`aws:ec2/instance:Instance` for a person."""
    return text(kind.rpartition(":")[2])


def _properties(step: Step) -> str:
    return text(", ".join(step.changed))


def _money(money: Money) -> Iterator[str]:
    now, then = money.sum_usd(lambda item: item.now_usd), money.sum_usd(lambda item: item.then_usd)
    yield f"**At rest** {_usd(now)} USD a month now, **{_usd(then)}** then."
    if money.head_usd is not None:
        yield f"The head sleeps at rest; while it is up it costs {dollars(money.head_usd)} USD an hour."
    yield _at_work(money)
    yield ""
    yield "<details><summary>What costs at rest, in USD a month</summary>"
    yield ""
    rows = [_item(item) for item in money.items]
    total = ["**sum**", _usd(now), f"**{_usd(then)}**"]
    yield from table(("", "now", "then"), [*rows[:ROWS], total], right=(1, 2))
    yield from _more(rows)
    yield ""
    if money.unpriced:
        yield f"Not counted, because the price is unknown: {text(', '.join(money.unpriced), most=MESSAGE)}."
        yield ""
    yield f"The bucket costs by its size. Prices: {text(money.label, most=MESSAGE)}."
    yield ""
    yield "</details>"
    yield ""


def _item(item: Item) -> list[str]:
    return [text(item.what), _usd(item.now_usd), _usd(item.then_usd)]


def _at_work(money: Money) -> str:
    if money.worker_usd is None:
        return "**At work:** unknown: the price of one of its worker types is unknown."
    hourly = money.worker_usd * money.workers
    return (
        f"**At work** at most {dollars(money.worker_usd)} USD an hour more for each worker, "
        f"**{dollars(hourly)}** with all {money.workers}."
    )


def _fate(review: Review) -> str:
    if review.refused:
        return "No plan is saved, so a merge of this would not be deployed."
    if review.failed:
        return "There is no plan, so a merge of this would not be deployed."
    if review.unsaved:
        return f"The plan is not saved: {text(review.unsaved, most=MESSAGE)}"
    return "The plan is saved. A merge applies exactly this plan, if the merged files are the same."


def _more(rows: Sequence[object]) -> Iterator[str]:
    if len(rows) > ROWS:
        yield ""
        yield f"… and {len(rows) - ROWS} more."


def _usd(usd: float | None) -> str:
    return "unknown" if usd is None else dollars(usd)
