"""The words and tables that a command ends with."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grid.errors import printable
from sweep.progress import duration, number
from sweep.summary import Summary

if TYPE_CHECKING:
    import polars as pl

    from sweep.runs import Listed

MAX_ROWS = 20
HIDDEN = ("point_id", "seed", "started", "worker", "git_commit", "env_hash", "attempts", "infra_losses", "error")
STATES = {
    "done": "Done",
    "failed": "Done, but some points failed",
    "stopped": "Stopped at a limit; what is done is kept",
    "interrupted": "Stopped; what is done is kept, and the same command goes on",
}


def ending(summary: Summary, *, folder: str) -> Iterator[str]:
    """A finished command in a few lines."""
    parts = [f"{summary.done:,} of {'' if summary.points_exact else 'about '}{summary.points:,} points done"]
    if summary.resumed:
        parts.append(f"{summary.resumed:,} of them before")
    if summary.failed:
        parts.append(f"{summary.failed:,} failed")
    if summary.computed:
        parts.append(f"{duration(summary.wall_s)} at {number(summary.points_per_s or 0)} points/s")
        parts.append(f"efficiency {summary.efficiency or 0:.0%}")
    yield f"{STATES[summary.state]}: {' · '.join(parts)}"
    if summary.best:
        params = " ".join(f"{name}={value}" for name, value in summary.best["params"].items())
        mean = f" (mean of {summary.best['replicates']})" if summary.best["replicates"] > 1 else ""
        yield f"Best {summary.best['metric']}: {summary.best['value']:.6g}{mean} at {params}"
    for note in summary.notes:
        yield f"Note: {note}"
    if summary.failed:
        yield "Failed points: inv results --where \"status == 'failed'\" · run them again: --retry-failed"
    yield f"Report: {folder}/report.html · tables: {folder}/results.parquet, results.csv"


def table(rows: pl.DataFrame) -> None:
    """Print rows, without the columns that few people read; `MAX_ROWS` at the most."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = rows.head(MAX_ROWS)
    columns = [
        name
        for name in shown.columns
        if name not in HIDDEN and not (name in ("replicate", "error_type") and not _varies(shown, name))
    ]
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        header = Text(printable(name.removeprefix("param.").removeprefix("metric.")))
        drawn.add_column(header, no_wrap=True)
    for row in shown.select(columns).iter_rows():
        drawn.add_row(*(Text(printable(_cell(value))) for value in row))
    console = Console()
    if not console.is_terminal:
        console.width = 100_000  # whoever reads a pipe wraps it himself
    console.print(drawn)
    if rows.height > MAX_ROWS:
        print(f"... {rows.height - MAX_ROWS:,} more")


def _varies(rows: pl.DataFrame, name: str) -> bool:
    return any(value for value in rows[name].to_list())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def run_table(runs: Sequence[Listed], *, folder: str) -> None:
    """Print the runs that are here."""
    from rich.console import Console
    from rich.table import Table

    if not runs:
        print(f"There are no runs in {folder} yet. Start one: inv sweep --grid examples/diabetes/grid.yaml")
        return
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "state", "done", "failed", "points", "last started"):
        drawn.add_column(name, justify="right" if name in ("done", "failed", "points") else "left")
    for run in runs:
        when = "" if run.started is None else f"{dt.datetime.fromtimestamp(run.started):%Y-%m-%d %H:%M}"  # noqa: DTZ006
        points = f"{'' if run.points_exact else '~'}{run.points:,}"
        drawn.add_row(run.folder.name, run.state, f"{run.done:,}", f"{run.failed:,}", points, when)
    Console().print(drawn)
    for run in runs:
        if run.problem:
            print(run.problem)
