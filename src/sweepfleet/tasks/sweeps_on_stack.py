"""`inv sweep` on the cluster that is up, and its preview."""

from __future__ import annotations

import functools
import json as json_
import shlex
import sys
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit

from sweepfleet.tasks.asking import confirm_run
from sweepfleet.tasks.called import called
from sweepfleet.tasks.front import (
    NEW_HEAD_S,
    integer,
    open_fleet,
    open_steps,
    project_here,
    runs_folder,
    shown,
)

SEE_FIRST = "To see how many, how long and how dear first: --preview"
NO_SUMMARY = "--json prints the summary of a run; --preview and --test-point run none. Remove one."


def _most(workers: str) -> int | None:
    """How many machines a sweep may have at most."""
    from sweepfleet.grid.errors import UsageError

    most = integer(workers, "--workers")
    if most is not None and most < 1:
        raise UsageError(f"--workers {most}: at least 1.")
    return most


def preview_on_stack(
    c: Context, checked: Any, *, root: Path, stack: str, workers: str, redo: str, json: bool
) -> None:
    """What the sweep would take of a cluster."""
    from sweepfleet.fleet.runs.on_stack import capacity_for, target_line
    from sweepfleet.grid.errors import UsageError, printable
    from sweepfleet.run.preview import preview

    if json:
        raise UsageError(NO_SUMMARY)
    most = _most(workers)
    fleet = open_fleet(stack, root=_with_cluster(root))
    print(target_line(fleet, checked.name), flush=True)
    its = capacity_for(fleet, checked, most)
    for line in preview(
        checked, runs=runs_folder(c, root=root), root=root, slots=its.slots, redo=redo, cost=its.line
    ):
        print(printable(line), flush=True)


def _with_cluster(root: Path) -> Path:
    """The project whose cluster is meant: the grid's, else the one here, which says that the grid is not its."""
    from sweepfleet.fleet.stack.folder import stacks_up

    return root if stacks_up(root) else project_here()


def sweep_on_stack(
    c: Context,
    checked: Any,
    *,
    root: Path,
    stack: str,
    workers: str,
    redo: str,
    detach: bool,
    json: bool,
    yes: bool,
    push: bool = False,
    as_pushed: bool = False,
    unpriced: bool = False,
) -> None:
    """The same on a cluster."""
    from sweepfleet.fleet.runs.on_stack import agreed, hand_over
    from sweepfleet.grid.errors import UsageError
    from sweepfleet.tasks.pushing import release_for

    most = _most(workers)
    if json and detach:
        raise UsageError("--json prints the summary of a run; --detach does not wait for it. Remove one.")
    fleet = open_fleet(stack, root=_with_cluster(root))
    say = functools.partial(print, flush=True, file=sys.stderr if json else sys.stdout)
    which: Any = {"push": push, "as_pushed": as_pushed, "patience_s": NEW_HEAD_S, "say": say}
    release = agreed(
        fleet,
        checked,
        root=root,
        runs_folder=runs_folder(c, root=root),
        redo=redo,
        workers=most,
        release=lambda: release_for(fleet, checked, **which),
        whole=not as_pushed and checked.target.pickle is not None,  # of a module, the head says what it lacks
        confirm_run=functools.partial(confirm_run, yes=yes, instead=SEE_FIRST),
        say=say,
    )
    command_line = shlex.join([*called().split(), *sys.argv[1:]])
    try:
        asked: Any = {"command_line": command_line, "redo": redo, "workers": most, "without_price": unpriced}
        hand_over(fleet, checked, release=release, say=say, **asked)
    except KeyboardInterrupt:
        raise Exit(
            "Stopped while the sweep was submitted. Does the cluster have it? inv status · Cancel: inv cancel "
            f"--name {checked.name}",
            130,
        ) from None
    if detach:
        name = checked.name
        say(f"Submitted. Watch: inv attach --name {name} · Cancel: inv cancel --name {name}")
        return
    watch_and_finish(c, fleet, checked.name, json=json)


def watch_and_finish(c: Context, fleet: Any, name: str, *, json: bool) -> None:
    """Watch a run on the cluster to its end, fetch it, and end as the run did."""
    from sweepfleet.fleet.runs.on_stack import fetched
    from sweepfleet.fleet.runs.watch import watch
    from sweepfleet.grid.errors import printable
    from sweepfleet.run.folder import RunFolder
    from sweepfleet.run.say import ending
    from sweepfleet.run.text import terminal_width

    try:
        last = watch(fleet, name, quiet=json)
    except KeyboardInterrupt:
        raise Exit(
            f"Detached; the sweep is running. Watch: inv attach --name {name} · Cancel: inv cancel --name {name}",
            130,
        ) from None
    try:
        with open_steps(aside=json) as steps:
            ended = fetched(fleet, last, name, runs_folder=runs_folder(c, root=fleet.root), steps=steps)
    except KeyboardInterrupt:
        raise Exit(f"The sweep has ended. Fetch the rest: inv results --fetch --name {name}", 130) from None
    cost = ended.cost
    if json:
        more = {
            "folder": str(ended.folder),
            "cost_usd": cost and cost.usd,
            "worker_hours": cost and cost.worker_hours,
        }
        print(json_.dumps(ended.summary.to_dict() | more))
    else:
        several_rows = RunFolder(ended.folder).long.exists()
        print(
            printable(
                "\n".join(
                    ending(
                        ended.summary, folder=shown(ended.folder), several_rows=several_rows, width=terminal_width()
                    )
                )
            )
        )
        print(f"Cost: {cost or 'unknown: the head does not answer'}")
    if ended.exit_code:
        raise Exit(code=ended.exit_code)
