"""Finds the bundles that workers keep for drivers that died."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Collection, Sequence
from typing import Any

from distributed import Client

from sweepfleet.run.asking import asking
from sweepfleet.run.bundles import Found
from sweepfleet.run.slots import HELD_TOPIC, HeldBundle, held


class FoundBundles:
    """The found bundles of one sweep; each is returned once."""

    def __init__(self, client: Client, digest: str) -> None:
        """`listen` and `ask` find them."""
        self._client, self._digest = client, digest
        self._dead: frozenset[str] = frozenset()  # engines of drivers that died, whose bundles are ours now
        self._found: queue.SimpleQueue[Found] = queue.SimpleQueue()
        self._known: set[tuple[str, int]] = set()  # the names of those that were found

    def of(self, engines: Collection[str]) -> None:
        """Start to collect bundles of dead drivers, by the names of their engines."""
        self._dead = frozenset(engines)

    def listen(self) -> None:
        """Listen for bundles of workers that join from now on."""
        self._client.subscribe_topic(HELD_TOPIC, lambda event: self._received(event[1]))

    def ask(self) -> None:
        """Ask the present workers. Raises ClusterError when the scheduler is gone."""
        with asking():
            answers: dict[str, list[HeldBundle]] = self._client.run(held, self._digest, sorted(self._dead))
        for address, bundles in answers.items():
            self._find(address, bundles)

    def new(self) -> list[Found]:
        """The bundles found since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._found.get_nowait())
        return found

    def _received(self, message: dict[str, Any]) -> None:
        """Handle a new worker's list of bundles."""
        if message["digest"] == self._digest:
            self._find(message["address"], message["bundles"])

    def _find(self, address: str, bundles: Sequence[HeldBundle]) -> None:
        for (engine, number), spans, shuffle in bundles:
            name = (engine, number)
            if engine in self._dead and name not in self._known:
                self._known.add(name)
                self._found.put(Found(name, tuple((start, stop) for start, stop in spans), shuffle, address))
