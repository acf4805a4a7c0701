"""From the recorder's lines to processes: who lived when, did what, and used how much of a core; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROLES = ("driver", "template", "supervisor", "child", "writer")  # in this order in every view
SAME_S = 0.002  # two imports of one package that are no further apart are one bar
BUSY_S = 0.04  # over which the use of a core is shown: the system counts it in steps of 0.01 s
# The first word of a process's command after Python's own that says what it is.
MODULES = {
    "sweepfleet.slot.child": "child",
    "sweepfleet.run.files_process": "writer",
    "multiprocessing": "helper",
    "joblib": "peer",
}


class Event(NamedTuple):
    """One line; times in seconds of the monotonic clock, which all processes share."""

    kind: str
    pid: int
    thread: int
    begin_s: float
    end_s: float
    cpu_s: float  # of the process, until then
    other: int  # a pid: the parent's, or the child's
    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time, with what happened inside it."""

    begin_s: float
    end_s: float
    label: str  # a call's name, or the module that was imported
    kind: str  # import, span
    inside: list[Span] = field(default_factory=list)

    @property
    def took_s(self) -> float:
        """How long it took."""
        return self.end_s - self.begin_s

    @property
    def package(self) -> str | None:
        """Of an import."""
        return self.label.partition(".")[0] if self.kind == "import" else None


@dataclass(slots=True)
class Process:
    """One process of the command; times in seconds from the command's start."""

    pid: int
    parent: int
    begin_s: float
    end_s: float
    command: str
    role: str = ""
    cpu_s: float = 0.0
    python_s: float | None = None  # when Python had started and our code could begin; None: no Python, or forked
    exit_s: float | None = None  # when it began to end
    spans: dict[int, list[Span]] = field(default_factory=dict)  # outermost ones by thread, the main one first
    marks: list[tuple[float, str]] = field(default_factory=list)
    busy: list[tuple[float, float]] = field(default_factory=list)  # (until, cores in use since the one before)

    @property
    def is_tool(self) -> bool:
        """Whether it is a program that tells nothing of itself, or one that ended before it could."""
        told = self.spans or self.marks or self.role in ROLES
        return self.python_s is None and not told and self.exit_s is None


def parse(text: str) -> list[Event]:
    """The events of a file; a line that is being written is left out."""
    events = []
    for line in text.split("\n")[:-1]:
        kind, pid, thread, begin, end, cpu, other, name = line.split("\t")
        events.append(Event(kind, int(pid), int(thread), float(begin), float(end), float(cpu), int(other), name))
    return events


def processes(
    events: Sequence[Event],
    *,
    root: int,
    begin_s: float,
    ends: Mapping[int, float],
    samples: Iterable[tuple[float, int, float]] = (),
) -> list[Process]:
    """What each process did, by role and birth.

    Args:
        events: of all processes.
        root: the pid of the command itself.
        begin_s: when it was started.
        ends: when processes ended, by pid, where that was seen.
        samples: (time, pid, CPU seconds until then).
    """
    found: dict[int, Process] = {root: Process(root, 0, 0.0, 0.0, "")}
    last: dict[int, float] = {}
    for event in sorted(events, key=lambda each: each.end_s):
        _note(found, event, begin_s)
        last[event.pid] = max(last.get(event.pid, 0.0), event.end_s - begin_s)
    for pid, process in found.items():
        seen = ends.get(pid)
        process.end_s = max(process.end_s, last.get(pid, 0.0)) if seen is None else seen - begin_s
        own = [event for event in events if event.pid == pid]
        process.cpu_s = max([process.cpu_s, *(event.cpu_s for event in own)])
        for thread in sorted({event.thread for event in own}, key=lambda each: (each != pid, each)):
            spans = [e for e in own if e.thread == thread and e.kind in ("import", "span")]
            if spans:
                process.spans[thread] = nested(spans, begin_s)
    _add_samples(found, samples, begin_s)
    for process in found.values():
        process.role = _role(process, found, root)
    order = {role: place for place, role in enumerate(ROLES)}
    return sorted(found.values(), key=lambda each: (order.get(each.role, len(order)), each.begin_s))


def _note(found: dict[int, Process], event: Event, begin_s: float) -> None:
    """Take an event into its process; the first word of a process makes it."""
    at_s = event.end_s - begin_s
    match event.kind:
        case "started":
            child = found.setdefault(event.other, Process(event.other, event.pid, event.begin_s - begin_s, 0.0, ""))
            # Its own first event may have come before its parent's.
            child.parent, child.begin_s = event.pid, event.begin_s - begin_s
            child.command = child.command or event.name
        case "begin":
            process = found.setdefault(event.pid, Process(event.pid, event.other, event.begin_s - begin_s, 0.0, ""))
            process.command, process.python_s = event.name, at_s
        case "forked":
            parent = found.get(event.other)
            found[event.pid] = Process(event.pid, event.other, at_s, 0.0, parent.command if parent else "")
        case "waited" if event.other in found:
            found[event.other].end_s = at_s
        case "mark":
            found[event.pid].marks.append((at_s, event.name))
        case "role":
            found[event.pid].role = event.name
        case "exit":
            found[event.pid].exit_s = at_s


def _add_samples(found: Mapping[int, Process], samples: Iterable[tuple[float, int, float]], begin_s: float) -> None:
    before: dict[int, tuple[float, float]] = {}
    for time_s, pid, cpu_s in samples:
        if pid not in found:
            continue
        process, at_s = found[pid], time_s - begin_s
        process.cpu_s = max(process.cpu_s, cpu_s)
        since_s, used_s = before.get(pid, (process.begin_s, 0.0))
        if at_s - since_s >= BUSY_S:
            process.busy.append((at_s, (cpu_s - used_s) / (at_s - since_s)))
            before[pid] = at_s, cpu_s


def nested(events: Sequence[Event], begin_s: float) -> list[Span]:
    """One thread's events as spans inside one another; imports of one package inside it are part of it."""
    outermost: list[Span] = []
    stack: list[Span] = []
    for event in sorted(events, key=lambda each: (each.begin_s, -each.end_s)):
        span = Span(event.begin_s - begin_s, event.end_s - begin_s, event.name, event.kind)
        while stack and stack[-1].end_s < span.end_s:
            stack.pop()
        if stack and span.package and stack[-1].package == span.package:
            continue
        beside = stack[-1].inside if stack else outermost
        before = beside[-1] if beside else None
        if before and span.package and before.package == span.package and span.begin_s - before.end_s < SAME_S:
            longer = before if before.took_s >= span.took_s else span
            span = Span(before.begin_s, span.end_s, longer.label, span.kind, before.inside)
            beside.pop()
        beside.append(span)
        stack.append(span)
    return outermost


def _role(process: Process, found: Mapping[int, Process], root: int) -> str:
    if process.pid == root:
        return "driver"
    if process.role:
        return process.role
    parent = found.get(process.parent)
    is_fork = process.python_s is None and parent is not None and process.command == parent.command
    for word, role in MODULES.items():
        if word in process.command and not (is_fork and not process.spans and not process.marks):
            return role
    if is_fork and parent is not None:
        return f"fork of {_role(parent, found, root)}"
    return Path(process.command.partition(" ")[0]).name or "process"
