"""Rows and runs that nobody needs any more."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.asking import confirm
from sweepfleet.tasks.front import runs_folder, speaking


@task(
    help={
        "name": "the run: its folder is runs/<name>; also without --name: inv rm my-run",
        "where": "only rows where this is true, as inv results --where shows them: --where \"status == 'failed'\"",
        "yes": "remove without being asked",
    }
)
@speaking
def rm(c: Context, name: str = "", where: str = "", *, yes: bool = False) -> None:
    """Remove a run from this machine, or some of its rows; asks first.

    What the rows' points printed and wrote is removed, too.
    """
    from sweepfleet.grid.errors import UsageError, printable
    from sweepfleet.run.forget import remove, to_remove
    from sweepfleet.run.runs import find

    if not name:
        raise UsageError("Which run? Name it: inv rm RUN. List them: inv runs")
    removal = to_remove(find(runs_folder(c), name, calls=True), where=where or None)
    print(printable(str(removal)), flush=True)
    confirm(
        "Remove it for good?",
        yes=yes,
        unasked="There is no terminal to ask on, so nothing was removed. To remove it: --yes",
        refused="Nothing was removed.",
    )
    remove(removal)
    print(
        "Removed." if removal.ids is None else "Removed. These points run again with the next inv sweep of this run."
    )
