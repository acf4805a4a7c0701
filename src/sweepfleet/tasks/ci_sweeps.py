"""The pipeline's sweeps: `inv ci.sweeps` and `inv ci.results`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.called import as_called
from sweepfleet.tasks.front import STACK_HELP, open_fleet, open_stack, speaking

COLLECTED = "collected"


def cluster_of(stack: str) -> Any:
    """The cluster of a stack that may have been made by another checkout: its outputs are asked for anew."""
    return open_fleet(open_stack(stack).refresh().stack)


@task(help={"stack": STACK_HELP})
@speaking
def sweeps(c: Context, stack: str = "") -> None:
    """Submit new and changed sweeps under sweeps/."""
    from sweepfleet.grid.errors import printable
    from sweepfleet.pipeline.submit import submit_changed

    problems = submit_changed(cluster_of(stack), say=functools.partial(print, flush=True))
    if problems:
        raise Exit(printable("\n".join(f"error: {one}" for one in problems)), 1)


@task(
    help={
        "stack": STACK_HELP,
        "into": f"a folder for their reports and tables, by default {COLLECTED}/",
    }
)
@speaking
def results(c: Context, stack: str = "", into: str = COLLECTED) -> None:
    """Report on newly ended sweeps, and bring their reports here."""
    from sweepfleet.pipeline import github
    from sweepfleet.pipeline.collect import collect, mark_reported, summary_part

    fleet = cluster_of(stack)
    ends, active = collect(fleet, into=Path(into))
    said = summary_part(ends, active)
    print(said, flush=True)
    github.summarise(os.environ, as_called(said))
    mark_reported(fleet, ends)
    if bad := [end.mark.name for end in ends if end.exit_code]:
        raise Exit(f"These runs failed: {', '.join(bad)}", 1)
