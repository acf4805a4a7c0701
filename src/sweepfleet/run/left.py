"""What is left to run of a sweep, and how far it is before anything runs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.bundles import Pending
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import REDO_REQUEST, Ledger
from sweepfleet.run.ownership import check_owner
from sweepfleet.run.project import names_of
from sweepfleet.run.request import Request
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.selection import Selection


def anything_left(folder: RunFolder, sweep: Sweep, chosen: Selection, request: Request) -> bool:
    """Whether the command has a point to run; where it has none, nothing is started."""
    if not folder.ledger.exists():
        return True
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        check_owner(folder, ledger, sweep, root=request.root)
        if not ledger.is_of(sweep.plan) or Pending(chosen.space, ledger, shuffle=None).take(1):
            return True
        return next(asked_again(sweep, chosen, ledger, request), None) is not None


def points_left(folder: RunFolder, sweep: Sweep, chosen: Selection, request: Request, *, most: int) -> int:
    """How many points the command has to run, counted up to `most`; after `anything_left`."""
    if folder.ledger.exists():
        with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
            if ledger.is_of(sweep.plan):
                taken = Pending(chosen.space, ledger, shuffle=None).take(most)
                new = sum(stop - start for start, stop in taken)
                again = itertools.islice(asked_again(sweep, chosen, ledger, request), max(0, most - new))
                return new + sum(1 for _ in again)
    return min(most, chosen.space.count().points)


def asked_again(sweep: Sweep, chosen: Selection, ledger: Ledger, request: Request) -> Iterator[int]:
    """The indexes of ended points to compute again; none where an earlier driver of this command has marked them."""
    if not request.redo or (request.redo_request and ledger.meta(REDO_REQUEST) == request.redo_request):
        return iter(())
    return chosen.redone(ledger, request.redo, names_of(sweep, home=request.root))


def nothing_left(chosen: Selection, request: Request) -> str:
    """What is said when it has none."""
    which = "every point that --where chose has ended" if chosen.conditions else "every point has ended"
    return f"Nothing is left to run: {which}{f', and --redo {request.redo} finds none' if request.redo else ''}."


def begun(folder: RunFolder, chosen: Selection, ledger: Ledger | None = None) -> Progress:
    """The progress before the command runs anything."""
    if ledger is None:
        with contextlib.closing(Ledger(folder.ledger, readonly=True)) as opened:
            return begun(folder, chosen, opened)
    ended, again = chosen.counts(ledger)
    count = chosen.space.count()
    done = ended.done - again.done
    return Progress(
        total=max(count.points, sum(ended)),
        exact=count.exact,
        resumed=done,
        done=done,
        failed=ended.failed - again.failed,
    )
