"""The errors of engines, in a module that does not import dask."""

from __future__ import annotations

from sweepfleet.grid.errors import SweepfleetError


class ClusterError(SweepfleetError):
    """The cluster could not be reached or is not ready."""

    exit_code = 3


class BrokenSweepError(SweepfleetError):
    """A worker cannot continue; committed results are kept."""
