"""Runs are found by their names: `sweepfleet.open`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweepfleet.api.arguments import FOLDER, NAME, STACK, takes
from sweepfleet.api.hints import python_hints
from sweepfleet.api.run import Run

if TYPE_CHECKING:
    from sweepfleet.api.cluster import Cluster


@python_hints("")
@takes("open", name=NAME, runs=FOLDER, stack=STACK)
def open(  # noqa: A001 - sweepfleet.open reads well
    name: str | None = None, *, runs: str | Path | None = None, stack: str | Cluster | None = None
) -> Run:
    """A run by its name; without one, the run that was begun last.

    Args:
        name: of the run.
        runs: the folder of all runs; by default `runs/` in the project around the current folder.
        stack: find it on this cluster: a stack's name, or what `connect` returned. What the run has so far is
            fetched when it is asked for.

    Returns:
        the run.

    Raises:
        UsageError: there is none.
        SweepfleetError: the cluster cannot be reached.

    Examples:
        >>> import sweepfleet as sf
        >>> run = sf.sweep(lambda a: a * a, {"a": range(10)}, name="squares")
        >>> sf.open("squares").frame("value > 50").select("param.a", "metric.value").rows()
        [(8, 64), (9, 81)]
        >>> sf.open().name
        'squares'
    """
    if stack is not None:
        from sweepfleet.api.cluster import fleet_of

        fleet = fleet_of(stack)  # before what needs more packages than a sweep here
        from sweepfleet.api.cluster_run import find as find_there

        return find_there(fleet, name, runs=runs_folder(runs, root=fleet.root))
    from sweepfleet.run.runs import find

    return Run(find(runs_folder(runs), name).path)


def runs_folder(runs: str | Path | None, *, root: Path | None = None) -> Path:
    """The folder of all runs: the one that is named, `INVOKE_RUNS`, or runs/ in the project."""
    if runs is not None:
        return Path(runs).absolute()
    from sweepfleet.grid.project_root import project_around

    return (root or project_around(Path.cwd()) or Path.cwd()) / os.environ.get("INVOKE_RUNS", "runs")
