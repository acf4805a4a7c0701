"""What can go wrong with an engine; apart from it, so that nobody loads dask for a name."""

from __future__ import annotations

from sweepfleet.grid.errors import SweepfleetError


class ClusterError(SweepfleetError):
    """The cluster could not be reached or is not ready."""

    exit_code = 3


class BrokenSweepError(SweepfleetError):
    """A worker cannot go on; what was committed is kept."""
