"""Shows what a sweep would do; and runs one point in this process, for debugging."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.grid.space import Point, Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.run.checkpoints import continuing
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.ledger_moving import home
from sweepfleet.run.ownership import check_owner
from sweepfleet.run.project import names_of
from sweepfleet.run.selection import Selection
from sweepfleet.run.text import YEAR_S, duration, duration_each, params_text, years
from sweepfleet.slot.context import Context
from sweepfleet.slot.modules import aside
from sweepfleet.slot.surroundings import start_folder, starting_in
from sweepfleet.slot.tables import split
from sweepfleet.slot.target import find
from sweepfleet.slot.writer import describe, metrics_of

SHOWN = 5
LOOKED_AT = 100_000  # rows of a run whose grid was edited, for those that it still has
MANY_POINTS = 10**8  # more are seldom meant
SEARCHED = 100_000  # indexes, replicates aside


class PointFailedError(SweepfleetError):
    """A test point failed; the text is the user's traceback."""


def preview(
    sweep: Sweep,
    *,
    runs: Path,
    root: Path,
    slots: int,
    redo: str = "",
    cost: Callable[[float, int], str] | None = None,
) -> Iterator[str]:
    """Lines that say how many points there are, the first of them, how long they may take and what that costs.

    The time comes from the points that the run already has; reads only.

    Args:
        sweep: the grid.
        runs: the folder of all runs.
        root: the project's root.
        slots: how many points run at once.
        redo: which ended points are computed again.
        cost: says what it costs when so many points keep slots busy for so many seconds.
    """
    chosen = Selection(sweep)
    chosen.check()
    space = chosen.space
    count = space.count()
    if count.exact:
        yield f"{sweep.name}: {counted(count.points, 'point')} of {sweep.target.label}"
    else:
        yield (
            f"{sweep.name}: about {count.points:,} points of {sweep.target.label} "
            f"(estimated from a sample; at most {count.upper:,}, before where, exclude and when)"
        )
    first = list(first_points(space))
    for point in first:
        which = f"  replicate {point.replicate}" if sweep.plan.replicates > 1 else ""
        yield f"  {point.index}  {point.id}  {_params(point)}{which}"
    if not first:
        looked = f"the first {searched(space):,} of {space.size:,} indexes"
        yield f"  None of these points is among {looked}; no others were checked."
    elif count.points > len(first):
        yield "  ..."
    if chosen.conditions:
        of = chosen.whole.count()
        yield f"  Chosen by --where from {'' if of.exact else 'about '}{counted(of.points, 'point')} of the grid."
    has = known(RunFolder(runs / sweep.name), sweep, root=root, redo=redo)
    left, mean_s = max(0, count.points - has.ended), has.mean_s
    if has.ended:
        about = "" if has.exact else "about "
        yield f"{about.capitalize()}{has.ended:,} have ended in {runs / sweep.name}; {about}{left:,} are left."
    if has.again:
        yield f"--redo {redo} computes {counted(has.again, 'ended point')} again."
    if continued := continuing(RunFolder(runs / sweep.name), redo=redo):
        yield f"{counted(continued, 'point')} to run will continue from a checkpoint."
    if not left and count.exact and has.exact:
        yield "Nothing is left to run."
    elif mean_s is None:
        hint = f" Try one: --test-point {first[0].index}" if first else ""
        yield f"Time: unknown until a point has run.{hint}"
    else:
        yield (
            f"Time: about {duration(left * mean_s / max(1, min(slots, left)))} on {counted(slots, 'slot')} "
            f"({duration_each(mean_s)} a point, the mean of those that have run)."
        )
        if cost is not None:
            yield cost(left * mean_s, left)
    for warning in sweep.warnings:
        yield f"Note: {warning}"


def too_large(sweep: Sweep, *, runs: Path, root: Path, slots: Callable[[], int], redo: str = "") -> str | None:
    """Why this sweep may be larger than intended: very many points, or years of them; None when it is not.

    Args:
        sweep: the grid.
        runs: the folder of all runs: how long a point takes is known from those that the run already has.
        root: the project's root.
        slots: how many points run at once.
        redo: which ended points are computed again.
    """
    count = Selection(sweep).space.count()
    folder = RunFolder(runs / sweep.name)
    if count.points <= MANY_POINTS and count.points * (_mean_s(folder) or 0.0) <= YEAR_S:
        return None  # whatever has ended of them: after an edit that takes seconds to count
    has = known(folder, sweep, root=root, redo=redo)
    left, mean_s = max(0, count.points - has.ended), has.mean_s
    about = "" if count.exact and has.exact else "About "
    if mean_s is not None and left * mean_s > YEAR_S and left * mean_s / slots() > YEAR_S:
        return (
            f"{about}{left:,} points are left, which would take {years(left * mean_s / slots())} on "
            f"{counted(slots(), 'slot')} ({duration_each(mean_s)} a point, the mean of those that have run)."
        )
    return f"{about}{left:,} points are left to run." if left > MANY_POINTS else None


def first_points(space: Space) -> Iterator[Point]:
    """The first few points, of those among the indexes that are `searched`."""
    return itertools.islice(space.points(0, searched(space)), SHOWN)


def searched(space: Space, start: int = 0) -> int:
    """The end of the indexes from `start` on that may be looked through for points while a person waits.

    Where conditions leave little, every index may have to be asked.
    """
    return min(space.size, start + SEARCHED * space.plan.replicates)


@dataclass(frozen=True, slots=True)
class Known:
    """The finished points among those that a command chooses."""

    ended: int = 0  # that stay as they are
    again: int = 0  # that have ended and that --redo computes again
    exact: bool = True  # whether that is counted, rather than estimated from some of the rows
    mean_s: float | None = None  # of the points that finished


def known(folder: RunFolder, sweep: Sweep, *, root: Path, redo: str = "") -> Known:
    """What the run in a folder has of a sweep's points already, also when the grid was edited since; reads only.

    Raises:
        UsageError: the folder has another target's rows, or cannot be read.
    """
    if not folder.ledger.exists():
        return Known()
    chosen = Selection(sweep)
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        check_owner(folder, ledger, sweep, root=root)
        old, mean_s = ledger.plan(), ledger.mean_s()
        if old is None:
            return Known(mean_s=mean_s)
        if ledger.is_of(sweep.plan):
            ended, again = chosen.counts(ledger)
            if not redo:
                return Known(sum(ended) - sum(again), mean_s=mean_s)
            asked = set(chosen.redone(ledger, redo, names_of(sweep, home=root)))
            kept = sum(row[0] not in asked and not row[3] for row in chosen.rows(ledger))
            return Known(kept, again=sum(ended) - kept, mean_s=mean_s)
        found, share = _found(ledger, Space(old), chosen)
        return Known(round(found / share), exact=share == 1, mean_s=mean_s)


def _mean_s(folder: RunFolder) -> float | None:
    """The mean duration of the points that finished in a folder; None where none did."""
    if not folder.ledger.exists():
        return None
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        return ledger.mean_s()


def _found(ledger: Ledger, old: Space, chosen: Selection) -> tuple[int, float]:
    """How many rows of an older plan are of chosen points, and which share of the rows was looked at."""
    step = 1 + (sum(ledger.counts()) + ledger.former()) // LOOKED_AT
    new, places = chosen.whole, []
    for number, (index, *_) in enumerate(row for rows in ledger.ended() for row in rows):
        if number % step == 0:
            point = old.point(index)
            same_draw = index // old.plan.replicates * new.plan.replicates + point.replicate
            near = (same_draw, *new.drawn_at(old.place(index), point.replicate))
            places.append(home(new, near, point.id, point.params, point.replicate))
    for number, (id_, params, replicate) in enumerate(ledger.former_points()):
        if number % step == 0:
            places.append(home(new, (), id_, params, replicate))
    return sum(place is not None and chosen.space.exists(place) for place in places), 1 / step


def _params(point: Point) -> str:
    return params_text(point.params) or "(no parameters)"


def run_one(sweep: Sweep, context: Context, *, index: int) -> Iterator[str]:
    """Run one point in this process, and say what it was given and what came of it.

    Raises:
        UsageError: there is no such point, or the target is refused.
        PointFailedError: the target raised an error, or returned what is no result.
    """
    space = Space(sweep.plan)
    try:
        point = space.point(index)
    except IndexError:
        raise UsageError(f"--test-point {index}: the indexes run from 0 to {space.size - 1:,}.") from None
    except LookupError:
        near = next((start for start, _ in space.spans(index, searched(space, index))), None)
        hint = "" if near is None else f" The next point is {near}."
        raise UsageError(f"--test-point {index}: where, exclude or when excludes this one.{hint}") from None
    here = starting_in(start_folder(context.folder, context.root))
    with here, aside() if context.target.run else contextlib.nullcontext():
        compute = find(context, space)
        yield f"point {point.index}  {point.id}  seed {point.seed}  {_params(point)}"
        begin_s = time.perf_counter()
        try:
            value = compute(point)
            metrics, rows = metrics_of(value, metric=context.metric), split(value)[1]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PointFailedError(describe(error)) from error  # sys.exit() too, as in a sweep
        spent_s = time.perf_counter() - begin_s
    yield f"result {json.dumps(metrics)}  in {duration_each(spent_s)}"
    if rows is not None:
        yield f"rows   {len(next(iter(rows.values()), ())):,}, with {', '.join(rows) or 'no columns'}"
