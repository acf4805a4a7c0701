"""The command that prints a machine's journal. Pure."""

from __future__ import annotations

from sweepfleet.fleet.runs.jobs import folder_of
from sweepfleet.run.runs import check_name


def journal_command(*, name: str, lines: int, follow: bool = False) -> list[str]:
    """The words to run as root.

    Args:
        name: of a run, whose lines alone are meant; empty: all of sweepfleet's.
        lines: the number of last lines.
        follow: go on with new lines.

    Raises:
        UsageError: that is not a run's name.
    """
    if name:
        check_name(name)
    unit = folder_of(name).unit if name else "sweepfleet-*"
    words = ["journalctl", "-u", unit, "-n", str(lines), "--no-pager", "-o", "short-iso"]
    return [*words, "-f"] if follow else words
