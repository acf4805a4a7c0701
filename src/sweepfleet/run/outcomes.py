"""What comes of the bundles that are out: their packets, handed over in this process or fetched from workers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from distributed import Client, Future

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.engine_errors import BrokenSweepError, ClusterError
from sweepfleet.run.machine_port import ArtifactsLeftError
from sweepfleet.run.slots import NoSlotsError
from sweepfleet.slot.source import RunnerClosedError


class Outcomes:
    """By the bundle's number. A packet is fetched beside the driver, which never waits for a worker."""

    def __init__(self, client: Client, tell: Callable[[int], None]) -> None:
        """Tell of each bundle once its outcome is here; from whichever thread that is."""
        self._client, self._tell = client, tell
        self._futures: dict[int, Future] = {}
        self._here: dict[int, bytes | BaseException] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._here

    def follow(self, number: int, future: Future) -> None:
        """Have what comes of a future here; one that the bundle had before is cancelled."""
        before, self._futures[number] = self._futures.get(number), future
        if before is not None:
            before.cancel()
        future.add_done_callback(functools.partial(self._ended, number))

    def hand(self, number: int, packet: bytes) -> None:
        """A worker in this process has the packet, which its future brings no more."""
        self._here[number] = packet
        self._tell(number)

    def take(self, number: int) -> bytes:
        """The packet of a bundle whose outcome is here; it is then forgotten.

        Raises:
            ClusterError: the scheduler is gone, or the workers have no slots for the sweep any more.
            BrokenSweepError: its worker cannot go on.
        """
        future = self._futures.pop(number)
        outcome = self._here.pop(number)
        if isinstance(outcome, bytes):
            return outcome
        raise _error(outcome, future) from outcome

    def drop(self, number: int) -> None:
        """Cancel a bundle; nothing comes of it."""
        if (future := self._futures.pop(number, None)) is not None:
            future.cancel()
        self._here.pop(number, None)

    def _ended(self, number: int, future: Future) -> None:
        if number in self._futures and number not in self._here:
            self._client.loop.add_callback(self._fetch, number, future)

    async def _fetch(self, number: int, future: Future) -> None:
        """Bring a packet here, in the client's loop, where a future can be awaited.

        dask says once that a task has ended. When the worker goes away with the result, dask has another one compute
        it again, for as long as that takes, and does not say again that it has ended.
        """
        outcome: bytes | BaseException
        try:
            outcome = await future
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised by `take`
            outcome = error
        if self._futures.get(number) is future:
            self._here[number] = outcome
            self._tell(number)


def _error(why: BaseException, future: Future) -> SweepfleetError:
    if future.status != "error" or isinstance(why, NoSlotsError | RunnerClosedError | ArtifactsLeftError):
        return ClusterError("The connection to the scheduler broke. To resume, run the same command again.")
    return BrokenSweepError(f"The sweep failed: {why}\nFinished points are kept; the same command resumes.")
