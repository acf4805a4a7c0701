"""A cluster as an object: `sweepfleet.connect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepfleet.api.grids import Values
from sweepfleet.api.hints import python_hints
from sweepfleet.api.run import Run
from sweepfleet.api.run import open as open_run
from sweepfleet.grid.project_root import project_around

if TYPE_CHECKING:
    from sweepfleet.fleet.fleet import Fleet


class Cluster:
    """A cluster that is up; `connect` makes it. What it does is what the commands of the same names do.

    Examples:
        >>> import sweepfleet as sf
        >>> fleet = sf.connect("dev")
        >>> run = fleet.sweep(lambda a: a * a, {"a": range(10)}, name="squares", wait=False)
        >>> fleet.open("squares").wait().frame().height
        10
    """

    def __init__(self, fleet: Fleet) -> None:
        """Not for users: `connect` makes it."""
        self._fleet = fleet

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return self._fleet.outputs.stack

    def sweep(
        self, target: Callable[..., Any] | str | Path, parameters: Mapping[str, Values] | None = None, **how: Any
    ) -> Run:
        """Run a function for every point of a grid on this cluster; see `sweepfleet.sweep`.

        Args:
            target: the function, or the path of a grid file.
            parameters: values by name.
            **how: what `sweepfleet.sweep` takes beside them.

        Returns:
            the run.

        Raises:
            UsageError: nothing was submitted; says every problem.
            SweepfleetError: the cluster could not be reached, or the run could not go on.
        """
        from sweepfleet.api.sweeps import sweep

        return sweep(target, parameters, **how, stack=self)

    def open(self, name: str | None = None, *, runs: str | Path | None = None) -> Run:
        """A run by its name; without one, the active run, or the last one.

        Args:
            name: of the run.
            runs: the folder to which its results come; by default `runs/` in the project.

        Returns:
            the run.

        Raises:
            UsageError: there is none, or more than one is active.
            SweepfleetError: the cluster cannot be reached.
        """
        return open_run(name, runs=runs, stack=self)

    def __repr__(self) -> str:
        return f"<sweepfleet cluster {self.stack} in {self._fleet.outputs.region}>"


def connect(stack: str | None = None, *, project: str | Path | None = None) -> Cluster:
    """The cluster of a stack that is up; reads what `inv up` left in the project, and asks nobody.

    Args:
        stack: its name; by default that of the one stack that is up.
        project: a folder of the project; by default the current one.

    Returns:
        the cluster.

    Raises:
        UsageError: no such stack is up, or more than one is.

    Examples:
        >>> import sweepfleet as sf
        >>> fleet = sf.connect("dev")
        >>> fleet.stack
        'dev'
    """
    folder = Path(project).absolute() if project is not None else Path.cwd()
    with python_hints(stack or ""):
        from sweepfleet.fleet.fleet import open_fleet

        return Cluster(open_fleet(project_around(folder) or folder, asked=stack or ""))


def fleet_of(stack: str | Cluster, *, root: Path | None = None) -> Fleet:
    """The cluster that is meant: of a project at `root` that has stacks, else of the one here."""
    if isinstance(stack, Cluster):
        return stack._fleet  # noqa: SLF001 - of this module
    with python_hints(stack):
        from sweepfleet.fleet.stack.folder import stacks_up

        place = root if root is not None and stacks_up(root) else None
    return connect(stack, project=place)._fleet  # noqa: SLF001 - likewise
