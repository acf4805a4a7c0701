"""`inv sweep` on a stack: hand the sweep over, watch it, fetch what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet import runs
from fleet.cost import Cost, cost_of, rate_of
from fleet.errors import ClusterError
from fleet.fleet import Fleet
from fleet.runs import State
from fleet.watch import watch
from grid.errors import UsageError
from grid.sweep import Sweep
from sweep.summary import Summary


@dataclass(frozen=True, slots=True)
class Ended:
    """A run on the cluster that has ended, and is here."""

    summary: Summary
    exit_code: int
    folder: Path
    cost: Cost


def target_line(fleet: Fleet, name: str) -> str:
    """The first line of every sweep: where it runs."""
    return f"Target: stack {fleet.outputs.stack} in {fleet.outputs.region} · run {name}"


def hand_over(
    fleet: Fleet,
    sweep: Sweep,
    *,
    command_line: str,
    retry_failed: bool,
    workers: int | None,
    say: Callable[[str], None],
) -> None:
    """Submit a sweep to the cluster."""
    release = fleet.release()
    most = fleet.outputs.max_workers
    rate = rate_of(fleet, workers=min(workers or most, most))
    with fleet.head() as head:
        wanted = runs.submit(
            head,
            sweep,
            release,
            root=fleet.root,
            command_line=command_line,
            retry_failed=retry_failed,
            workers=workers,
            max_workers=most,
            files=points_files(sweep),
            usd_per_worker_hour=rate.usd_per_worker_hour,
            budget_usd=fleet.outputs.budget_usd,
        )
    changed = " with changes" if release.dirty else ""
    say(f"Handed over to the head: release {release.commit[:10]}{changed}, {wanted} workers asked for")
    say(rate.line(wanted, budget_usd=fleet.outputs.budget_usd))


def points_files(sweep: Sweep) -> list[Path]:
    """The points files beside a grid file, which travel with it."""
    endings = {".csv", ".json", ".jsonl", ".parquet"}
    named = [file for file in sweep.source.parent.iterdir() if file.suffix in endings and file.name in sweep.text]
    return sorted(file for file in named if file.is_file())


def see_through(fleet: Fleet, name: str, *, runs_folder: Path, quiet: bool, say: Callable[[str], None]) -> Ended:
    """Watch a run to its end, and fetch it.

    Raises:
        UsageError: the head refused it; nothing was run.
        ClusterError: the head could not be reached, or the run's results not be stored.
    """
    last = watch(fleet, name, quiet=quiet)
    return ended(fleet, last, name, runs_folder=runs_folder, say=say)


def ended(fleet: Fleet, last: State, name: str, *, runs_folder: Path, say: Callable[[str], None]) -> Ended:
    """What came of a run that has ended, fetched; see `see_through`."""
    if last.exit_code == 2:
        raise UsageError(last.error)
    if not last.summary:
        raise ClusterError(f"The run {name} ended without results: {last.error or 'look at inv logs'}")
    folder = runs.fetch(fleet.cloud, fleet.outputs, name, runs=runs_folder, say=say)
    with fleet.head() as head:
        cost = cost_of(head, name)
    return Ended(Summary(**last.summary), last.exit_code or 0, folder, cost)
