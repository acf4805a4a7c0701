"""The bundles that a worker keeps for its driver, from their start until the driver has committed them.

Driver and scheduler may die meanwhile. The worker computes on, and whoever comes in the driver's place takes over
what is active or finished here instead of having it computed again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sweepfleet.slot.runner import Span

MOST_BYTES = 128 << 20  # of uncommitted packets; beyond it, the oldest ones are dropped, and run again

Name = tuple[str, int]  # a driver's engine, and the bundle's number there


@dataclass(eq=False, slots=True)
class Bundle:
    """A bundle that a worker keeps."""

    name: Name
    spans: tuple[Span, ...]
    shuffle: int | None
    packet: Future[bytes] = field(default_factory=Future)


class Held:
    """The bundles of one pool; thread-safe."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        """Start without bundles."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._bundles: dict[Name, Bundle] = {}  # the oldest first

    def join(
        self, name: Name, spans: Sequence[Span], shuffle: int | None, *, before: Name | None = None
    ) -> tuple[Bundle, bool]:
        """The bundle of this name, added if it is new; and whether it was there.

        Args:
            name: that the present driver has for it.
            spans: its points; see `slot.runner.Job`.
            shuffle: likewise.
            before: the name that a driver before it had for the same bundle, if any.
        """
        with self._lock:
            found = self._bundles.get(name)
            if found is None and before is not None and (found := self._bundles.pop(before, None)) is not None:
                found.name = name
                self._bundles[name] = found
            if found is not None:
                return found, True
            found = self._bundles[name] = Bundle(name, tuple(spans), shuffle)
            return found, False

    def finish(self, bundle: Bundle, packet: bytes) -> None:
        """A bundle has finished."""
        bundle.packet.set_result(packet)
        with self._lock:
            finished = [each for each in self._bundles.values() if each.packet.done()]
            size = sum(len(each.packet.result()) for each in finished)
            for each in finished:
                if size <= self._most_bytes:
                    break
                size -= len(each.packet.result())
                del self._bundles[each.name]

    def fail(self, bundle: Bundle, error: BaseException) -> None:
        """A bundle failed here; when it is asked for again, it is computed again."""
        with self._lock:
            if self._bundles.get(bundle.name) is bundle:
                del self._bundles[bundle.name]
        bundle.packet.set_exception(error)

    def committed(self, engine: str, out: Sequence[int]) -> None:
        """Drop what a driver no longer needs.

        Args:
            engine: the driver's.
            out: the first numbers of bundles that it has not committed, ascending. It needs no other one below the
                last of these.
        """
        if not out:
            return
        with self._lock:
            for name in list(self._bundles):
                if name[0] == engine and name[1] < out[-1] and name[1] not in out:
                    del self._bundles[name]

    def of(self, engines: Collection[str]) -> list[tuple[Name, tuple[Span, ...], int | None]]:
        """What is held for the drivers of these engines: each bundle's name, spans and shuffle."""
        with self._lock:
            return [
                (each.name, each.spans, each.shuffle) for each in self._bundles.values() if each.name[0] in engines
            ]

    @property
    def engines(self) -> set[str]:
        """The engines for which something is held."""
        with self._lock:
            return {name[0] for name in self._bundles}
