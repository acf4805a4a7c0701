"""`sweepfleet.sweep`: sweeps in Python."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sweepfleet.api.arguments import (
    CONDITIONS,
    COUNT,
    FLAG,
    FOLDER,
    METRIC,
    MODULES,
    NAME,
    STACK,
    TARGET,
    TEXT,
    takes,
)  # fmt: skip
from sweepfleet.api.driver import Order
from sweepfleet.api.driving import Driver
from sweepfleet.api.functions import Function, function_of
from sweepfleet.api.grids import Metric, Values, keys_of
from sweepfleet.api.hints import python_hints
from sweepfleet.api.run import Run
from sweepfleet.api.runs import runs_folder
from sweepfleet.api.screen import screen_for
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import load, loads
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.written import to_yaml
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.project import project_of
from sweepfleet.run.selection import check_redo
from sweepfleet.slot import inside

if TYPE_CHECKING:
    from sweepfleet.api.cluster import Cluster
    from sweepfleet.fleet.fleet import Fleet


@python_hints("")
@takes(
    "sweep", target=TARGET, name=NAME, metric=METRIC, where=CONDITIONS, by_value=MODULES, workers=COUNT, runs=FOLDER,
    redo=TEXT, wait=FLAG, stack=STACK, push=FLAG, as_pushed=FLAG, yes=FLAG, unpriced=FLAG,
)  # fmt: skip
def sweep(
    target: Callable[..., Any] | str | Path,
    parameters: Mapping[str, Values] | None = None,
    *,
    name: str | None = None,
    metric: Metric | Mapping[str, Any] | str | None = None,
    where: str | Sequence[str] = (),
    replicates: int | None = None,
    seed: int | None = None,
    execution: Mapping[str, Any] | None = None,
    redo: str = "",
    workers: int | None = None,
    runs: str | Path | None = None,
    by_value: Sequence[ModuleType] = (),
    wait: bool = True,
    stack: str | Cluster | None = None,
    push: bool = False,
    as_pushed: bool = False,
    yes: bool = False,
    unpriced: bool = False,
    **grid: Any,
) -> Run:
    """Run a function for every point of a grid, on this machine's cores or on a cluster; finished points are skipped.

    The run is the one that `inv sweep` makes of the same grid: ids, seeds, ledger, tables and report. It is driven by
    a process of its own; on a cluster, by the head.

    Args:
        target: the function, which takes the parameters by name and returns a number or a dict of metrics. It may be
            of a module, a script or a notebook; a lambda, a closure, a method, a `functools.partial`. Or the path of
            a grid file, whose points are run.
        parameters: lists of values, or `linspace`, `logspace` and the other forms of grid.yaml, by name.
        name: the run: its folder is `runs/<name>`. By default the function's name.
        metric: what decides which point is best.
        where: conditions that every point meets; of a grid file, those that are computed now.
        replicates: computes every point this often, each with its own seed.
        seed: every point's own seed is derived from it.
        execution: timeout, retries, resources and the other keys of `execution` in grid.yaml.
        redo: computes ended points again: `done`, `failed`, `stale` or `all`.
        workers: points at once; by default one a core. On a cluster, the number of machines.
        runs: the folder of all runs; by default `runs/` in the project.
        by_value: modules that are sent along with the function, since other processes cannot import them.
        wait: show the progress until it has ended. False: return when the first points run; it goes on by itself,
            also when this process ends. On a cluster: return when it is submitted.
        stack: run on this cluster: a stack's name, or what `connect` returned.
        push: on a cluster: push this checkout first, if the release differs.
        as_pushed: on a cluster: run the release as it is, even if this checkout differs.
        yes: on a cluster: run more than 10^8 points, or more than a year of them.
        unpriced: on a cluster: run also where the price of a worker is unknown, and so no budget can be enforced.
        **grid: the other keys of grid.yaml: method, samples, zip, when, exclude, include, grids, points.

    Returns:
        the run. Failed points do not raise: `run.failures()`.

    Raises:
        UsageError: nothing was run; says every problem.
        SweepfleetError: the run could not go on; what is finished is kept. Or the cluster could not be reached.

    Examples:
        >>> import sweepfleet as sf
        >>> def fit(alpha, degree, seed):
        ...     return {"loss": (alpha - 0.1) ** 2 + degree}
        >>> run = sf.sweep(
        ...     fit,
        ...     {"alpha": sf.logspace(-3, 1, 9), "degree": range(1, 4)},
        ...     where="alpha * degree < 5",
        ...     replicates=2,
        ...     metric="loss",
        ...     execution={"timeout": "1m", "retries": 2},
        ... )
        >>> run.frame().height, run.best()["params"]
        (44, {'alpha': 0.1, 'degree': 1})

        The same call again runs nothing twice; another value runs only the points that it adds.

        >>> more = {"alpha": sf.logspace(-3, 1, 9), "degree": range(1, 5)}
        >>> run = sf.sweep(fit, more, where="alpha * degree < 5", replicates=2, metric="loss")
        >>> run.summary["resumed"], run.summary["computed"]
        (44, 14)
    """
    if inside.a_point:
        raise UsageError("A point cannot start a sweep. Start it from the script or notebook that starts this one.")
    check_redo(redo)
    conditions = (where,) if isinstance(where, str) else tuple(where)
    if isinstance(target, str | Path):
        given = {"parameters": parameters, "metric": metric, "replicates": replicates, "seed": seed, **grid}
        given |= {"execution": execution, "by_value": by_value or None}
        if odd := [key for key, value in given.items() if value is not None]:
            raise UsageError(f"A grid file has all keys of its sweep. Write these into {target}: {', '.join(odd)}.")
        checked = load(Path(target), where=conditions, name=name)
        chosen = conditions
        root = project_of(checked)
        place = runs_folder(runs, root=root)
        function = None
    else:
        function = function_of(target, by_value=by_value)
        more: dict[str, Any] = {
            "replicates": replicates,
            "seed": seed,
            "execution": execution,
            "metric": metric,
            **grid,
        }
        more["where"] = list(conditions) or None
        checked, place = _checked(function, parameters, name=name, runs=runs, more=more)
        chosen = ()
        root = project_of(checked)
    folder = place / checked.name
    if stack is not None:
        fleet = _cluster(stack, root, folder)
        _write(function, folder)
        from sweepfleet.api.cluster_run import start

        how: dict[str, Any] = {"redo": redo, "workers": workers, "push": push, "as_pushed": as_pushed}
        how["unpriced"] = unpriced
        with _tidied(folder):
            return start(fleet, checked, root=root, runs=place, wait=wait, yes=yes, **how)
    theirs = {"push": push, "as_pushed": as_pushed, "yes": yes, "unpriced": unpriced}
    if odd := [name for name, given in theirs.items() if given]:
        raise UsageError(f"{' and '.join(odd)}: for a cluster, and this sweep runs here. Remove it, or add stack=.")
    _write(function, folder)
    order = Order(
        text=checked.text,
        source=str(checked.source),
        where=chosen,
        name=checked.name,
        runs=str(place),
        root=str(root),
        command_line=f"sweepfleet.sweep in {sys.argv[0] or 'python'}",
        workers=workers,
        redo=redo,
        stops_with_its_owner=wait,
    )
    screen = screen_for(checked)
    run = Run(folder, driver=(driver := Driver(order)), screen=screen)
    with _tidied(folder):
        if wait:
            return run.wait()
        driver.follow(screen, until=lambda event: event.get("begins") == "running")
    return run


def _cluster(stack: str | Cluster, root: Path, folder: Path) -> Fleet:
    """The cluster that is meant, once the run's folder here is known to lose nothing by its results."""
    from sweepfleet.api.cluster import fleet_of

    fleet = fleet_of(stack, root=root)
    with python_hints(fleet.outputs.stack):
        from sweepfleet.fleet.runs.fetch import check_place

        check_place(RunFolder(folder), fleet.outputs)
    return fleet


def _checked(
    function: Function, parameters: Any, *, name: str | None, runs: str | Path | None, more: dict[str, Any]
) -> tuple[Sweep, Path]:
    """The checked sweep, and the folder of all runs. Raises GridError with every problem."""
    called = name if name is not None else _plain(function.run.partition(":")[2])
    source = function.folder / f"{called}.yaml"
    place = runs_folder(runs, root=_project(source))
    file = RunFolder(place / called).function
    pickle = os.path.relpath(file, function.folder) if function.data is not None else None
    try:
        text = to_yaml(keys_of(function.run, parameters=parameters, pickle=pickle, name=called, **more))
    except TypeError as error:
        allowed = "A value is text, a number, True, False, None, or a list of them."
        raise UsageError(f"{error}. {allowed}") from None
    checked = loads(text, source=source)
    if checked.name == called:
        return checked, place
    # The grid has made a folder's name of it, and the function's file is in that folder.
    again, place = _checked(function, parameters, name=checked.name, runs=runs, more=more)
    return replace(again, warnings=(*checked.warnings, *again.warnings)), place


def _project(source: Path) -> Path:
    from sweepfleet.grid.project_root import project_around

    return project_around(source.parent) or source.parent


def _plain(name: str) -> str:
    """A function's name as the name of a folder."""
    return name.replace("<lambda>", "lambda").replace("<locals>.", "").strip("<>_.") or "sweep"


@contextlib.contextmanager
def _tidied(folder: Path) -> Iterator[None]:
    """Context that removes what was written for a run that is refused before it has a ledger."""
    try:
        yield
    except UsageError:
        _tidy(folder)
        raise


def _tidy(folder: Path) -> None:
    run = RunFolder(folder)
    if run.ledger.exists() or run.running() is not None:
        return
    with contextlib.suppress(OSError):
        for file in (run.function, run.lock_file):
            file.unlink(missing_ok=True)
        folder.rmdir()


def _write(function: Function | None, folder: Path) -> None:
    """Write the function's file, unless a run of it is active. Raises UsageError then."""
    if function is None or function.data is None:
        return
    if RunFolder(folder).running() is not None:
        raise UsageError(f"{folder.name} is running. Wait for it, or give this sweep another name.")
    function.write(RunFolder(folder).function)
