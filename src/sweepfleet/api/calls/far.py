"""The way from an Executor to a driver on a cluster, with messages as a Python user types what they propose."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from sweepfleet.api.calls.way import Way
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.slot.calls.frames import Frame

if TYPE_CHECKING:
    from sweepfleet.api.cluster import Cluster


class StartFar:
    """Starts a driver on a cluster; the client calls it in a thread of its own."""

    def __init__(self, stack: str | Cluster, *, run: str | None, max_workers: int | None, cpus: int) -> None:
        """Find the cluster; nothing is sent yet. Raises UsageError: there is none."""
        from sweepfleet.api.cluster import fleet_of

        self._fleet = fleet_of(stack)
        self._run, self._max_workers, self._cpus = run, max_workers, cpus
        self.pending: Callable[[], int] = lambda: 0  # how many calls wait in the client

    def __call__(self) -> Way:
        """An open way. Raises SweepfleetError."""
        from sweepfleet.fleet.calls.way import FarWay

        name = self._fleet.outputs.stack
        with python_hints(name):
            way = FarWay(
                self._fleet,
                run=self._run,
                max_workers=self._max_workers,
                cpus=self._cpus,
                pending=lambda: self.pending(),  # noqa: PLW0108 - it is set later
                say=lambda text: print(in_python(text, stack=name), file=sys.stderr, flush=True),
            )
        return _InPython(way, name)


class _InPython:
    """The same way, whose messages propose Python."""

    def __init__(self, way: Way, stack: str) -> None:
        self._way, self._stack = way, stack
        self.send, self.close = way.send, way.close

    def receive(self) -> Frame | None:
        """See `Way`."""
        frame = self._way.receive()
        if frame is not None:
            for key in ("why", "text"):
                if key in frame.header:
                    frame.header[key] = in_python(frame.header[key], stack=self._stack)
        return frame
