"""Why points failed: each failure as a line, grouped by cause.

Pure text work, for the terminal, the report and the driver alike: two failures have one cause when they have the same
`cause`, however their numbers differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sweepfleet.slot.escapes import without_escapes

LINE_CHARS = 300
MAX_TEXTS = 50_000
NOT_READ = "other failures (messages not read)"
NUMBER = "#"  # what a number becomes in a cause

_COMMAND = "CommandFailedError"  # its text is what happened, and below it what the command wrote to standard error
_ENDED = re.compile(r"(exited with \d+|was killed by signal \d+)$")
_TRACEBACK = "Traceback (most recent call last):"
# What interpreters print around an error, and what says nothing of it.
_NOISE = re.compile(
    r"Execution halted$|Calls: |Loading required package|Attaching package|Stacktrace:$|Backtrace:$|\W*$"
    r"|In addition: |Warning messages?:?$|note: run with `RUST_BACKTRACE"
)
_ERROR = re.compile(
    r"\b(error|exception|fatal|panic(ked)?|fail(ed|ure)?|abort(ed)?|cannot|can't|could not|unable|not found"
    r"|no such|denied|killed|segmentation fault)\b|\w(Error|Exception)\b",
    re.IGNORECASE,
)
_WARNING = re.compile(r"\s*\w*warning\b", re.IGNORECASE)
_BAR = re.compile(r"^ *[+|][ +|-]*")  # drawn at the left of an ExceptionGroup's traceback
_VARYING = re.compile(
    r"(?P<kept>\b(?:exited with|exit code|signal) \d+)"  # a cause, not a measure
    r"|\b0x[0-9a-f]+\b|\bx?(?=[a-f]*\d)[0-9a-f]{8,}\b"  # addresses, also shortened by reprlib: ...x7f01, and ids
    r"|[-+]?(?:\d+(?:[._,]\d+)*|\.\d+)(?:e[-+]?\d+)?|(?<!\w)[-+]?(?:nan|inf|infinity)(?!\w)",
    re.IGNORECASE,
)
_NUMBERS = re.compile(rf"{NUMBER}(?:[,;\s]+{NUMBER})+")


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed points of one cause."""

    cause: str
    count: int
    line: str  # of the first of them, with its own numbers
    point_id: str  # of the first of them


def failure_groups(failures: Iterable[tuple[str, str | None, str | None]]) -> list[FailureGroup]:
    """Failures by cause, the most frequent first, equals in the order given.

    After `MAX_TEXTS` different texts, which are some seconds' work, further ones are counted and not read.

    Args:
        failures: a point's id, and its error's type and text.
    """
    causes: dict[int, str] = {}  # by a text's hash: a million tracebacks take no memory
    found: dict[str, FailureGroup] = {}
    for point_id, error_type, error in failures:
        text = hash((error_type, error))
        key = causes.get(text)
        if key is None:
            key = NOT_READ
            if len(causes) < MAX_TEXTS:
                key = causes[text] = cause(error_type, error)
        before = found.get(key)
        if before is not None:
            found[key] = replace(before, count=before.count + 1)
        else:
            line = NOT_READ if key == NOT_READ else failure_line(error_type, error)
            found[key] = FailureGroup(key, 1, line, point_id)
    return sorted(found.values(), key=lambda group: (group.cause == NOT_READ, -group.count))


def cause(error_type: str | None, error: str | None) -> str:
    """The key of a cause: the error's type and its line, with every number as `#`."""
    line = failure_line(error_type, error)
    return _NUMBERS.sub(NUMBER, _VARYING.sub(lambda found: found["kept"] or NUMBER, line))


def failure_line(error_type: str | None, error: str | None) -> str:
    """A failure in one line of at most `LINE_CHARS`: its type and the line of its text that says what happened.

    Of a traceback that is the exception's message; of a command's failure the line of standard error that names the
    error, rather than an interpreter's last words; of anything else the first line.
    """
    kind, text = error_type or "Error", without_escapes(error or "")
    if kind == _COMMAND:
        line = _of_command(text.removeprefix(f"{_COMMAND}: "))
    else:
        said = _message(kind, text)
        line = kind if said in ("", kind) else f"{kind}: {said}"
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def _message(kind: str, text: str) -> str:
    """The exception's own message, in one line."""
    lines = text.splitlines()
    if not any(_TRACEBACK in line for line in lines):
        first = next((line.strip() for line in lines if line.strip()), "")
        return first.removeprefix(kind).removeprefix(":").strip() if first.startswith(kind) else first
    own = re.compile(rf"(?:\S+\.)?{re.escape(kind)}(?::\s*(.*))?$")
    for place in range(len(lines) - 1, -1, -1):
        found = own.match(_BAR.sub("", lines[place], count=1))
        if found:
            said = (found.group(1) or "").strip()
            return said or next((line.strip() for line in lines[place + 1 :] if line.strip()), "")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _of_command(text: str) -> str:
    head, _, rest = text.partition("\n")
    head = head.strip()
    said = _informative(rest.splitlines()) if _ENDED.search(head) else ""
    return f"{said} ({head})" if said else head


def _informative(lines: list[str]) -> str:
    """The line of a command's standard error that says most: empty when none does."""
    if starts := [place for place, line in enumerate(lines) if _TRACEBACK in line]:
        for line in lines[starts[-1] + 1 :]:
            if line.strip() and not line[0].isspace():
                return line.strip()
    lines_left = [(place, line) for place, line in enumerate(lines) if not _NOISE.match(line.strip())]
    errors = [each for each in lines_left if _ERROR.search(each[1]) and not _WARNING.match(each[1])]
    for place, line in errors or lines_left:
        said = line.strip()
        if said.endswith(":") and place + 1 < len(lines):  # R writes a long message below
            said = f"{said} {lines[place + 1].strip()}".strip()
        return said
    return ""
