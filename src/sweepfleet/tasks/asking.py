"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

from invoke.exceptions import Exit


def can_ask() -> bool:
    """Whether a person can be asked: standard input and standard error are a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


def agreed(question: str) -> bool:
    """Ask a person; anything but yes, and Ctrl-D, is no."""
    print(f"{question} [y/N] ", end="", flush=True, file=sys.stderr)  # standard output may be JSON's
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def confirm(question: str, *, yes: bool, unasked: str, refused: str) -> None:
    """Return only when the user wants it.

    Args:
        question: to ask.
        yes: confirmed already.
        unasked: what to say where nobody can be asked.
        refused: what to say when the answer is no.

    Raises:
        UsageError: nobody can be asked.
        Exit: the answer was no.
    """
    from sweepfleet.grid.errors import UsageError

    if yes:
        return
    if not can_ask():
        raise UsageError(unasked)
    if not agreed(question):
        raise Exit(refused, 2)


def confirm_run(concern: str | None, *, yes: bool, instead: str) -> None:
    """Have the user confirm points that may not be meant.

    Args:
        concern: a sentence that says what; None: nothing.
        yes: confirmed already.
        instead: what to type to find out more.

    Raises:
        UsageError: nobody can be asked.
        Exit: the answer was no.
    """
    if concern is not None:
        confirm(
            f"{concern} Run them?",
            yes=yes,
            unasked=f"{concern} To run them, add --yes. {instead}",
            refused=f"Nothing was run. {instead}",
        )
