"""What can go wrong with a cluster; the front door turns each into its exit code."""

from __future__ import annotations

import signal

from sweepfleet.grid.errors import SweepfleetError

# What the extra `cluster` installs and this package imports.
OF_A_CLUSTER = {"boto3", "botocore", "cryptography", "fabric", "paramiko", "pulumi", "pulumi_aws"}
NO_CLUSTER = 'A cluster needs more packages than a sweep on this machine. Add them: uv add "sweepfleet[cluster]"'


class ClusterError(SweepfleetError):
    """The cluster could not be made, reached or changed; the message says why and what to do."""

    exit_code = 3


class StoppedError(ClusterError):
    """Pulumi was interrupted; what it had done until then is recorded."""

    def __init__(self, message: str, *, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number  # of the signal
        self.exit_code = 128 + number  # as a shell says it


class LeakedError(ClusterError):
    """The account has resources of a stack that are not in its state."""


class NothingToDo(SweepfleetError):  # noqa: N818 - it is no error, and ends a command well
    """What was asked for is so already."""

    exit_code = 0


class CancelledError(SweepfleetError):
    """A run was stopped by somebody before anything came of it."""

    exit_code = 130
