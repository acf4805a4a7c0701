"""What came of sweeps: their rows, their reports, and the runs that are here."""

from __future__ import annotations

import json as json_

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import integer, open_fleet, open_steps, runs_folder, shown, speaking


@task(
    help={
        "name": "the run; by default that of the last sweep",
        "where": "only rows where this is true: --where 'rmse < 55 and model == \"lasso\"'",
        "best": "only this many, best first by the grid's metric",
        "json": "rows as JSON lines",
        "fetch": "fetch the run from the cluster first; of an active run, its results so far",
        "stack": "with --fetch: from this stack's cluster",
    }
)
@speaking
def results(
    c: Context,
    name: str = "",
    where: str = "",
    best: str = "",
    stack: str = "",
    *,
    json: bool = False,
    fetch: bool = False,
) -> None:
    """Show a run's rows, and where their tables are."""
    if fetch or stack:
        name = _fetch(c, stack=stack, name=name)
    from sweepfleet.run.query import json_rows, select
    from sweepfleet.run.runs import find, metric_of, planned, refresh
    from sweepfleet.run.tables import results_table
    from sweepfleet.run.text import terminal_width

    folder = find(runs_folder(c), name or None)
    refresh(folder)
    top, metric = integer(best, "--best"), metric_of(folder)
    space = planned(folder) if top and metric else None
    rows = select(folder.parquet, where=where or None, best=top, metric=metric, space=space)
    if json:
        for row in json_rows(folder.parquet, rows):
            print(json_.dumps(row))
        return
    print("\n".join(results_table(rows, width=terminal_width())))
    print(f"All rows, all columns: {shown(folder.parquet)} and {folder.csv.name}")
    if folder.long.exists():
        print(f"Several rows a point: {shown(folder.long)}, joined by point_id")


def _fetch(c: Context, *, stack: str, name: str) -> str:
    """Bring a run here; its name."""
    from sweepfleet.fleet.runs.on_stack import bring

    fleet = open_fleet(stack)
    with open_steps(aside=True) as steps:
        return bring(fleet, name, runs_folder=runs_folder(c), steps=steps).name


@task(
    iterable=["name"],
    help={"name": "the run, by default that of the last sweep; several are compared on one page"},
)
@speaking
def report(c: Context, name: list[str]) -> None:
    """Write a run's report and tables again, or compare runs.

    The rows come from the run's ledger. `inv report --name A --name B` compares A with B.
    """
    from sweepfleet.run.comparison import compare
    from sweepfleet.run.runs import find, refresh

    folders = [find(runs_folder(c), each) for each in name] or [find(runs_folder(c), None)]
    if len(folders) > 1:
        print(compare(folders).as_uri())
        return
    refresh(folders[0], always=True)
    print(folders[0].report.as_uri())


@task
@speaking
def runs(c: Context) -> None:
    """List the runs that are here, with their state."""
    from sweepfleet.run.runs import listed
    from sweepfleet.run.tables import runs_table

    print("\n".join(runs_table(list(listed(runs_folder(c))), folder=shown(runs_folder(c)))))
