"""What points printed, for people: each point's title, and its text without escape sequences."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sweepfleet.grid.errors import UsageError, printable
from sweepfleet.grid.space import Space
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.outputs import DONE_BYTES, FAILED_BYTES, Outputs
from sweepfleet.run.run_files import space_of
from sweepfleet.run.text import params_text
from sweepfleet.slot.escapes import without_escapes
from sweepfleet.slot.output import Printed
from sweepfleet.slot.records import Status

LAST_LINES = 20
SHOWN = 5  # of the points that a beginning of an id may mean
ID_CHARS = 16
TRACEBACK = "Traceback (most recent call last):"


class Ended(NamedTuple):
    """A point that has ended, as its ledger's row has it."""

    point_index: int
    id: str
    failed: bool
    started: float
    error_type: str | None
    error: str | None


def readable(text: str) -> str:
    """Text as a terminal would finally show it: without colours, and with the last state of each progress bar."""
    text = without_escapes(text)
    if "\r" in text:
        text = "\n".join(_overwritten(line) for line in text.split("\n"))
    return printable(text)


def _overwritten(line: str) -> str:
    """The final content of a line that was overwritten."""
    return next((part for part in reversed(line.split("\r")) if part), "")


def last_lines(text: str, count: int = LAST_LINES) -> str:
    """The last lines of a text."""
    return "".join(text.splitlines(keepends=True)[-count:])


def shown(folder: RunFolder, *, point: str = "", failed: bool = False, last: bool = False) -> Iterator[str]:
    """What `inv output` prints, in pieces that end with a line's end.

    Args:
        folder: of the run.
        point: an id, the beginning of one, or an index.
        failed: all failed points instead.
        last: only the last lines of each.

    Raises:
        UsageError: there is no such point, it has not ended, or a file is damaged.
    """
    with _open(folder) as (ledger, outputs):
        space = space_of(folder, ledger)
        if failed:
            points: Iterable[Ended] = failed_points(ledger)
        else:
            points = [find(ledger, space, point)]
        count = 0
        for each in points:
            count += 1
            for title, printed in _parts(outputs, each):
                if failed or title:
                    yield f"==> {_title(space, each)}{title} <==\n"
                yield _piece(printed, each, last=last)
            if each.error and each.error.startswith(TRACEBACK):  # as in a terminal; other errors quote the output
                yield printable(each.error) + "\n"
        if failed and not count:
            yield "No point has failed.\n"


@contextlib.contextmanager
def _open(folder: RunFolder) -> Iterator[tuple[Ledger, Outputs | None]]:
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(contextlib.closing(Ledger(folder.ledger, readonly=True)))
        outputs = None
        if folder.output.exists():
            outputs = stack.enter_context(contextlib.closing(Outputs(folder.output, readonly=True)))
        yield ledger, outputs


def failed_points(ledger: Ledger) -> Iterator[Ended]:
    """All failed points, in the grid's order."""
    for row in ledger.lookup("status = ?", (int(Status.FAILED),)):
        yield _ended(row)


def ledger_rows(ledger: Ledger, beginning: str) -> list[Ended]:
    """The first few ended points whose id starts with a text."""
    rows = ledger.lookup("id >= ? AND id < ?", (beginning, beginning + "g"), limit=SHOWN + 1)
    return [_ended(row) for row in rows]


def _ended(row: tuple[int, str, int, float, str | None, str | None]) -> Ended:
    point_index, id_, status, started, error_type, error = row
    return Ended(point_index, id_, status == Status.FAILED, started, error_type, error)


def find(ledger: Ledger, space: Space, text: str) -> Ended:
    """The point with an index, an id or the beginning of an id.

    Raises:
        UsageError: there is none, it has not ended, or there are several.
    """
    if text.isascii() and text.isdecimal() and len(text) < ID_CHARS and space.exists(int(text)):
        found = [_ended(row) for row in ledger.lookup("point_index = ?", (int(text),))]
        if not found:
            raise UsageError(f"--point {text}: point {text} ({space.point(int(text)).id}) has not ended yet.")
        return found[0]
    if not re.fullmatch(rf"[0-9a-f]{{1,{ID_CHARS}}}", text):
        raise UsageError(
            f"--point {printable(text)!r} is not a point. Use an index, an id or the beginning of an id, as the "
            "report and results.csv show them."
        )
    found = ledger_rows(ledger, text)
    if not found:
        raise UsageError(f"--point {text}: no point that has ended has this index, or an id that begins with it.")
    if len(found) > 1:
        ids = ", ".join(each.id for each in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise UsageError(f"--point {text} could be {ids}. Write more of the id.")
    return found[0]


def _parts(outputs: Outputs | None, point: Ended) -> Iterator[tuple[str, Printed]]:
    """A point's stored attempts with their titles; the one of its row comes last."""
    before = [] if outputs is None else [one for one in outputs.of(point.id) if one[1] and one[0] < point.started]
    for _, _, printed in before[-1:]:
        yield " · an earlier attempt, which failed", printed
    last = None if outputs is None else outputs.of_attempt(point.id, point.started)
    yield " · the last attempt" if before else "", last or Printed(b"")


def _title(space: Space, point: Ended) -> str:
    params = params_text(space.point(point.point_index).params)
    how = f" · failed: {printable(point.error_type or '')}" if point.failed else ""
    return f"point {point.point_index} · {point.id}{' · ' if params else ''}{params}{how}"


def _piece(printed: Printed, point: Ended, *, last: bool) -> str:
    text = readable(printed.text)
    if not printed.size:
        text = "(It printed nothing. With `execution.log: none`, nothing is kept.)"
    elif not printed.kept:
        most = FAILED_BYTES if point.failed else DONE_BYTES
        text += (
            f"\n(Of {'failed' if point.failed else 'finished'} points, a run keeps {most / 1e6:,.0f} MB, compressed.)"
        )
    if last:
        text = last_lines(text)
    return text if text.endswith("\n") else text + "\n"
