"""`inv sweep`: here, or on the cluster that is up."""

from __future__ import annotations

import gc
import json as json_
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.asking import confirm_run
from sweepfleet.tasks.called import called
from sweepfleet.tasks.front import (
    BORN_S,
    integer,
    project_here,
    runs_folder,
    shown,
    speaking,
)
from sweepfleet.tasks.grids import grid_file
from sweepfleet.tasks.sweeps_on_stack import NO_SUMMARY, SEE_FIRST, preview_on_stack, sweep_on_stack


@task(
    iterable=["set_", "where"],
    help={
        "grid": "the grid file; also without --grid: inv sweep grid.yaml",
        "preview": "show the number of points, the first of them and the time; run nothing",
        "set_": "override a parameter or a setting: --set alpha=0.1,1 --set execution.retries=2 (repeatable)",
        "where": "compute only points where this is true: --where 'alpha < 1' (repeatable)",
        "test_point": "run this one point in this process, show its traceback, and record nothing",
        "retry_failed": "the same as --redo failed",
        "redo": "compute ended points again: done, failed, stale (computed by other code than today's) or all",
        "name": "the run: its folder is runs/<name>; by default the grid's own name",
        "workers": "points to run at once, by default one a core; on a cluster, the number of machines",
        "json": "print one JSON object and nothing else on standard output: the summary and the folder",
        "local": "run on this machine, even when a cluster is up",
        "stack": "run on this stack's cluster; by default the stack that is up, else this machine",
        "detach": "on a cluster: submit and return; inv attach watches it",
        "push": "on a cluster: push this checkout first, if the release differs",
        "as_pushed": "on a cluster: run the release as it is, even if this checkout differs",
        "unpriced": "on a cluster: run it where the price of a worker is unknown, so that no budget is enforced",
        "yes": "run more than 10^8 points, or more than a year of them, without being asked",
    },
)
@speaking
def sweep(
    c: Context,
    set_: list[str],
    where: list[str],
    grid: str = "",
    *,
    preview: bool = False,
    test_point: str = "",
    retry_failed: bool = False,
    redo: str = "",
    name: str = "",
    workers: str = "",
    json: bool = False,
    local: bool = False,
    stack: str = "",
    detach: bool = False,
    push: bool = False,
    as_pushed: bool = False,
    unpriced: bool = False,
    yes: bool = False,
) -> None:
    """Run a grid's points, on this machine's cores or on the cluster.

    Uses the cluster when one is up. Finished points are skipped.
    """
    from sweepfleet.fleet.stack.folder import stacks_up
    from sweepfleet.grid.project_root import project_around

    file = grid_file(grid, root=project_here())
    around = project_around(file.parent) or file.parent
    is_here = bool(local or test_point) or not (stack or stacks_up(around) or stacks_up(project_here()))
    if is_here and not (preview or test_point):
        from sweepfleet.slot.pool import start_early

        start_early()  # while the grid is read, and all that is to run it imported
    from sweepfleet.grid.errors import UsageError, printable
    from sweepfleet.grid.load import load
    from sweepfleet.grid.wording import counted
    from sweepfleet.run import preview as previews
    from sweepfleet.run.here import slots_here
    from sweepfleet.run.project import project_of
    from sweepfleet.run.selection import check_redo

    if retry_failed and redo not in ("", "failed"):
        raise UsageError(f"--retry-failed is --redo failed, and --redo {redo} is given as well. Remove one.")
    redo = "failed" if retry_failed else redo
    check_redo(redo)
    checked = load(file, overrides=set_, where=where, name=name or None)
    root = project_of(checked)
    runs = runs_folder(c, root=root)
    if not is_here:
        if preview:
            preview_on_stack(c, checked, root=root, stack=stack, workers=workers, redo=redo, json=json)
            return
        wishes: Any = {"workers": workers, "redo": redo, "detach": detach, "json": json, "yes": yes}
        wishes |= {"unpriced": unpriced}
        sweep_on_stack(c, checked, root=root, stack=stack, push=push, as_pushed=as_pushed, **wishes)
        return
    if detach or stack or push or as_pushed or unpriced:
        raise UsageError(
            "--detach, --stack, --push, --as-pushed and --unpriced are for a cluster; --local and --test-point run "
            "here."
        )
    slots = slots_here(checked, workers=integer(workers, "--workers"))
    one = integer(test_point, "--test-point")
    if preview and one is not None:
        raise UsageError("--preview runs nothing, --test-point runs one. Remove one.")
    if json and (preview or one is not None):
        raise UsageError(NO_SUMMARY)
    if preview:
        print(f"Target: this machine, {counted(slots, 'slot')}")
        for line in previews.preview(checked, runs=runs, root=root, slots=slots, redo=redo):
            print(printable(line), flush=True)
        return
    if one is not None:
        _test_point(checked, one, root=root)
        return
    from sweepfleet.grid.space import Space
    from sweepfleet.run.folder import RunFolder
    from sweepfleet.run.progress import observer
    from sweepfleet.run.request import Request
    from sweepfleet.run.say import ending
    from sweepfleet.run.sweep import run_sweep
    from sweepfleet.run.text import YEAR_S, terminal_width

    concern = previews.too_large(checked, runs=runs, root=root, slots=lambda: slots, redo=redo)
    confirm_run(concern, yes=yes, instead=SEE_FIRST)
    request = Request(
        runs=runs,
        root=root,
        command_line=shlex.join([*called().split(), *sys.argv[1:]]),
        born_s=BORN_S,
        workers=slots,
        redo=redo,
        longest_s=None if yes else YEAR_S,
        loaded=gc.freeze,  # what is there now stays: a search through it would hold up every slot for 50 ms
    )
    show = observer(Space(checked.plan), checked.metric, quiet=json)
    folder = request.runs / checked.name
    show.say(f"Target: this machine, {counted(slots, 'slot')} · run {shown(folder)}")
    summary, code = run_sweep(checked, request, show)
    if json:
        print(json_.dumps(summary.to_dict() | {"folder": str(folder)}))
    else:
        several_rows = RunFolder(folder).long.exists()
        print(
            printable(
                "\n".join(ending(summary, folder=shown(folder), several_rows=several_rows, width=terminal_width()))
            )
        )
    if code:
        raise Exit(code=code)


def _test_point(checked: Any, index: int, *, root: Path) -> None:
    """Run one point in this process."""
    from sweepfleet.grid.errors import printable
    from sweepfleet.run.preview import PointFailedError, run_one
    from sweepfleet.run.request import context_of

    with tempfile.TemporaryDirectory() as artifacts:
        context = context_of(checked, root=root, artifacts=Path(artifacts))
        try:
            for line in run_one(checked, context, index=index):
                print(printable(line), flush=True)
        except PointFailedError as error:
            raise Exit(printable(str(error)), error.exit_code) from None
