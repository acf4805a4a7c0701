"""The way to a driver of calls on a cluster: see `api.calls.way.Way`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sweepfleet.fleet.calls.job import JobOnHead, order
from sweepfleet.fleet.calls.link import Link
from sweepfleet.fleet.code.same_modules import SameModules
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.grid.errors import UsageError
from sweepfleet.run.calls import wire
from sweepfleet.slot.calls.frames import Frame


class FarWay:
    """An open way."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        run: str | None,
        max_workers: int | None,
        cpus: int,
        pending: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """Hand the job over and connect.

        Args:
            fleet: the cluster.
            run: the name under which results are kept; None: they are not.
            max_workers: calls at once.
            cpus: of a call.
            pending: how many calls wait to be sent.
            say: to a person.

        Raises:
            UsageError: nothing was pushed, modules differ from the release's, or the run is active as another one.
            ClusterError: the cluster cannot be reached.
        """
        release = fleet.release()
        self._root = fleet.root.resolve()
        self._same = SameModules(fleet, release)
        self._same.check_loaded()
        asked = order(fleet, release, run=run, max_workers=max_workers, cpus=cpus)
        self._name = asked.job.name
        job = JobOnHead(fleet, asked.job, say)
        job.start()
        for line in asked.lines:
            say(line)
        self._link = Link(job, durable=asked.job.durable, pending=pending)

    def send(self, frame: Frame) -> None:
        """Send a frame, now or when there is a connection again."""
        if frame.kind == "function":
            try:
                self._same.check_function(bytes(frame.buffers[0]))
            except UsageError as error:
                self._link.tell(wire.broken("usage", str(error)))
                return
        if frame.kind == "hello":
            header = frame.header | {"path": within(self._root, frame.header.get("path") or ()), "runs": None}
            frame = Frame(header, frame.buffers)
        self._link.send(frame)

    def receive(self) -> Frame | None:
        """The next frame; None at the end."""
        return self._link.receive()

    def close(self) -> None:
        """Leave the driver."""
        self._link.close()


def within(root: Path, folders: Sequence[str]) -> list[str]:
    """Those folders that are in the project, as paths from its root; the environment's are the cluster's own."""
    found = []
    for folder in folders:
        place = Path(folder or ".").resolve()
        if place.is_relative_to(root) and not any(part in ("site-packages", ".venv") for part in place.parts):
            found.append(place.relative_to(root).as_posix())
    return list(dict.fromkeys(found))
