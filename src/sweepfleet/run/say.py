"""What a command says at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweepfleet.grid.errors import printable
from sweepfleet.grid.wording import counted
from sweepfleet.run.run_progress import EFFICIENCY_AFTER_S
from sweepfleet.run.summary import Summary
from sweepfleet.run.text import cut, duration, number, params_text

KINDS = 5  # of failures shown separately
STATES = {
    "done": "Done",
    "failed": "Done, but some points failed",
    "all failed": "All points failed",
    "partial": "The chosen points are done",
    "stopped": "Stopped at a limit; finished points are kept",
    "interrupted": "Stopped; finished points are kept, and the same command resumes",
}


def ending(summary: Summary, *, folder: str, several_rows: bool, width: int | None = None) -> Iterator[str]:
    """A finished command in a few lines.

    Args:
        summary: of the run.
        folder: of the run, as the user may name it.
        several_rows: points returned rows, and there is a table of them.
        width: of the terminal, to which messages are cut; None: they are cut to a readable length.
    """
    parts = [f"{summary.done:,} of {'' if summary.points_exact else 'about '}{counted(summary.points, 'point')} done"]
    if summary.resumed:
        parts.append(f"{summary.resumed:,} of them before")
    if summary.failed:
        parts.append(f"{summary.failed:,} failed")
    if summary.computed:
        parts.append(f"{duration(summary.wall_s)} at {number(summary.points_per_s or 0)} points/s")
        short = summary.wall_s < EFFICIENCY_AFTER_S
        parts.append("too short for an efficiency" if short else f"efficiency {summary.efficiency or 0:.0%}")
    all_failed = summary.state == "failed" and summary.done == 0
    if summary.infra_losses:
        parts.append(f"{counted(summary.infra_losses, 'point')} run again, since a machine or a process was lost")
    yield f"{STATES['all failed' if all_failed else summary.state]}: {' · '.join(parts)}"
    if summary.best:
        yield best_line(summary.best)
    for note in summary.notes:
        yield f"Note: {note}"
    yield from failures(summary, width=width)
    yield f"Report: {folder}/report.html"
    yield f"Tables: {folder}/results.parquet, results.csv{', results_long.parquet' if several_rows else ''}"


def best_line(best: Mapping[str, Any]) -> str:
    """The best configuration of summary.json in one line."""
    params = params_text(best["params"])
    n, of = best["n"], best["of"]
    what = f"{n} of its {of} points; no configuration has all of its" if n < of else f"{n}" if n > 1 else ""
    spread = f", sd {best['sd']:.3g}" if best["sd"] is not None else ""
    mean = f" (mean of {what}{spread})" if what else ""
    return f"Best {best['metric']}: {best['mean']:.6g}{mean}{' at ' if params else ''}{params}"


def failures(summary: Summary, *, width: int | None) -> Iterator[str]:
    """Why points failed, by cause, and what to do about it."""
    if not summary.failed:
        return
    shown = summary.failures[:KINDS]
    if shown:
        yield "Why points failed:"
    size = max((len(f"{group['count']:,}") for group in shown), default=0)
    for group in shown:
        beginning, end = f"  {group['count']:>{size},}  ", f"  (point {group['point_id']})"
        room = None if width is None else max(20, width - len(beginning) - len(end))
        yield f"{beginning}{cut(printable(group['line']), room)}{end}"
    if more := summary.failure_kinds - len(shown):
        rest = summary.failed - sum(group["count"] for group in shown)
        yield f"  {rest:,}  in {counted(more, 'more kind')}"
    yield f"Their rows: inv results {summary.name} --where \"status == 'failed'\""
    yield f"What they printed: inv output {summary.name} --failed"
    yield "Retry them: the same command with --retry-failed"
