"""A run that is back on the head after its data volume was lost."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import STACK_HELP, open_fleet, speaking


@task(help={"name": "the run", "stack": STACK_HELP})
@speaking
def restore(c: Context, name: str = "", stack: str = "") -> None:
    """Bring a run back from the bucket after the data volume was lost.

    Refused where the head has the run. Then the same `inv sweep --name` resumes it.
    """
    from sweepfleet.fleet.runs.restore import restore
    from sweepfleet.fleet.steps import Steps
    from sweepfleet.grid.errors import UsageError

    if not name:
        raise UsageError("Which run? Name it: inv restore --name RUN")
    fleet = open_fleet(stack)
    with Steps() as steps:
        steps.step(f"The head restores {name} from the bucket")
        back = restore(fleet, name)
    print(back)
