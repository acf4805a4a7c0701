"""The head's data volume as scripts on the head need it: mounted.

A head that goes down or comes up has its SSH door open while the volume is not there, and without it every run seems
to have ended, or never to have been.
"""

from __future__ import annotations

from sweepfleet.infra.layout import MachinePaths

DATA = MachinePaths().data
NOT_MOUNTED = "The head is starting or shutting down: its data volume is not mounted. Try again in a minute."


def needed(script: str) -> str:
    """The shell script, which says so and fails while the volume is not mounted; it stays so meanwhile."""
    return f"cd {DATA} && mountpoint -q . || {{ echo '{NOT_MOUNTED}' >&2; exit 1; }}\n{script}"
