"""From a driver that died to the one that comes in its place: whose bundles workers may hold, and how many slots.

The mark of it stands in the ledger while a driver on a cluster works. One that comes to its end takes it away.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sweep.engine_errors import ClusterError
from sweep.ledger import Ledger, StorageError
from sweep.progress import Observer

if TYPE_CHECKING:
    from sweep.engine import Engine

META = "drivers"
MOST = 16  # of the engines that died one after the other before a driver came to its end
# For workers to come back to a new scheduler: they miss the old one after `dask_command.SILENT_S` at the latest.
PATIENCE_S = 30.0


@dataclass(slots=True)
class Mark:
    """What the ledger says of drivers that have not come to their end."""

    ledger: Ledger
    engines: tuple[str, ...] = ()  # whose bundles workers may hold
    slots: int = 0  # that they had last
    request: str | None = None  # of the command that they worked for; see `sweep.ledger.REDO_REQUEST`

    @classmethod
    def read(cls, ledger: Ledger) -> Self:
        """The mark in a ledger; an empty one when there is none."""
        text = ledger.meta(META)
        if not text:
            return cls(ledger)
        found = json.loads(text)
        return cls(ledger, tuple(found["engines"]), found["slots"], found["request"])

    @contextlib.contextmanager
    def of(self, engine: str, *, slots: int, request: str | None) -> Iterator[None]:
        """Within it a driver works; the mark stays only if that dies, or its cluster does."""
        self.engines = (*self.engines, engine)[-MOST:]
        self.request = request
        self._write(slots)
        try:
            yield
        except ClusterError:
            raise
        except BaseException:
            with contextlib.suppress(StorageError):
                self.clear()
            raise

    def note(self, slots: int) -> None:
        """Write down that there are so many slots now."""
        if slots != self.slots:
            self._write(slots)

    def _write(self, slots: int) -> None:
        self.slots = slots
        self.ledger.set_meta(META, json.dumps({"engines": self.engines, "slots": slots, "request": self.request}))

    def taken_by(self, engine: Engine, observer: Observer) -> None:
        """Have an engine find what workers hold for the drivers that died. Raises ClusterError when it is gone."""
        if self.engines:
            with observer.waiting(f"the workers of the driver before: {self.slots:,} slots"):
                engine.take_over(self.engines, slots=self.slots, patience_s=PATIENCE_S)

    def clear(self) -> None:
        """The driver has come to its end."""
        self.ledger.set_meta(META, "")
