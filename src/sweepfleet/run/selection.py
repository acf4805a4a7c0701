"""What one command computes: all of the plan's points, or those that `--where` chose; the plan stays the grid's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.ledger_reading import Counts, Reading
from sweepfleet.slot.code import digest_of
from sweepfleet.slot.project_files import Names
from sweepfleet.slot.records import Status

REDO = ("done", "failed", "stale", "all")
AFRESH = ("stale", "all")  # of these, failed points do not continue from their checkpoints
NEAR = 4  # rows this many times sparser than their indexes are asked for one by one


class Selection:
    """Points of a plan, under the plan's own indexes."""

    def __init__(self, sweep: Sweep) -> None:
        self.conditions = sweep.chosen
        self.whole = Space(sweep.plan)
        # Conditions exclude points and renumber none: the others keep their indexes.
        self.space = Space(sweep.plan.narrowed(sweep.chosen)) if sweep.chosen else self.whole

    def check(self) -> None:
        """Raise UsageError when it has no point."""
        for space, remedy in (
            (self.whole, "The grid has no points: where, exclude or when excludes them all. Relax one of them."),
            (self.space, f"No point of the grid meets {' and '.join(map(repr, self.conditions))}. Relax --where."),
        ):
            count = space.count()
            if count.exact and not count.points:
                raise UsageError(remedy)

    def rows(self, ledger: Reading) -> Iterator[tuple[int, int, int, bool]]:
        """Its ended points: index, status, source, and whether each must be computed again."""
        for rows in ledger.ended():
            if not self.conditions:
                yield from rows
                continue
            first, last = rows[0][0], rows[-1][0] + 1
            if last - first > NEAR * len(rows):
                yield from (row for row in rows if self.space.exists(row[0]))
                continue
            spans = self.space.spans(first, last)
            start = stop = first
            for row in rows:
                while row[0] >= stop and stop < last:
                    start, stop = next(spans, (last, last))
                if start <= row[0] < stop:
                    yield row

    def counts(self, ledger: Reading) -> tuple[Counts, Counts]:
        """How many of its points have ended, and how many of these must be computed again."""
        if not self.conditions:
            return ledger.counts(), ledger.redo_left()
        found = {Status.DONE: [0, 0], Status.FAILED: [0, 0]}
        for _, status, _, again in self.rows(ledger):
            found[Status(status)][0] += 1
            found[Status(status)][1] += again
        done, failed = found[Status.DONE], found[Status.FAILED]
        return Counts(done[0], failed[0]), Counts(done[1], failed[1])

    def redone(self, ledger: Reading, what: str, names: Names) -> Iterator[int]:
        """The indexes of its ended points that `--redo WHAT` selects."""
        stale = stale_sources(ledger, names) if what == "stale" else set()
        for index, status, source, _ in self.rows(ledger):
            if what == "stale":
                if source in stale:
                    yield index
            elif what == "all" or status == (Status.DONE if what == "done" else Status.FAILED):
                yield index


def check_redo(what: str) -> None:
    """Raise UsageError for an invalid value of `--redo`."""
    if what and what not in REDO:
        raise UsageError(f"--redo {what!r} cannot be used. Use {', '.join(REDO[:-1])} or {REDO[-1]}.")


def stale_sources(ledger: Reading, names: Names) -> set[int]:
    """The sources whose files have changed or are gone, and those whose code is unknown."""
    today: dict[str, str | None] = {}

    def is_stale(files: dict[str, str]) -> bool:
        for file in files.keys() - today.keys():
            today[file] = digest_of(Path(names.path_of(file)))
        return any(today[file] != content for file, content in files.items())

    stale = {code for code, files in ledger.codes().items() if is_stale(files)}
    return {number for number, source in ledger.sources().items() if source.code is None or source.code in stale}
