"""The pipeline's jobs, one task each: GitHub's workflows call them, and so can a person at a terminal."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.called import as_called
from sweepfleet.tasks.ci_sweeps import results, sweeps
from sweepfleet.tasks.front import STACK_HELP, open_stack, open_stack_to_change, speaking

REFUSED, FAILED = 1, 3  # exit codes
say = functools.partial(print, flush=True)


def _base() -> str:
    """The branch that a pull request is to go into."""
    return f"origin/{os.environ.get('GITHUB_BASE_REF') or 'main'}"


@task(
    name="preview",
    help={"stack": STACK_HELP, "base": "the branch to merge into; by default origin/main"},
)
@speaking
def preview_(c: Context, stack: str = "", base: str = "") -> None:
    """Review a pull request: plan, policy, cost and sweeps.

    Posts one comment, and keeps it up to date.
    """
    from sweepfleet.grid.errors import printable
    from sweepfleet.pipeline import github
    from sweepfleet.pipeline.review import review

    opened = open_stack_to_change(stack)
    reviewed = review(opened, base=base or _base(), say=say)
    say(printable(reviewed.text))
    text = as_called(reviewed.text)
    github.summarise(os.environ, text)
    if where := github.comment(os.environ, marker=f"preview:{opened.name}", body=text):
        say(f"The comment: {where}")
    if reviewed.refused:
        raise Exit(f"Refused:\n{printable(reviewed.refused)}", REFUSED)
    if reviewed.failed:
        raise Exit(f"error: The preview failed:\n{printable(reviewed.failed)}", FAILED)


@task(help={"stack": STACK_HELP})
@speaking
def deploy(c: Context, stack: str = "") -> None:
    """After a merge: apply the reviewed plan and push this commit."""
    from sweepfleet.pipeline.deploy import deploy, push

    opened = open_stack_to_change(stack)
    outputs = deploy(opened, say=say)
    say(f"The stack {outputs.stack} is up in {outputs.region}.")
    push(opened, outputs, say=say)


@task(help={"stack": STACK_HELP})
@speaking
def drift(c: Context, stack: str = "") -> None:
    """Check whether somebody changed the stack by hand.

    While it differs, one issue is kept open and the exit code is 1.
    """
    from sweepfleet.grid.errors import printable
    from sweepfleet.pipeline import github
    from sweepfleet.pipeline.comment import drift_part
    from sweepfleet.pipeline.drift import drift

    opened = open_stack_to_change(stack)
    found = drift(opened)
    if not found:
        say(f"The stack {opened.name} matches its program.")
        github.settle(os.environ, matter="drift", stack=opened.name)
        return
    body = as_called(drift_part(opened.name, found))
    say(printable(body))
    github.summarise(os.environ, body)
    github.raise_issue(
        os.environ, matter="drift", stack=opened.name, title=f"Drift in the stack {opened.name}", body=body
    )
    raise Exit(f"The stack {opened.name} differs from its program.", REFUSED)


@task(help={"stack": STACK_HELP})
@speaking
def audit(c: Context, stack: str = "") -> None:
    """Check for resources that the stack has left behind.

    While there are any, one issue is kept open and the exit code is 1.
    """
    from sweepfleet.fleet.stack.audit import audit as audit_of
    from sweepfleet.fleet.stack.audit import lines
    from sweepfleet.grid.errors import printable
    from sweepfleet.pipeline import github
    from sweepfleet.pipeline.audit import audit_part

    found, now = audit_of(open_stack(stack)), datetime.now(UTC)
    say(printable("\n".join(lines(found, now))))
    if not found.leaks:
        github.settle(os.environ, matter="leak", stack=found.stack)
        return
    body = as_called(audit_part(found, now))
    github.summarise(os.environ, body)
    title = f"Leaked resources of the stack {found.stack}"
    github.raise_issue(os.environ, matter="leak", stack=found.stack, title=title, body=body)
    raise Exit(f"The stack {found.stack} has leaked resources.", REFUSED)


ns = Collection(preview_, deploy, sweeps, results, drift, audit)
