"""The interface of an engine."""

from __future__ import annotations

from typing import Protocol

from sweepfleet.run.bundles import Bundle, Ended, Found, Lost, Storing
from sweepfleet.run.sharing import Sharing
from sweepfleet.slot.source import Start


class EnginePort(Protocol):
    """An engine, as the driver sees it."""

    start: Start
    lost_s: float

    @property
    def slots(self) -> int: ...  # noqa: D102
    @property
    def sharing(self) -> Sharing | None: ...  # noqa: D102
    @property
    def flying(self) -> int: ...  # noqa: D102
    @property
    def running(self) -> tuple[int, float]: ...  # noqa: D102
    @property
    def storing(self) -> Storing: ...  # noqa: D102
    def submit(self, bundle: Bundle) -> None: ...  # noqa: D102
    def wait(self, timeout_s: float) -> list[Ended | Lost]: ...  # noqa: D102
    def cancel(self, bundle: Bundle) -> None: ...  # noqa: D102
    def found(self) -> list[Found]: ...  # noqa: D102
