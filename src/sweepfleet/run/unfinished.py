"""What a driver that died left: points that had begun, and of which nobody knows yet whether a worker has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweepfleet.run.bundles import Span


@dataclass
class Unfinished:
    """The places of such points, until they are found on a worker or begin again."""

    spans: list[Span] = field(default_factory=list)

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def take(self, places: Sequence[Span]) -> list[Span]:
        """Take out what begins now, or was found; what was among these places."""
        taken = []
        for start, stop in places:
            for low, high in [each for each in self.spans if each[0] < stop and start < each[1]]:
                first, last = max(start, low), min(stop, high)
                self.spans.remove((low, high))
                self.spans += [each for each in ((low, first), (last, high)) if each[0] < each[1]]
                taken.append((first, last))
        return taken
