"""The errors that users can cause or see. Each has its exit code; only the commands act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def printable(text: str) -> str:
    """Text that is safe for a terminal: control characters are escaped."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class SweepfleetError(Exception):
    """An error that a user can act on; its message says what was seen, what it means and what to type next.

    Examples:
        >>> import sweepfleet as sf
        >>> try:
        ...     sf.open("no-such-run")
        ... except sf.SweepfleetError as error:
        ...     print(error)
        There is no run 'no-such-run' in ...
    """

    exit_code = 1
    at_once = False  # whether threads that could not all start may keep the process from ending by itself


class UsageError(SweepfleetError):
    """The user's input is wrong; nothing was run and nothing was created. The message has all problems.

    Examples:
        >>> import sweepfleet as sf
        >>> def fit(alpha):
        ...     return alpha
        >>> sf.sweep(fit, {"alpha": {"linspce": [0, 1, 5]}}, replicates=0)
        Traceback (most recent call last):
        ...
        sweepfleet.grid.errors.GridError: .../fit.yaml: 2 problems; nothing was run.
          line 5: parameters.alpha.linspce: `linspce` is not a key here. Did you mean `linspace`?
          line 6: replicates: `0` is not allowed; it must be 1 or more. Write, for example, `replicates: 5`.
    """

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a grid file: its place, what was seen, and what to write instead."""

    key: str  # dotted path of keys, "parameters.alpha.min"; "" for the file as a whole
    message: str  # what was seen and what is allowed, one sentence
    remedy: str  # what to write instead, one sentence
    line: int | None = None  # counted from 1; None when it comes from the command line

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        key = f"{self.key}: " if self.key else ""
        return f"{where}{key}{self.message} {self.remedy}".rstrip()


class GridError(UsageError):
    """A grid file that cannot be run as written; has all problems, not only the first."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count}; nothing was run.\n{lines}")
