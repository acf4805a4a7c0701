"""The way from an Executor in a console or a notebook on the head to a driver on the same head."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sweepfleet.fleet.calls.ended import NotActiveError
from sweepfleet.fleet.calls.link import Link
from sweepfleet.machine.head.fleet_here import FleetHere
from sweepfleet.machine.head.job_here import connect, submit
from sweepfleet.machine.job import Job, JobFolder
from sweepfleet.run.calls.line import Connection, SocketConnection
from sweepfleet.slot.calls.frames import Frame


class StartOnHead:
    """Starts a driver on this head; the client calls it in a thread of its own."""

    def __init__(self, fleet: FleetHere, *, run: str | None, max_workers: int | None, cpus: int) -> None:
        """Nothing is started yet. Raises UsageError as `FleetHere.calls`."""
        self._fleet = fleet
        self._job = fleet.calls(run=run, max_workers=max_workers, cpus=cpus)
        self.pending: Callable[[], int] = lambda: 0  # how many calls wait in the client

    def __call__(self) -> _OnHead:
        """An open way. Raises UsageError: an active run has the name."""
        job = _JobHere(self._fleet, self._job)
        job.start()
        print(f"Executor on this cluster's workers · run {self._job.name}", file=sys.stderr, flush=True)
        return _OnHead(Link(job, durable=self._job.durable, pending=lambda: self.pending()))  # noqa: PLW0108 - it is set later


class _JobHere:
    """See `fleet.calls.link.Cluster`."""

    def __init__(self, fleet: FleetHere, job: Job) -> None:
        self._fleet, self._job = fleet, job
        self._folder = JobFolder(fleet.data.jobs / job.name)

    def connect(self) -> Connection:
        """See there."""
        stream = connect(self._folder)
        if stream is None:
            raise NotActiveError(self._folder.read_progress())
        return SocketConnection(stream)

    def start(self) -> None:
        """See there."""
        submit(self._fleet.data, self._job)


class _OnHead:
    """See `api.calls.way.Way`. Calls find the project's modules in the release, and no others."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.receive, self.close = link.receive, link.close

    def send(self, frame: Frame) -> None:
        """See there."""
        if frame.kind == "hello":
            frame = Frame(frame.header | {"path": [], "runs": None}, frame.buffers)
        self._link.send(frame)
