"""How a job's end is told to whoever wants to connect to its driver."""

from __future__ import annotations

from typing import Any

from sweepfleet.fleet.errors import ClusterError

EXIT_CANCELLED = 130


class NotActiveError(ClusterError):
    """The job is not active: it has ended, or never was. Has what it said last."""

    def __init__(self, said: dict[str, Any]) -> None:
        cancelled = said.get("exit_code") == EXIT_CANCELLED
        super().__init__(str(said.get("error") or f"The run {'was cancelled' if cancelled else 'has ended'}."))
        self.said = said
