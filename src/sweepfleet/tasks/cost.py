"""What a stack has cost."""

from __future__ import annotations

import json as json_

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import STACK_HELP, open_fleet, speaking


@task(
    help={
        "stack": STACK_HELP,
        "since": "how far back: 30d, 12h; by default 30d",
        "json": "print one JSON object and nothing else on standard output",
    }
)
@speaking
def cost(c: Context, stack: str = "", since: str = "30d", *, json: bool = False) -> None:
    """Show what the stack has cost: workers, head, disks, addresses.

    And what its active runs have cost and will cost.
    """
    from sweepfleet.fleet.money.bill import bill
    from sweepfleet.fleet.runs.answers import active_runs
    from sweepfleet.grid.errors import UsageError
    from sweepfleet.grid.fields import seconds

    try:
        since_s = seconds(since)
    except ValueError:
        raise UsageError(f"--since {since} is not a duration. Such as: --since 30d, --since 12h") from None
    fleet = open_fleet(stack)
    found, runs = bill(fleet, since_s=since_s), active_runs(fleet)
    if json:
        costs = [{"name": run.name, "usd": run.cost.usd, "end_usd": run.forecast.end_usd} for run in runs]
        print(json_.dumps(found.to_dict() | {"active_runs": costs}))
        return
    for line in found.lines():
        print(line)
    for run in runs:
        print(f"Run {run.name}: cost so far {run.cost}")
        for line in run.forecast.lines(budget_usd=run.cost.budget_usd):
            print(f"  {line}")
