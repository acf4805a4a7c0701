"""Sends all workers home, and stops the runs that they work for: by the head, or past one that cannot be reached."""

from __future__ import annotations

from fleet import runs
from fleet.errors import ClusterError
from fleet.fleet import Fleet
from fleet.remote import Host, HostKeyError, NotYetError
from fleet.workers import scale, set_size
from grid.errors import UsageError


def stop(fleet: Fleet, *, yes: bool) -> None:
    """Stop what goes on and have no workers; what is done is kept.

    Args:
        fleet: the cluster.
        yes: also when runs go on, and when nobody can know since the head does not answer.

    Raises:
        UsageError: runs go on, and nobody said yes to that.
        ClusterError: the head cannot be told; with `yes`, the workers go all the same.
    """
    try:
        with fleet.head() as head:
            _stop(fleet, head, yes=yes)
    except (NotYetError, HostKeyError) as error:
        if not yes:
            raise ClusterError(f"{error}\nWorkers are sent home without the head, too, by: inv stop --yes") from None
        set_size(fleet.cloud, fleet.outputs, 0)
        raise ClusterError(
            f"{error}\nAWS was told to send all workers home nonetheless. The head does not know: if it is up, it "
            "starts them again while a run is active. See: inv status"
        ) from None


def _stop(fleet: Fleet, head: Host, *, yes: bool) -> None:
    going_on = runs.names(head, going_on=True)
    if going_on and not yes:
        raise UsageError(f"Runs go on: {', '.join(going_on)}. To stop them too: inv stop --yes")
    for name in going_on:
        runs.cancel(head, name)
        print(f"Stopped {name}; the same inv sweep goes on with it.")
    scale(head, fleet.cloud, fleet.outputs, 0)
