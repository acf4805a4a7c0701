"""A timeline in the terminal: processes, marks, and where the seconds went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.timeline.events import Process, Span
from bench.timeline.record import Recording

LEAST_S = 0.02
HIDDEN = {"exit", "begin"}


def lines(recording: Recording, *, least_s: float = LEAST_S) -> Iterator[str]:
    """The text view.

    Args:
        recording: what to show.
        least_s: spans that took less are part of the one around them.
    """
    yield f"{' '.join(recording.command)}: {recording.wall_s:.3f} s, exit code {recording.code}"
    yield ""
    yield f"{'process':<28}{'born':>8}{'python':>8}{'ends':>8}{'gone':>8}{'CPU s':>8}"
    for process in recording.processes:
        cells = (process.begin_s, process.python_s, process.exit_s, process.end_s)
        yield f"{named(process):<28}{''.join(f'{_s(each):>8}' for each in cells)}{process.cpu_s:>8.2f}"
    yield ""
    yield "marks, in seconds from the command's start"
    for at_s, process, label in marks(recording.processes):
        yield f"{at_s:>8.3f}  {label:<28}{named(process)}"
    for process in recording.processes:
        found = list(where(process, least_s=least_s))
        if found:
            yield ""
            yield f"{named(process)}: where its seconds went (from, took, of that in itself)"
            yield from found


def named(process: Process) -> str:
    """A process's role and pid."""
    return f"{process.role} {process.pid}"


def marks(processes: Sequence[Process]) -> list[tuple[float, Process, str]]:
    """Every mark with its process, by time; of what happened often in one process, the first and the last."""
    found: list[tuple[float, Process, str]] = []
    for process in processes:
        found += ((at_s, process, label) for at_s, label in process.marks)
        sent = times(process, "send a bundle")
        commits = times(process, "commit")
        if sent:
            found.append((sent[0].begin_s, process, "first bundle sent"))
        if commits:
            found.append((commits[0].end_s, process, "first result committed"))
            found.append((commits[-1].end_s, process, "last result committed"))
        if process.exit_s is not None:
            found.append((process.exit_s, process, "begins to end"))
    return sorted(found, key=lambda each: each[0])


def times(process: Process, label: str) -> list[Span]:
    """All spans of this label, by begin."""
    found = [span for spans in process.spans.values() for span in everywhere(spans) if span.label == label]
    return sorted(found, key=lambda each: each.begin_s)


def everywhere(spans: Sequence[Span]) -> Iterator[Span]:
    """These spans and all inside them."""
    for span in spans:
        yield span
        yield from everywhere(span.inside)


def where(process: Process, *, least_s: float) -> Iterator[str]:
    """The spans of a process as an indented list, with the gaps between them."""
    if process.python_s is not None and process.python_s - process.begin_s >= least_s:
        yield _row(process.begin_s, process.python_s - process.begin_s, None, "Python starts", 0)
    for place, (thread, spans) in enumerate(process.spans.items()):
        long = [span for span in spans if span.took_s >= least_s]
        if place and not long:
            continue
        if place:
            yield f"  thread {thread}"
        before_s = process.begin_s if process.python_s is None else process.python_s
        yield from _rows(spans, since_s=before_s if not place else None, depth=0, least_s=least_s)
        if not place:
            last_s = max((span.end_s for span in spans), default=before_s)
            until_s = process.exit_s if process.exit_s is not None else process.end_s
            if until_s - last_s >= least_s:
                yield _row(last_s, until_s - last_s, None, "·", 0)
    if process.exit_s is not None and process.end_s - process.exit_s >= least_s:
        yield _row(process.exit_s, process.end_s - process.exit_s, None, "ends", 0)


def _rows(spans: Sequence[Span], *, since_s: float | None, depth: int, least_s: float) -> Iterator[str]:
    """Spans that took long, and the time between them that belongs to none."""
    for span in spans:
        if since_s is not None and span.begin_s - since_s >= least_s:
            yield _row(since_s, span.begin_s - since_s, None, "·", depth)
        if span.took_s >= least_s:
            self_s = span.took_s - sum(each.took_s for each in span.inside)
            label = f"import {span.label}" if span.kind == "import" else span.label
            yield _row(span.begin_s, span.took_s, self_s if span.inside else None, label, depth)
            yield from _rows(span.inside, since_s=None, depth=depth + 1, least_s=least_s)
        if since_s is not None:
            since_s = max(since_s, span.end_s)


def _row(begin_s: float, took_s: float, self_s: float | None, label: str, depth: int) -> str:
    return f"{begin_s:>8.3f}{took_s:>8.3f}{_s(self_s):>8}  {'  ' * depth}{label}"


def _s(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
