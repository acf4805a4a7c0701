"""Parameter sweeps on this machine's cores, or on a cluster in your own AWS account.

The public API is what `dir(sweepfleet)` lists. The packages and modules in here are private.

Examples:
    >>> import sweepfleet as sf
    >>> def fit(alpha):
    ...     return {"loss": (alpha - 2) ** 2}
    >>> run = sf.sweep(fit, {"alpha": sf.linspace(0, 4, 5)}, metric="loss")
    >>> run.best()["params"]
    {'alpha': 2.0}
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepfleet.api.calls.errors import CallError as CallError
    from sweepfleet.api.cluster import Cluster as Cluster
    from sweepfleet.api.cluster import connect as connect
    from sweepfleet.api.decorated import function as function
    from sweepfleet.api.executor import Executor as Executor
    from sweepfleet.api.grids import Metric as Metric
    from sweepfleet.api.grids import distribution as distribution
    from sweepfleet.api.grids import linspace as linspace
    from sweepfleet.api.grids import logspace as logspace
    from sweepfleet.api.run import Run as Run
    from sweepfleet.api.runs import open as open  # noqa: A004 - sweepfleet.open reads well
    from sweepfleet.api.stacks import down as down
    from sweepfleet.api.stacks import up as up
    from sweepfleet.api.sweeps import sweep as sweep
    from sweepfleet.grid.errors import SweepfleetError as SweepfleetError
    from sweepfleet.grid.errors import UsageError as UsageError
    from sweepfleet.slot.checkpoints import checkpoint as checkpoint
    from sweepfleet.slot.leaving import leaving as leaving

_HOMES = {
    "sweep": "api.sweeps",
    "open": "api.runs",
    "Executor": "api.executor",
    "function": "api.decorated",
    "CallError": "api.calls.errors",
    "Run": "api.run",
    "connect": "api.cluster",
    "Cluster": "api.cluster",
    "up": "api.stacks",
    "down": "api.stacks",
    "Metric": "api.grids",
    "linspace": "api.grids",
    "logspace": "api.grids",
    "distribution": "api.grids",
    "checkpoint": "slot.checkpoints",
    "leaving": "slot.leaving",
    "SweepfleetError": "grid.errors",
    "UsageError": "grid.errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import what is asked for: the package itself imports nothing, and so costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sweepfleet' has no attribute {name!r}")
    return getattr(import_module(f"sweepfleet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(_HOMES)
