"""What a stack has left behind in the account."""

from __future__ import annotations

import json as json_
from datetime import UTC, datetime

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.front import STACK_HELP, project_here, speaking


@task(help={"stack": STACK_HELP, "json": "every resource with the stack's tag, as JSON lines"})
@speaking
def audit(c: Context, stack: str = "", *, json: bool = False) -> None:
    """List resources with the stack's tag that are not in its state.

    Exit code 1 when there are any.
    """
    from sweepfleet.fleet.stack.audit import audit as audit_of
    from sweepfleet.fleet.stack.audit import lines
    from sweepfleet.fleet.stack.stack import open_stack
    from sweepfleet.grid.errors import printable

    found = audit_of(open_stack(project_here(), asked=stack))
    now = datetime.now(UTC)
    for line in (json_.dumps(one.to_dict(now)) for one in found.items) if json else lines(found, now):
        print(printable(line))
    if found.leaks:
        raise Exit(code=1)
