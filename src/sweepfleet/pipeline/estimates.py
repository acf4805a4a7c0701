"""What the sweeps that a branch changes would take of a stack, before anything is merged; and what refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepfleet.fleet.money.cost import Budget, Workers
from sweepfleet.fleet.money.estimate import Capacity, capacity, slots_each
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.runs import travel
from sweepfleet.fleet.runs.jobs import workers_needed
from sweepfleet.fleet.runs.on_stack import unpriced
from sweepfleet.grid.errors import GridError, SweepfleetError, UsageError
from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.pipeline.markdown import table, text
from sweepfleet.pipeline.sweeps import changed, grids
from sweepfleet.pipeline.trial import LIMIT_S, POINTS, Trial, trial
from sweepfleet.run.text import about_dollars, dollars, duration, duration_each

LONG = 2000  # characters of an error


@dataclass(frozen=True, slots=True)
class Offer:
    """What a stack has for sweeps, up or not."""

    workers: Workers  # its outputs; its settings when it is not up
    cloud: Cloud
    cache: Path  # a file that keeps prices
    bucket: str = ""  # with the runs that it has had; "" when it is not up


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one sweep would take. Seconds, hours and dollars are None where they are not known."""

    grid: str  # its path in the project
    name: str = ""  # of the run; "" when the grid is none
    points: int | None = None
    exact: bool = True  # the points were counted
    left: int | None = None  # of them, what has not ended yet
    point_s: float | None = None
    at_least: bool = False  # a point may well take longer
    source: str = ""  # where the seconds come from
    hours: float | None = None
    usd: float | None = None  # at most
    budget: Budget | None = None
    problems: tuple[str, ...] = ()  # each is a reason to refuse it
    warnings: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it is not to be merged so."""
        return bool(self.problems)


def estimates(root: Path, *, base: str, offer: Offer, say: Callable[[str], None] = print) -> list[Estimate]:
    """An estimate of each grid under sweeps/ that the branch changes.

    Args:
        root: of the checkout.
        base: what the branch goes into.
        offer: the stack's.
        say: tells a person which one it is at; some points of each are run.

    Raises:
        UsageError: there is no such base.
        ClusterError: AWS refuses.
    """
    taken = _names(root)
    found = []
    for grid in changed(root, base):
        place = grid.relative_to(root).as_posix()
        say(f"Estimating {place}")
        one = estimate(grid, root=root, offer=offer)
        if one.name and (others := [other for other in taken[one.name] if other != place]):
            also = f"{', '.join(others)} has the name {one.name}, too. Give each its own name, which is the run's."
            one = replace(one, problems=(*one.problems, also))
        found.append(one)
    return found


def _names(root: Path) -> dict[str, list[str]]:
    """The grids by the name of their run."""
    found: dict[str, list[str]] = {}
    for grid in grids(root):
        try:
            found.setdefault(load(grid).name, []).append(grid.relative_to(root).as_posix())
        except SweepfleetError:
            continue
    return found


def estimate(grid: Path, *, root: Path, offer: Offer, limit_s: float = LIMIT_S) -> Estimate:
    """What a sweep would take of a stack; runs a few of its points here where the stack has not had such a run.

    Args:
        grid: the grid file.
        root: of the checkout.
        offer: the stack's.
        limit_s: for the points that are run here.

    Raises:
        ClusterError: AWS refuses.
    """
    place = grid.relative_to(root).as_posix()
    try:
        sweep = load(grid)
        travel.points_files(sweep, root=root)
        travel.function_of(sweep)
    except GridError as error:
        return Estimate(place, problems=tuple(map(str, error.problems)))
    except UsageError as error:
        return Estimate(place, problems=(str(error),))
    space = Space(sweep.plan)
    count = space.count()
    its = _capacity(sweep, offer)
    known = Estimate(
        place, sweep.name, count.points, count.exact, count.points, budget=its.budget, warnings=sweep.warnings
    )
    if count.exact and not count.points:
        none = "The grid has no points: its constraints exclude all. Loosen where, exclude or when."
        return replace(known, problems=(none,))
    before = _run(offer, sweep.name)
    try:
        # The target is imported in any case: a run of the same name says nothing of the code that is here.
        tried = trial(sweep, root=root, points=0 if before else POINTS, limit_s=limit_s)
    except UsageError as error:
        return replace(known, problems=(str(error),))
    known = _of_run(known, before, sweep) if before else _of_trial(known, tried, limit_s=limit_s)
    return _with_money(known, its)


def _capacity(sweep: Sweep, offer: Offer) -> Capacity:
    each = slots_each(offer.workers, offer.cloud, sweep.execution)
    return capacity(
        offer.workers,
        offer.cloud,
        sweep.execution,
        count=workers_needed(sweep, workers=None, max_workers=offer.workers.max_workers, slots_each=each),
        cache=offer.cache,
    )


def _run(offer: Offer, name: str) -> dict[str, Any] | None:
    """The summary of the stack's run of this name that tells how long points took."""
    if not offer.bucket:
        return None
    s3 = offer.cloud.client("s3")
    with asking_aws("read the times of the run of this name"):
        try:
            body = s3.get_object(Bucket=offer.bucket, Key=f"{BucketLayout().runs}{name}/summary.json")["Body"].read()
        except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
            return None
    try:
        summary = json.loads(body)
        return summary if summary["computed"] > 0 and summary["busy_s"] > 0 else None
    except (ValueError, KeyError, TypeError):  # another version's
        return None


def _of_run(known: Estimate, summary: dict[str, Any], sweep: Sweep) -> Estimate:
    computed = int(summary["computed"])
    left = known.points or 0
    if summary.get("plan") == sweep.plan.digest():
        left = max(0, left - int(summary["done"]) - int(summary["failed"]))
    source = f"the mean of {counted(computed, 'point')} of the stack's run of this name"
    return replace(known, left=left, point_s=summary["busy_s"] / computed, source=source)


def _of_trial(known: Estimate, tried: Trial, *, limit_s: float) -> Estimate:
    ended = len(tried.durations_s)
    warnings = []
    if not tried.imported:
        warnings.append(f"Its target was not imported in {limit_s:g} s here, so no point was tried.")
    if tried.failed:
        warnings.append(f"{tried.failed} of {counted(ended, 'point')} tried here failed: {tried.error}")
    if tried.outlasted_s is not None:
        warnings.append(
            f"{counted(ended, 'point')} ended in {limit_s:g} s here, and one was still running: points take "
            "longer than shown."
        )
    source = (
        f"{counted(ended + (tried.outlasted_s is not None), 'point')}, run here" if tried.point_s is not None else ""
    )
    return replace(
        known,
        point_s=tried.point_s,
        at_least=tried.at_least,
        source=source,
        warnings=(*known.warnings, *warnings),
    )


def _with_money(known: Estimate, its: Capacity) -> Estimate:
    """The same with hours and dollars, held against the limits."""
    left, point_s = known.left or 0, known.point_s
    hours = None if point_s is None else its.hours(left * point_s, points=left)
    usd = None if hours is None else its.usd(hours)
    problems, warnings = list(known.problems), list(known.warnings)
    limit = its.budget.max_cost_usd
    if its.rate.usd_per_worker_hour is None:
        problems.append(f"{unpriced(its.rate, its.budget)}.")
    elif limit is not None and usd is None:
        problems.append(
            f"It has a max_cost of {dollars(limit)} USD, and its cost is unknown. Run a part of it first (inv "
            "sweep --where), so that the stack knows how long a point takes; or remove max_cost."
        )
    elif limit is not None and usd is not None and usd > limit:
        problems.append(
            f"It would cost {_usd(usd, at_least=known.at_least)} USD, more than its max_cost of {dollars(limit)}. "
            "Make it smaller, or raise execution.max_cost."
        )
    stacks = its.budget.stack_usd
    if usd is not None and usd > stacks:
        warnings.append(
            f"It would cost {_usd(usd, at_least=known.at_least)} USD, more than the stack's budgetUsd of "
            f"{dollars(stacks)}: it stops there, and what is done is kept."
        )
    late = "" if point_s is None else its.deadline_line(left * point_s, left)
    if "not met" in late:
        warnings.append(late)
    return replace(known, hours=hours, usd=usd, problems=tuple(problems), warnings=tuple(warnings))


def _usd(usd: float, *, at_least: bool) -> str:
    return f"more than {dollars(usd)}" if at_least else about_dollars(usd)


# For the pull request


def sweeps_part(found: Sequence[Estimate]) -> str:
    """What a pull request is told of its sweeps; Markdown."""
    if not found:
        return "### Sweeps\n\nNo sweep is changed.\n"
    head = ("", "Grid", "Run", "Points", "A point takes", "Time", "USD", "At most")
    lines = ["### Sweeps", "", *table(head, map(_row, found), right=(3, 4, 5, 6, 7)), ""]
    for one in found:
        lines += _said(one)
    return "\n".join(lines).rstrip() + "\n"


def _row(one: Estimate) -> list[str]:
    sign = "❌" if one.refused else "⚠️" if one.warnings else "✅"
    than = "more than " if one.at_least else ""
    return [
        sign,
        text(one.grid),
        text(one.name),
        _points(one),
        "" if one.point_s is None else f"{than}{duration_each(one.point_s)}",
        "" if one.hours is None else f"{than}{duration(one.hours * 3600)}",
        "unknown" if one.usd is None else f"{than}{dollars(one.usd)}",
        "" if one.budget is None else dollars(one.budget.usd),
    ]


def _points(one: Estimate) -> str:
    if one.points is None:
        return ""
    count = f"{'' if one.exact else 'about '}{one.points:,}"
    return count if one.left == one.points else f"{one.left:,} of {count}"


def _said(one: Estimate) -> Iterator[str]:
    """What is to be said of a sweep below the table."""
    grid = text(one.grid)
    for problem in one.problems:
        yield f"- ❌ {grid}: {text(problem, most=LONG)}"
    for warning in one.warnings:
        yield f"- ⚠️ {grid}: {text(warning, most=LONG)}"
    if one.source:
        yield f"- {grid}: the time is from {text(one.source)}."
