"""What points printed."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import runs_folder, speaking


@task(
    help={
        "name": "of the run; by default that of the last sweep",
        "point": "an id or its beginning, or an index",
        "failed": "of every failed point",
        "last": "only the last lines",
    }
)
@speaking
def output(c: Context, name: str = "", point: str = "", *, failed: bool = False, last: bool = False) -> None:
    """Show what points printed: output, errors, warnings, logging."""
    from sweepfleet.grid.errors import UsageError
    from sweepfleet.run.output_text import shown
    from sweepfleet.run.runs import find

    folder = find(runs_folder(c), name or None)
    if bool(point) == failed:
        raise UsageError("Whose output? Of one point: --point ID (or its index). Of all failed points: --failed")
    for piece in shown(folder, point=point, failed=failed, last=last):
        print(piece, end="")
