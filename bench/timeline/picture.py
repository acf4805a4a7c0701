"""A timeline as one SVG, and as a page with the text view below it; both stand alone."""

from __future__ import annotations

import html
import math
import shlex
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.timeline.events import Process, Span
from bench.timeline.record import Recording
from bench.timeline.text import lines, marks

WIDTH, GUTTER, RIGHT = 1500, 200, 24  # pixels; the gutter has the processes' names
ROW, CPU, GAP, FLAG = 17, 16, 12, 15
LETTER = 6.1  # pixels of a letter at 11 px, about
THIN = 2.0  # pixels; narrower spans are left out
FONT = "font-family='system-ui, sans-serif'"
IMPORTS = ("#4e79a7", "#5f8fbf", "#6a9fb5", "#7a86c8", "#8c7fb8", "#5b9aa0", "#86a8d0", "#728fce")
OURS, BUNDLE, PYTHON, ENDS = "#59a14f", "#f28e2b", "#b0b0b0", "#8a8a8a"


@dataclass(frozen=True, slots=True)
class Scale:
    """From seconds to pixels."""

    until_s: float

    def x(self, at_s: float) -> float:
        """Where a time is."""
        return GUTTER + at_s / self.until_s * (WIDTH - GUTTER - RIGHT)

    def shows(self, span: Span) -> bool:
        """Whether it is wide enough to be seen."""
        return self.x(span.end_s) - self.x(span.begin_s) >= THIN

    def ticks(self) -> list[float]:
        """Round times, some twelve of them."""
        rough = self.until_s / 12
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
        return [number * step for number in range(int(self.until_s / step) + 1)]


def svg(recording: Recording) -> str:
    """The picture: a lane for each process, its spans above its use of the cores, its marks as lines."""
    until_s = max([recording.wall_s, *(process.end_s for process in recording.processes)]) * 1.01
    scale = Scale(until_s)
    flags, flags_height = _flags(recording.processes, scale)
    top = 34 + flags_height + 20
    body: list[str] = []
    y = float(top)
    tools = [process for process in recording.processes if process.is_tool]
    for process in recording.processes:
        if not process.is_tool:
            drawn, height = _lane(process, scale, y)
            body += drawn
            y += height + GAP
    if tools:
        body += _tools(tools, scale, y)
        y += ROW + GAP
    height = y + 30
    grid = []
    for tick in scale.ticks():
        x = scale.x(tick)
        grid.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top - 6}' y2='{y:.1f}' stroke='#e6e6e6'/>")
        grid += [_text(x, at, f"{tick:g} s", anchor="middle", fill="#777") for at in (top - 10, y + 12)]
    lines_down = [
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{at:.1f}' y2='{y:.1f}' stroke='#c44' stroke-dasharray='2 3'/>"
        for x, at in flags[1]
    ]
    title = f"{_shown(recording)} · {recording.wall_s:.2f} s, exit code {recording.code}"
    size = f"viewBox='0 0 {WIDTH} {height:.0f}' width='{WIDTH}' height='{height:.0f}'"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT} font-size='11'>",
            f"<rect width='{WIDTH}' height='{height:.0f}' fill='white'/>",
            _text(8, 20, title, size=14, weight="600"),
            *_legend(),
            *grid,
            *body,
            *lines_down,
            *flags[0],
            "</svg>\n",
        ]
    )


def page(recording: Recording) -> str:
    """The picture and the text view as HTML."""
    said = html.escape("\n".join(lines(recording)))
    return (
        "<!doctype html><meta charset='utf-8'><title>Timeline</title>"
        "<style>body{margin:0;font:13px system-ui,sans-serif}pre{padding:8px 16px;font-size:12px}"
        "svg{max-width:100%;height:auto}</style>"
        f"{svg(recording)}<pre>{said}</pre>\n"
    )


def _shown(recording: Recording) -> str:
    text = shlex.join(recording.command)
    return text if len(text) <= 110 else text[:109] + "…"


def _legend() -> Iterator[str]:
    x = WIDTH - RIGHT - 500.0
    for colour, label in (
        (PYTHON, "Python starts"),
        (IMPORTS[0], "import"),
        (OURS, "our own call"),
        (BUNDLE, "computes a bundle"),
        (ENDS, "ends"),
    ):
        yield f"<rect x='{x:.0f}' y='11' width='11' height='11' fill='{colour}' rx='2'/>"
        yield _text(x + 15, 20, label)
        x += 30 + LETTER * len(label)


def _flags(processes: Sequence[Process], scale: Scale) -> tuple[tuple[list[str], list[tuple[float, float]]], int]:
    """The marks' names above the lanes, in as many rows as they need; the lines under them; the height."""
    rows: list[float] = []  # where each row is free
    drawn, below = [], []
    for at_s, text in _told(processes):
        x = scale.x(at_s)
        width = LETTER * len(text) + 14
        left = x + width > WIDTH  # the name is before its line there
        begin = x - width if left else x
        row = next((number for number, free in enumerate(rows) if free <= begin), len(rows))
        rows[row : row + 1] = [begin + width]
        y = 44 + row * FLAG
        drawn.append(_text(x - 4 if left else x + 4, y, text, anchor="end" if left else "start", fill="#a33"))
        below.append((x, y - 9))
    return (drawn, below), len(rows) * FLAG


def _told(processes: Sequence[Process]) -> Iterator[tuple[float, str]]:
    """The marks with their times; of several processes that do the same, the first one and until when the others."""
    together: dict[tuple[str, str], list[float]] = {}
    for at_s, process, label in marks(processes):
        together.setdefault((process.role, label), []).append(at_s)
    for (role, label), times in together.items():
        who = "" if role == "driver" else f"{role}: " if len(times) == 1 else f"{len(times)} x {role}: "
        yield times[0], f"{who}{label} {times[0]:.2f}{f' to {times[-1]:.2f}' if len(times) > 1 else ''}"


def _tools(processes: Sequence[Process], scale: Scale, y: float) -> Iterator[str]:
    """One lane for all programs that tell nothing of themselves, such as git."""
    yield _text(8, y + 12, "other programs", size=12, weight="600")
    free = 0.0
    for process in sorted(processes, key=lambda each: each.begin_s):
        yield _bar(process.begin_s, process.end_s, process.command, ENDS, scale, y)
        x = scale.x(process.begin_s)
        if x >= free:
            yield _text(x, y + ROW + 9, process.role, fill="#777")
            free = x + LETTER * len(process.role) + 12


def _lane(process: Process, scale: Scale, y: float) -> tuple[list[str], float]:
    """A process's name, life, spans by thread, and use of the cores."""
    drawn = []
    end_s = min(process.end_s, scale.until_s)
    begin, end = scale.x(process.begin_s), scale.x(end_s)
    bars = y
    if process.python_s is not None and process.python_s > process.begin_s:
        drawn.append(_bar(process.begin_s, process.python_s, "Python starts", PYTHON, scale, bars))
    if process.exit_s is not None and end_s > process.exit_s:
        drawn.append(_bar(process.exit_s, end_s, "ends", ENDS, scale, bars))
    for thread, spans in process.spans.items():
        if thread != process.pid and not any(scale.shows(span) for span in spans):
            continue
        here, depth = _bars(spans, scale, bars, 0)
        drawn += here
        bars += max(depth, 1) * ROW
    bars = max(bars, y + ROW)
    drawn += _cores(process, scale, bars)
    height = bars + CPU - y
    place = f"x='{begin:.1f}' y='{y - 3:.1f}' width='{max(end - begin, 1):.1f}' height='{height + 4:.1f}'"
    name = [
        _text(8, y + 12, process.role, size=12, weight="600"),
        _text(8, y + 26, f"{process.pid} · CPU {process.cpu_s:.2f} s", fill="#777"),
        f"<rect {place} fill='#f7f7f4' stroke='#d8d8d0'><title>{html.escape(process.command)}</title></rect>",
    ]
    return name + drawn, height


def _bars(spans: Sequence[Span], scale: Scale, y: float, depth: int) -> tuple[list[str], int]:
    drawn, deepest = [], depth
    for span in spans:
        if not scale.shows(span):
            continue
        label = f"import {span.label}" if span.kind == "import" and not depth else span.label
        drawn.append(_bar(span.begin_s, span.end_s, label, _colour(span), scale, y + depth * ROW))
        inside, bottom = _bars(span.inside, scale, y, depth + 1)
        drawn += inside
        deepest = max(deepest, bottom, depth + 1)
    return drawn, deepest


def _bar(begin_s: float, end_s: float, label: str, colour: str, scale: Scale, y: float) -> str:
    x, width = scale.x(begin_s), max(scale.x(end_s) - scale.x(begin_s), 0.8)
    took = f"{(end_s - begin_s) * 1000:.0f} ms"
    bar = (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{ROW - 2}' fill='{colour}' rx='1.5' "
        f"stroke='white' stroke-width='0.5'><title>{html.escape(label)}: {took}, from {begin_s:.3f} s</title></rect>"
    )
    bare = label.removeprefix("import ")
    for text in (f"{label} {took}", label, bare):
        if LETTER * len(text) + 6 <= width:
            return bar + _text(x + 3, y + 11.5, text, fill="white")
    room = int((width - 6) / LETTER)
    return bar + (_text(x + 3, y + 11.5, bare[: room - 1] + "…", fill="white") if room >= 4 else "")


def _colour(span: Span) -> str:
    if span.kind == "import":
        return IMPORTS[zlib.crc32((span.package or "").encode()) % len(IMPORTS)]
    return BUNDLE if span.label == "bundle" else OURS


def _cores(process: Process, scale: Scale, y: float) -> Iterator[str]:
    """How much of a core it used, as a filled line; the full height is one core, or more where it used more."""
    if not process.busy:
        return
    most = max(1.0, *(used for _, used in process.busy))
    bottom = y + CPU - 2
    points, before = [f"{scale.x(process.begin_s):.1f},{bottom:.1f}"], scale.x(process.begin_s)
    for at_s, used in process.busy:
        top = bottom - used / most * (CPU - 4)
        points += [f"{before:.1f},{top:.1f}", f"{scale.x(at_s):.1f},{top:.1f}"]
        before = scale.x(at_s)
    points.append(f"{before:.1f},{bottom:.1f}")
    told = "<title>its use of the cores</title>"
    yield f"<polygon points='{' '.join(points)}' fill='#e15759' opacity='0.45'>{told}</polygon>"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = "#333", size: int = 11, weight: str = "400"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{fill}' font-size='{size}' "
        f"font-weight='{weight}'>{html.escape(text)}</text>"
    )
