"""Pushes from the command line, which asks the person at the terminal."""

from __future__ import annotations

from typing import Any

from sweepfleet.tasks.asking import confirm


def push_checkout(fleet: Any, **how: Any) -> None:
    """Make this checkout the cluster's release; see `fleet.code.agreed`. Raises Exit: the answer was no."""
    from sweepfleet.fleet.code.agreed import push_checkout

    push_checkout(fleet, confirm=confirm, **how)


def release_for(fleet: Any, checked: Any, **how: Any) -> Any:
    """The release that a sweep runs; see `fleet.code.agreed`. Raises Exit: the answer was no."""
    from sweepfleet.fleet.code.agreed import release_for

    return release_for(fleet, checked, confirm=confirm, **how)
