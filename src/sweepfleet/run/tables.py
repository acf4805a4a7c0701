"""Tables on a terminal: rows of results, cut to its width, and the runs that are here."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from sweepfleet.grid.errors import printable
from sweepfleet.grid.wording import counted
from sweepfleet.run.causes import failure_line
from sweepfleet.run.text import cut, value_text

if TYPE_CHECKING:
    import polars as pl

    from sweepfleet.run.runs import Listed

MAX_ROWS = 20
DIGITS = 6
MESSAGE = "message"
GAP = 2  # cells between two columns
CAPS = (60, 40, 24, 16, 12)  # cells of a column, tried in this order
MIN_MESSAGE = 30
# Of interest to few: they stand in the files.
HIDDEN = (
    *("point_id", "seed", "started", "worker", "git_commit", "env_hash", "code", "attempts", "infra_losses"),
    *("error_type", "error"),
)


def results_table(rows: pl.DataFrame, *, width: int | None) -> Iterator[str]:
    """Rows as lines, `MAX_ROWS` at the most; the last line says what is not shown.

    Args:
        rows: of a results file.
        width: of the terminal, to which cells are cut, and columns left out where that is not enough; None: whole.
    """
    head = rows.head(MAX_ROWS)
    cells = _cells(head)
    widths = fit({name: _natural(name, column) for name, column in cells.items()}, cells, width=width)
    yield from _lines(
        [cut(_header(name), size) for name, size in widths.items()],
        [
            [cut(cells[name][place], cells_wide) for name, cells_wide in widths.items()]
            for place in range(head.height)
        ],
    )
    what = "configuration" if "mean" in rows.columns else "row"
    shown = (
        f"{head.height:,} of {counted(rows.height, what)}"
        if head.height < rows.height
        else counted(rows.height, what)
    )
    left_out = len(cells) - len(widths)
    columns = f", {len(widths)} of {len(cells)} columns (the terminal is too narrow for more)" if left_out else ""
    yield f"{shown}{columns}"


def _cells(rows: pl.DataFrame) -> dict[str, list[str]]:
    """The columns that are worth a look, as text."""
    found = {}
    for name in rows.columns:
        values = rows[name].to_list()
        if name == "error":
            if any(values):
                types = rows["error_type"].to_list()
                pairs = zip(types, values, strict=True)
                found[MESSAGE] = [printable(failure_line(*pair)) if pair[1] else "" for pair in pairs]
        elif name not in HIDDEN and (name != "replicate" or any(values)):
            found[name] = ["" if value is None else value_text(value, digits=DIGITS) for value in values]
    return found


def _header(name: str) -> str:
    return printable(name.removeprefix("param.").removeprefix("metric."))


def _natural(name: str, column: Sequence[str]) -> int:
    return max(map(cell_len, (_header(name), *column)))


def fit(natural: Mapping[str, int], cells: Mapping[str, Sequence[str]], *, width: int | None) -> dict[str, int]:
    """The columns that fit, and their widths.

    Wide columns are cut first. Then columns go: the duration, parameters that are the same in every row, and the
    last parameters and metrics, in turn.

    Args:
        natural: the width that each column would take.
        cells: the columns.
        width: of the terminal; None: there is room for everything.
    """
    if width is None:
        return dict(natural)
    for cap in CAPS:
        found = _capped(natural, cap)
        if _total(found) <= width:
            return _widened(found, natural, spare=width - _total(found))
    kept = dict(natural)
    for name in _dispensable(cells):
        del kept[name]
        found = _capped(kept, CAPS[-1])
        if _total(found) <= width:
            return _widened(found, natural, spare=width - _total(found))
    last = list(found)[-1]
    return found | {last: max(1, found[last] - (_total(found) - width))}


def _capped(natural: Mapping[str, int], cap: int) -> dict[str, int]:
    return {name: min(size, max(cap, MIN_MESSAGE) if name == MESSAGE else cap) for name, size in natural.items()}


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _widened(widths: dict[str, int], natural: Mapping[str, int], *, spare: int) -> dict[str, int]:
    """Give the remaining width to columns that were cut; the message comes last and takes the rest."""
    for name in sorted(widths, key=lambda name: (name == MESSAGE, natural[name] - widths[name])):
        more = min(spare, natural[name] - widths[name])
        widths[name] += more
        spare -= more
    return widths


def _dispensable(cells: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns in the order in which they are dropped; at least two stay."""
    params = [name for name in cells if name.startswith("param.")]
    metrics = [name for name in cells if name.startswith("metric.")]
    order = [name for name in ("duration_s", "replicate") if name in cells]
    rows = max((len(column) for column in cells.values()), default=0)
    order += [name for name in params if rows > 1 and len(set(cells[name])) == 1]
    params = [name for name in params if name not in order]
    while params or metrics:
        order.append((params if len(params) >= len(metrics) else metrics).pop())
    order += [name for name in cells if name not in order]
    return order[: max(0, len(cells) - 2)]


def runs_table(runs: Sequence[Listed], *, folder: str) -> Iterator[str]:
    """The runs that are here, as lines."""
    if not runs:
        yield f"There are no runs in {folder} yet. Start one: inv sweep grid.yaml"
        return
    rows = []
    for run in runs:
        when = "" if run.started is None else f"{dt.datetime.fromtimestamp(run.started):%Y-%m-%d %H:%M}"  # noqa: DTZ006
        points = f"{'' if run.points_exact else '~'}{run.points:,}"
        rows.append([printable(run.folder.name), run.state, f"{run.done:,}", f"{run.failed:,}", points, when])
    yield from _lines(["run", "state", "done", "failed", "points", "last started"], rows, right=(2, 3, 4))
    for run in runs:
        if run.problem:
            yield run.problem


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> Iterator[str]:
    """A table as lines, uncut; the columns at the positions `right` are right-aligned.

    The header is bold where standard output is a terminal.
    """
    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    bold = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    for number, row in enumerate((header, *rows)):
        cells = [
            " " * (width - cell_len(text)) + text if place in right else set_cell_size(text, width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = (" " * GAP).join(cells).rstrip()
        yield f"\x1b[1m{line}\x1b[0m" if bold and number == 0 else line
