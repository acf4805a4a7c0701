"""The interface between the driver of calls and its engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sweepfleet.slot.calls.batch import Call, Outcome


class Finished(NamedTuple):
    """Calls that have ended, of one bundle."""

    number: int  # the bundle's
    outcomes: Sequence[Outcome]
    kept: Callable[[], None] = lambda: None  # called once they are committed, or need not be


class GivenBack(NamedTuple):
    """Calls that have not begun and lost their slot: a call before them takes long."""

    indexes: Sequence[int]


class Resized(NamedTuple):
    """The number of slots."""

    slots: int
    ahead: int  # bundles for each slot that may be out


class Broke(NamedTuple):
    """The engine cannot go on."""

    kind: str  # as `wire.broken` has it
    why: str


Event = Finished | GivenBack | Resized | Broke


class CallsEngine(Protocol):
    """An engine that executes calls.

    It tells its events to the function that it was made with, from whichever thread; the driver puts them in a queue.
    """

    def add_function(self, digest: str, pickled: bytes) -> None:
        """Have this function where calls are executed; it comes before any bundle that needs it."""

    def forget_function(self, digest: str) -> None:
        """Drop a function. No call of it is open; before one comes, it is added again."""

    def submit(self, number: int, calls: Sequence[Call]) -> None:
        """Execute a bundle: one task of dask. Raises ClusterError when the scheduler is gone."""
