"""Handover between drivers of a run: the dead drivers' engines and number of slots, noted in the ledger.

The mark of it stands in the ledger while a driver on a cluster works. One that comes to its end takes it away.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sweepfleet.grid.wording import counted
from sweepfleet.run.bundles import Span
from sweepfleet.run.disk import FullDiskError
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.ledger import Ledger, StorageError
from sweepfleet.run.progress import Observer

if TYPE_CHECKING:
    from sweepfleet.run.driver import Driver
    from sweepfleet.run.engine import Engine

META = "drivers"
MOST = 16  # of the engines that died one after the other before a driver came to its end
# For workers to come back to a new scheduler: they miss the old one after `dask_command.SILENT_S` at the latest.
PATIENCE_S = 30.0
EVERY_S = 1.0


@dataclass(slots=True)
class Mark:
    """The ledger's note of drivers that did not end normally."""

    ledger: Ledger
    engines: tuple[str, ...] = ()  # whose bundles workers may still have
    slots: int = 0  # that they had last
    request: str | None = None  # of the command that they worked for; see `run.ledger.REDO_REQUEST`
    begun: list[Span] = field(
        default_factory=list
    )  # places of points whose bundles had a slot, a second before the end
    _next_s: float = 0.0

    @classmethod
    def read(cls, ledger: Ledger) -> Self:
        """The mark in a ledger; an empty one when there is none."""
        text = ledger.meta(META)
        if not text:
            return cls(ledger)
        found = json.loads(text)
        begun = [(start, stop) for start, stop in found["begun"]]
        return cls(ledger, tuple(found["engines"]), found["slots"], found["request"], begun)

    @contextlib.contextmanager
    def of(self, engine: Engine, *, request: str | None) -> Iterator[None]:
        """Context in which a driver works; the mark stays only if the driver or its cluster dies."""
        self.engines = (*self.engines, engine.name)[-MOST:]
        self.request = request
        self._write(engine.slots, self.begun)
        try:
            yield
        except ClusterError:
            raise
        except BaseException:
            with contextlib.suppress(StorageError):
                self.clear()
            raise

    def note(self, engine: Engine, driver: Driver) -> None:
        """Note which bundles have a slot now, when it is due."""
        if time.monotonic() < self._next_s:
            return
        pending = driver.pending
        begun = [*driver.left]
        for bundle in engine.begun:
            begun += pending.places(bundle.spans, bundle.shuffle)
        if (engine.slots, begun) != (self.slots, self.begun):
            self._write(engine.slots, begun)

    def _write(self, slots: int, begun: list[Span]) -> None:
        self.slots, self.begun = slots, begun
        note = {"engines": self.engines, "slots": slots, "request": self.request, "begun": begun}
        with contextlib.suppress(FullDiskError):  # the driver waits for room, and notes it then
            self.ledger.set_meta(META, json.dumps(note))
        self._next_s = time.monotonic() + EVERY_S

    def taken_by(self, engine: Engine, observer: Observer) -> None:
        """Have an engine find the bundles of the dead drivers. Raises ClusterError when it is gone."""
        if self.engines:
            with observer.waiting(f"the workers of the driver before: {counted(self.slots, 'slot')}"):
                engine.take_over(self.engines, slots=self.slots, patience_s=PATIENCE_S)

    def clear(self) -> None:
        """The driver has ended normally.

        On a full disk the note stays: the next driver asks the workers, and none holds anything for this one.
        """
        with contextlib.suppress(FullDiskError):
            self.ledger.set_meta(META, "")
