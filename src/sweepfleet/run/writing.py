"""Writes ended points to the ledger: at once, or when a full disk has room again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sweepfleet.run.disk import Disk, FullDiskError
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.pauses import pauses
from sweepfleet.run.rows import Rows
from sweepfleet.run.run_progress import Progress
from sweepfleet.slot.records import Packet

LONGEST_S = 15.0  # between two tries while the disk is full

Batch = tuple[Rows, dict[int, int], dict[int, int], set[int]]  # as `Ledger.record` has it


@dataclass
class Unwritten:
    """What is recorded in one transaction."""

    packets: list[Packet]
    batches: list[Batch]
    news: Progress  # what it adds
    printed: bool = False  # whether its output is kept already


@dataclass
class Writing:
    """Writes to the ledger, in order. What a full disk refuses is kept: the driver sends out nothing meanwhile."""

    ledger: Ledger
    printed: Callable[[list[Packet]], None]  # keeps what points printed; called before they count
    git_commit: str | None
    env_hash: str | None
    _left: deque[Unwritten] = field(default_factory=deque)
    _disk: Disk | None = None  # that is full
    _since: float = 0.0  # unix time
    _pauses: Iterator[float] = field(default_factory=pauses)
    _next_s: float = 0.0  # time.monotonic() of the next try

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, one: Unwritten) -> None:
        """Add this to the next `write`."""
        self._left.append(one)

    def write(self, *, at_once: bool = False) -> Iterator[Unwritten]:
        """Record what was added, and return it. While the disk is full, tries only now and then, unless `at_once`.

        Raises:
            StorageError: the ledger cannot be written, and not for want of room.
        """
        if self._disk is not None and not at_once and time.monotonic() < self._next_s:
            return
        while self._left:
            one = self._left[0]
            try:
                if not one.printed:
                    self.printed(one.packets)
                    one.printed = True
                self.ledger.record(one.batches, git_commit=self.git_commit, env_hash=self.env_hash)
            except FullDiskError as error:
                if self._disk is None:
                    self._since, self._pauses = time.time(), pauses(longest_s=LONGEST_S)
                self._disk = error.disk
                self._next_s = time.monotonic() + next(self._pauses)
                return
            self._left.popleft()
            yield one
        self._disk = None

    @property
    def waits(self) -> tuple[str, float] | None:
        """What it waits for, and since when; None while it need not."""
        if self._disk is None:
            return None
        points = sum(one.news.computed + one.news.retried for one in self._left)
        results = "1 result waits" if points == 1 else f"{points:,} results wait"
        return (
            f"waiting for disk space: {self._disk.name} is full, {results} to be written; {self._disk.fix}",
            self._since,
        )
