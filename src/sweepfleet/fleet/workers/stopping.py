"""Shuts down all workers and stops the runs that use them: through the head, or without one that does not answer."""

from __future__ import annotations

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.host_keys import HostKeyError, NotYetError
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.stack.awake import AsleepError
from sweepfleet.fleet.stack.gone import DownError
from sweepfleet.fleet.steps import Steps
from sweepfleet.fleet.workers.group import scale, set_size
from sweepfleet.grid.errors import UsageError


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
        with Steps() as steps, fleet.awake_head() as head:
            _stop(fleet, head, yes=yes, steps=steps)
    except DownError:
        raise
    except AsleepError:  # which it is only without runs, so none is active
        set_size(fleet.cloud, fleet.outputs, 0)
    except (NotYetError, HostKeyError) as error:
        if not yes:
            raise ClusterError(f"{error}\nTo shut down the workers without the head: inv stop --yes") from None
        set_size(fleet.cloud, fleet.outputs, 0)
        raise ClusterError(
            f"{error}\nAWS was told to shut down all workers. The head does not know: if it is up, it starts them "
            "again while a run is active. See: inv status"
        ) from None


def _stop(fleet: Fleet, head: Host, *, yes: bool, steps: Steps) -> None:
    active = runs.names(head, active=True)
    if active and not yes:
        raise UsageError(f"Active runs: {', '.join(active)}. To stop them, too: inv stop --yes")
    for name in active:
        steps.step(f"Stopping the run {name} and storing its results")
        runs.cancel(head, name)
        steps.say(f"Stopped {name}. The same inv sweep resumes it.")
    steps.step("Shutting down the workers")
    scale(head, fleet.cloud, fleet.outputs, 0)
