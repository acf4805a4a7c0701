"""The calls of an Executor that have no outcome: those that wait here, and those that were sent in bundles."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sweepfleet.api.calls.functions import Function
from sweepfleet.slot.calls.batch import Call, Outcome, Pickled
from sweepfleet.slot.calls.tokens import MOST

TARGET_S = 0.1  # a bundle's length, once a call's is known; a slot that waits for the next one costs 3 ms
SLOT_S = 0.01  # and longer with many slots: the scheduler spends some 2 ms of a core a bundle
UNKNOWN = 16  # calls of one bundle, at most, while nothing is known of their function
GROWTH = 32  # a bundle may be this many times longer than one that came back
SHARE = 1.5  # a bundle is at most one slot's share of what waits, divided by this: the last ones end together
LONG_S = 0.25  # calls that take this long wait here, where they can be cancelled, and not at the slots
MAX_BYTES = 8 << 20  # of a bundle's arguments, unless one call has more


@dataclass(slots=True, eq=False)
class Item:
    """A call and its future."""

    index: int
    function: Function
    arguments: Pickled
    key: str | None
    future: Future[Any]
    bundle: int = -1  # where it was sent
    begun: bool = False  # whether its future was told so

    def call(self) -> Call:
        """For the wire."""
        return Call(self.index, self.function.digest, self.arguments, self.key)

    @property
    def size(self) -> int:
        """Bytes of its arguments."""
        return len(self.arguments.data) + sum(memoryview(each).nbytes for each in self.arguments.outside)


class Queue:
    """The caller has a lock."""

    def __init__(self, *, slots: int) -> None:
        self.slots = slots
        self.ahead = 2  # bundles a slot that may be out
        self._waiting: deque[Item] = deque()
        self._out: dict[int, Item] = {}
        self._bundles: Counter[int] = Counter()  # open calls, by bundle
        self._next_bundle = 0

    def __bool__(self) -> bool:
        return bool(self._waiting or self._out)

    def __str__(self) -> str:
        return f"{len(self._out):,} calls sent, {len(self._waiting):,} waiting"

    @property
    def waiting(self) -> int:
        """How many calls were not sent yet."""
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """One more call."""
        item.function.open += 1
        self._waiting.append(item)

    def next(self) -> tuple[int, list[Item]] | None:
        """The next bundle to send: its number and its calls; None while enough is out, or nothing waits.

        Side effect: futures of these calls are told that they run.
        """
        while self._waiting and len(self._bundles) < self._window():
            items = self._bundle()
            if items:
                number, self._next_bundle = self._next_bundle, self._next_bundle + 1
                for item in items:
                    item.bundle = number
                    self._out[item.index] = item
                self._bundles[number] = len(items)
                return number, items
        return None

    def _window(self) -> int:
        call_s = self._waiting[0].function.call_s
        quick = call_s is not None and call_s < LONG_S
        return self.slots * (self.ahead if quick or self.ahead > 2 else 1)

    def _bundle(self) -> list[Item]:
        items: list[Item] = []
        seconds, size = 0.0, 0
        share = math.ceil(len(self._waiting) / (SHARE * self.slots))
        length_s = max(TARGET_S, SLOT_S * self.slots)
        while self._waiting and len(items) < min(MOST, share):
            item = self._waiting[0]
            function = item.function
            if function.call_s is None:
                seconds += length_s / UNKNOWN
            else:
                seconds += max(function.call_s, length_s / (GROWTH * function.most))
            size += item.size
            if items and (seconds > length_s or size > MAX_BYTES):
                break
            self._waiting.popleft()
            if item.begun or item.future.set_running_or_notify_cancel():
                item.begun = True
                items.append(item)
            else:
                item.function.open -= 1
        return items

    def end(self, outcomes: Sequence[Outcome]) -> list[tuple[Item, Outcome]]:
        """Outcomes of calls, with what is known of them here; each comes once."""
        found = []
        for outcome in outcomes:
            item = self._out.pop(outcome.index, None)
            if item is not None:
                self._leave(item)
                item.function.open -= 1
                found.append((item, outcome))
        self._learn(found)
        return found

    def _learn(self, found: Iterable[tuple[Item, Outcome]]) -> None:
        counts: Counter[Function] = Counter()
        spent_s: dict[Function, float] = {}
        for item, outcome in found:
            counts[item.function] += 1
            spent_s[item.function] = spent_s.get(item.function, 0.0) + outcome.wall_s
        for function, count in counts.items():
            seen_s = max(spent_s[function] / count, 1e-6)
            function.call_s = seen_s if function.call_s is None else (function.call_s + seen_s) / 2
            function.most = max(function.most, count)

    def _leave(self, item: Item) -> None:
        self._bundles[item.bundle] -= 1
        if not self._bundles[item.bundle]:
            del self._bundles[item.bundle]

    def give_back(self, indexes: Iterable[int]) -> None:
        """These calls have not begun; they come next."""
        back = [item for item in (self._out.pop(index, None) for index in indexes) if item is not None]
        for item in back:
            self._leave(item)
        self._waiting.extendleft(reversed(back))

    def drop_waiting(self) -> list[Item]:
        """Forget the calls whose futures can still be cancelled."""
        dropped = [item for item in self._waiting if not item.begun]
        self._waiting = deque(item for item in self._waiting if item.begun)
        for item in dropped:
            item.function.open -= 1
        return dropped

    def drop_all(self) -> list[Item]:
        """Forget all calls."""
        dropped = [*self._out.values(), *self._waiting]
        self._out.clear()
        self._waiting.clear()
        self._bundles.clear()
        return dropped
