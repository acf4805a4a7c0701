"""What can go wrong with a cluster; the front door turns each into its exit code."""

from __future__ import annotations

from grid.errors import SweepfleetError


class ClusterError(SweepfleetError):
    """The cluster could not be made, reached or changed; the message says why and what to do."""

    exit_code = 3


class NothingToDo(SweepfleetError):  # noqa: N818 - it is no error, and ends a command well
    """What was asked for is so already."""

    exit_code = 0


class CancelledError(SweepfleetError):
    """A run was stopped by somebody before anything came of it."""

    exit_code = 130
