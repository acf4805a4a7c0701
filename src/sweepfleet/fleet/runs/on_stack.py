"""`inv sweep` on a stack: hand the sweep over, watch it, fetch what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.fleet.code.push import Pushed
from sweepfleet.fleet.code.sent_function import check_modules, check_python
from sweepfleet.fleet.errors import CancelledError, ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Budget, Cost, Rate, cost_of, rate_of
from sweepfleet.fleet.money.estimate import Capacity, capacity, slots_each
from sweepfleet.fleet.reach.host_keys import HostKeyError, NotYetError
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs.answers import Answers, sleeping
from sweepfleet.fleet.runs.fetch import check_place, fetch
from sweepfleet.fleet.runs.jobs import State, progress_of
from sweepfleet.fleet.runs.stored_files import stored_files
from sweepfleet.fleet.stack.awake import AsleepError
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.machine.job import Job
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.preview import too_large
from sweepfleet.run.summary import Summary
from sweepfleet.run.text import dollars


@dataclass(frozen=True, slots=True)
class Ended:
    """A run on the cluster that has ended, and is here."""

    summary: Summary
    exit_code: int
    folder: Path
    cost: Cost | None


def target_line(fleet: Fleet, name: str) -> str:
    """The first line of every sweep: where it runs."""
    return f"Target: stack {fleet.outputs.stack} in {fleet.outputs.region} · run {name}"


@dataclass(frozen=True, slots=True)
class Order:
    """A sweep as the cluster is asked to run it, and what that means for whoever pays."""

    job: Job
    release: Pushed
    rate: Rate
    budget: Budget

    @property
    def lines(self) -> list[str]:
        """For a person."""
        needed = self.job.workers_needed
        return [
            f"Submitted to the head: release {self.release.label}, at most {counted(needed, 'worker')}",
            self.rate.line(needed, budget=self.budget),
        ]


def order(
    fleet: Fleet,
    sweep: Sweep,
    *,
    command_line: str,
    redo: str,
    workers: int | None,
    release: Pushed | None = None,
    without_price: bool = False,
) -> Order:
    """What to ask of the cluster for a sweep; asks AWS for prices, and without `release` what the cluster runs.

    `without_price`: it runs where the price of a worker is unknown, too, though no budget can be enforced.

    Raises:
        UsageError: nothing was pushed yet, the grid is outside the project, or its budget cannot be enforced.
        ClusterError: AWS refuses.
    """
    release = release or fleet.release()
    out = fleet.outputs
    each = slots_each(out, fleet.cloud, sweep.execution)
    needed = runs.workers_needed(sweep, workers=workers, max_workers=out.max_workers, slots_each=each)
    rate = rate_of(out, fleet.cloud, count=needed, cache=fleet.folder.prices_file)
    budget = Budget(out.budget_usd, sweep.execution.max_cost_usd)
    if rate.usd_per_worker_hour is None and (budget.max_cost_usd is not None or not without_price):
        raise UsageError(unpriced(rate, budget))
    job = runs.job_of(
        sweep,
        release,
        root=fleet.root,
        command_line=command_line,
        redo=redo,
        workers=workers,
        max_workers=out.max_workers,
        slots_each=each,
        usd_per_worker_hour=rate.usd_per_worker_hour,
        budget_usd=budget.usd,
        rates=rate.rates,
    )
    return Order(job, release, rate, budget)


def unpriced(rate: Rate, budget: Budget) -> str:
    """Why a sweep is refused where the price of a worker is unknown."""
    limited = budget.max_cost_usd is not None
    limit = "execution.max_cost" if limited else "The stack's budgetUsd"
    usd = dollars(budget.max_cost_usd if budget.max_cost_usd is not None else budget.stack_usd)
    instead = "remove max_cost" if limited else "run it without a limit: inv sweep --unpriced"
    return (
        f"{limit} is {usd} USD, and cannot be enforced: the price of {', '.join(rate.unpriced)} is unknown. Allow "
        f"the price requests to AWS (docs/cluster.md), choose other workerInstanceTypes, or {instead}"
    )


def agreed(
    fleet: Fleet,
    sweep: Sweep,
    *,
    root: Path,
    runs_folder: Path,
    redo: str,
    workers: int | None,
    release: Callable[[], Pushed],
    whole: bool,
    confirm_run: Callable[[str | None], None],
    say: Callable[[str], None],
) -> Pushed:
    """The release that a sweep runs, once all is known to be as the user means it; nothing is submitted yet.

    Args:
        fleet: the cluster.
        sweep: checked here already.
        root: of the grid's project.
        runs_folder: of all runs here, where its results will come.
        redo: which ended points it computes again; empty: none.
        workers: at most so many; None: as many as it can use.
        release: agrees on the release that it runs.
        whole: whether the release must have all modules that a function sent by value needs.
        confirm_run: has the user confirm points that may not be meant; gets why, or None.
        say: to a person.

    Raises:
        UsageError: it cannot be submitted so; says why, and what to do.
        ClusterError: AWS or the head refuse.
    """
    check_place(RunFolder(runs_folder / sweep.name), fleet.outputs)
    say(target_line(fleet, sweep.name))
    slots = lambda: capacity_for(fleet, sweep, workers).slots  # noqa: E731
    confirm_run(too_large(sweep, runs=runs_folder, root=root, slots=slots, redo=redo))
    chosen = release()
    if whole:
        check_modules(fleet, sweep, chosen)
    return chosen


def capacity_for(fleet: Fleet, sweep: Sweep, workers: int | None) -> Capacity:
    """The slots that a sweep may have there, and what they cost. Raises ClusterError: AWS refuses."""
    each = slots_each(fleet.outputs, fleet.cloud, sweep.execution)
    return capacity(
        fleet.outputs,
        fleet.cloud,
        sweep.execution,
        count=runs.workers_needed(sweep, workers=workers, max_workers=fleet.outputs.max_workers, slots_each=each),
        cache=fleet.folder.prices_file,
    )


def hand_over(
    fleet: Fleet,
    sweep: Sweep,
    *,
    command_line: str,
    redo: str,
    workers: int | None,
    release: Pushed,
    say: Callable[[str], None],
    without_price: bool = False,
) -> None:
    """Submit a sweep to the cluster, to be run by this release."""
    asked = order(
        fleet,
        sweep,
        command_line=command_line,
        redo=redo,
        workers=workers,
        release=release,
        without_price=without_price,
    )
    with fleet.head() as head:
        check_python(head, sweep, lock=release.lock)
        runs.submit(head, sweep, asked.job, root=fleet.root)
    for line in asked.lines:
        say(line)


def fetched(fleet: Fleet, last: State, name: str, *, runs_folder: Path, steps: Steps) -> Ended:
    """What came of a run that has ended, brought here.

    Raises:
        UsageError: the head refused it, and nothing was run; or the folder here is not to be overwritten.
        CancelledError: it was cancelled before anything came of it.
        ClusterError: it ended without results, or they cannot be had.
    """
    if last.exit_code == 2:
        raise UsageError(last.error)
    if last.exit_code is None:
        raise CancelledError(
            f"The run {name} was cancelled before it had results. The same inv sweep starts it again."
        )
    summary = Summary.of(last.summary)
    if summary is None:
        raise ClusterError(f"The run {name} ended without results: {last.error or 'look at inv logs'}")
    folder = fetch(fleet.cloud, fleet.outputs, name, runs=runs_folder, steps=steps)
    if last.error:
        steps.say(f"The run stopped with an error: {last.error}")
    steps.step("Asking the head what the run cost")
    return Ended(summary, last.exit_code, folder.path, _cost(fleet, name))


def _cost(fleet: Fleet, name: str) -> Cost | None:
    """What a run has cost; None when the head cannot be asked: its results are here nonetheless."""
    try:
        with fleet.awake_head() as head:
            return cost_of(head, name)
    except ClusterError:
        return None


@dataclass(frozen=True, slots=True)
class Brought:
    """A run that is here as it was just now."""

    name: str
    ended: bool  # False where the head could not be asked


def bring(fleet: Fleet, name: str, *, runs_folder: Path, steps: Steps) -> Brought:
    """Bring a run here as it is now, also an active one.

    Args:
        fleet: the cluster.
        name: of the run; empty for the one that goes on, or the last one.
        runs_folder: of all runs here.
        steps: shows what is being done.

    Raises:
        UsageError: there is no such run, or the folder here is not to be overwritten.
        ClusterError: it has no results yet, or they cannot be had.
    """
    if (known := sleeping(fleet)) is not None:
        return _bring_stored(fleet, known, known.which(name), runs_folder=runs_folder, steps=steps)
    steps.step("Connecting to the head")
    ended = False
    try:
        with fleet.awake_head() as head:
            name = runs.which(head, name)
            now = runs.state(head, name)
            ended = now.ended
            if not now.ended:
                done = progress_of(now) if now.progress else None
                count = f": {done.done + done.failed:,} of {counted(done.total, 'point')} finished" if done else ""
                steps.say(f"The run {name} is active{count}")
                steps.step(f"The head stores what {name} has so far")
                runs.store(head, name)
    except HostKeyError:
        raise
    except (NotYetError, AsleepError) as error:
        if not name:
            raise
        if not isinstance(error, AsleepError):
            steps.say(f"{error} This is what the bucket has:")
    fetch(fleet.cloud, fleet.outputs, name, runs=runs_folder, steps=steps)
    return Brought(name, ended)


def _bring_stored(fleet: Fleet, known: Answers, name: str, *, runs_folder: Path, steps: Steps) -> Brought:
    """The same out of the bucket, while the head is asleep; errors as of `bring`."""
    is_active = name in {one.name for one in known.active}
    state = "stopped with the head" if is_active else "not active"
    steps.say(f"The head is asleep. The run {name} is {state}; this is what the bucket has:")
    with stored_files(fleet.cloud, fleet.outputs, name) as files:
        fetch(fleet.cloud, fleet.outputs, name, runs=runs_folder, steps=steps, files=files)
    return Brought(name, not is_active)
