"""Shares a scheduler's workers fairly between dask clients and sweeps: by the time that their tasks take.

dask itself hands tasks out in the order in which they came: a client that submits 100,000 of them would have all
workers until the last one, and a sweep beside it none. Here every client, a sweep's driver among them, has a clock
that its tasks move on by their usual duration, and the task whose client has had the least goes first. It is
start-time fair queueing: Goyal, Vin, Cheng, https://doi.org/10.1145/248157.248171.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distributed import SchedulerPlugin

from sweepfleet.machine.head.client_use import FAIR

if TYPE_CHECKING:
    from distributed import Scheduler

UNKNOWN_S = 0.5  # that a task takes whose like has not ended yet, as dask itself supposes


class Fair(SchedulerPlugin):  # type: ignore[misc]
    """Gives tasks their priorities as they come."""

    name = FAIR
    idempotent = True

    def __init__(self) -> None:
        """With no client yet."""
        self.used_s: dict[str, float] = {}  # thread-seconds of the tasks that have ended, by client
        self.ended: dict[str, int] = {}  # their number
        self._clock = 0.0  # the begin of the latest task that has ended
        self._next: dict[str, float] = {}  # the begin of a client's next task
        self._tasks: dict[Any, tuple[str, float]] = {}  # client and begin, by key
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """What came before goes first."""
        self._scheduler = scheduler
        self._clock = float(scheduler.generation + 1)

    def update_graph(self, scheduler: Scheduler, *, client: str, tasks: list[Any], **_: Any) -> None:
        """Place new tasks; a user's own priority still comes first, and within a graph dask's order."""
        new = [scheduler.tasks[key] for key in tasks if key not in self._tasks and key in scheduler.tasks]
        for task in sorted((one for one in new if one.priority), key=lambda one: one.priority):
            begin = max(self._clock, self._next.get(client, 0.0))
            usual_s = task.prefix.duration_average
            self._next[client] = begin + (usual_s if usual_s >= 0 else UNKNOWN_S)
            self._tasks[task.key] = client, begin
            user, *rest = task.priority
            task.priority = (user, begin, *rest)

    def transition(self, key: Any, start: str, finish: str, *_: Any, **how: Any) -> None:
        """Count what has ended."""
        if finish == "forgotten":
            self._tasks.pop(key, None)
        elif start == "processing" and finish in ("memory", "erred") and key in self._tasks:
            client, begin = self._tasks[key]
            self._clock = max(self._clock, begin)
            took_s = sum(
                one["stop"] - one["start"] for one in how.get("startstops") or () if one["action"] == "compute"
            )
            self.used_s[client] = self.used_s.get(client, 0.0) + took_s
            self.ended[client] = self.ended.get(client, 0) + 1

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002 - dask's signature
        """Forget a client."""
        for counts in (self.used_s, self.ended, self._next):
            counts.pop(client, None)
