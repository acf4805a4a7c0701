"""Workers: started, counted, stopped."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from sweepfleet.tasks.front import (
    STACK_HELP,
    number,
    open_fleet,
    speaking,
)


@task(
    help={
        "stack": STACK_HELP,
        "workers": "the number of workers; by default one",
        "timeout": "seconds after which to give up; by default 900",
    }
)
@speaking
def start(c: Context, stack: str = "", workers: str = "1", timeout: str = "900") -> None:
    """Start workers and wait until they have joined.

    Without a sweep they shut down again.
    """
    from sweepfleet.fleet.steps import Steps
    from sweepfleet.fleet.workers.group import ends_by_itself
    from sweepfleet.fleet.workers.joining import start

    count, deadline_s = number(workers, "--workers", least=1), number(timeout, "--timeout", least=1)
    fleet = open_fleet(stack)
    with Steps() as steps:
        start(fleet, count, deadline_s=deadline_s, steps=steps)
    print(ends_by_itself(has_code=True))


@task(positional=["workers"], help={"stack": STACK_HELP, "workers": "the number of workers"})
@speaking
def scale(c: Context, workers: str, stack: str = "") -> None:
    """Set the number of workers. Returns at once.

    Never less than active runs need.
    """
    from sweepfleet.fleet.code.push import current_release
    from sweepfleet.fleet.money.cost import rate_of
    from sweepfleet.fleet.workers.group import ends_by_itself, scale
    from sweepfleet.grid.wording import counted

    count = number(workers, "workers", least=0)
    fleet = open_fleet(stack)
    with fleet.head() as head:
        rate = rate_of(fleet.outputs, fleet.cloud, count=count, cache=fleet.folder.prices_file)
        asked = scale(head, fleet.cloud, fleet.outputs, count, rates=rate.rates)
    why = " (what the active runs need)" if asked > count else ""
    print(f"{counted(asked, 'worker')} requested{why}: inv status")
    if asked:
        print(ends_by_itself(has_code=current_release(fleet.cloud, fleet.outputs) is not None))


@task(help={"stack": STACK_HELP, "yes": "also when runs are active: they stop, and the same command resumes them"})
@speaking
def stop(c: Context, stack: str = "", *, yes: bool = False) -> None:
    """Shut down all workers. Finished points are kept."""
    from sweepfleet.fleet.workers.stopping import stop

    stop(open_fleet(stack), yes=yes)
    print("The workers shut down.")
