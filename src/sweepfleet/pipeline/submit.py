"""Sweeps as code: what stands under sweeps/ is what the cluster has been asked to run, and nothing else is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.letterbox import submit_by_letter
from sweepfleet.fleet.runs.on_stack import order
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.load import load
from sweepfleet.grid.sweep import Sweep
from sweepfleet.pipeline.marks import Mark, Marks
from sweepfleet.pipeline.sweeps import digest, grids


def submit_changed(fleet: Fleet, *, say: Callable[[str], None]) -> list[str]:
    """Hand over every sweep under sweeps/ whose grid is not the one that was handed over last.

    A run goes on by itself; what is done of it is not run again. All are tried.

    Args:
        fleet: the cluster, which has the code already.
        say: to a person.

    Returns:
        what could not be handed over, and why; it is tried again the next time.
    """
    marks = Marks(fleet.cloud, fleet.outputs)
    known = {mark.name: mark for mark in marks.all()}
    sweeps, problems = _loaded(fleet.root)
    taken = Counter(sweep.name for sweep in sweeps)
    for sweep in sweeps:
        place = sweep.source.relative_to(fleet.root).as_posix()
        try:
            if taken[sweep.name] > 1:
                problems.append(f"{place}: {taken[sweep.name]} grids have the name {sweep.name}. Give each its own.")
            elif _is_there(known.get(sweep.name), sweep, fleet):
                say(f"{place}: submitted before")
            else:
                _hand_over(fleet, marks, sweep, place=place, say=say)
        except SweepfleetError as error:
            problems.append(f"{place}: {error}")
    return problems


def _is_there(mark: Mark | None, sweep: Sweep, fleet: Fleet) -> bool:
    return mark is not None and (mark.digest, mark.volume) == (digest(sweep), fleet.outputs.data_volume_id)


def _loaded(root: Path) -> tuple[list[Sweep], list[str]]:
    sweeps, problems = [], []
    for file in grids(root):
        try:
            sweeps.append(load(file))
        except SweepfleetError as error:
            problems.append(f"{file.relative_to(root)}: {error}")
    return sweeps, problems


def _hand_over(fleet: Fleet, marks: Marks, sweep: Sweep, *, place: str, say: Callable[[str], None]) -> None:
    command_line = f"inv sweep --grid {place}"
    # Failed points, too: whoever merges a change of the sweep has mended something.
    asked = order(fleet, sweep, command_line=command_line, redo="failed", workers=None)
    mark = Mark(
        sweep.name,
        place,
        digest(sweep),
        asked.release.commit,
        asked.job.submitted,
        volume=fleet.outputs.data_volume_id,
    )
    before = marks.get(sweep.name)
    marks.put(mark)  # first: a head that answers too late has taken it over nonetheless, and its end is to be told
    try:
        submit_by_letter(fleet.cloud, fleet.outputs, sweep, asked.job, root=fleet.root)
    except UsageError:
        marks.put(before or replace(mark, digest="", collected=True))
        raise
    except ClusterError:
        marks.put(replace(mark, digest=""))  # whether it was taken over is not known: the next time asks again
        raise
    for line in asked.lines:
        say(f"{place}: {line}")
