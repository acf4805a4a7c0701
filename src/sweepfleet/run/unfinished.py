"""Points that a dead driver had begun, while it is unknown whether a worker still has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweepfleet.run.bundles import Span


@dataclass
class Unfinished:
    """The positions of such points, until they are found on a worker or begin again."""

    spans: list[Span] = field(default_factory=list)

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def take(self, places: Sequence[Span]) -> list[Span]:
        """Remove positions that begin now or were found; returns those that were here."""
        taken = []
        for start, stop in places:
            for low, high in [each for each in self.spans if each[0] < stop and start < each[1]]:
                first, last = max(start, low), min(stop, high)
                self.spans.remove((low, high))
                self.spans += [each for each in ((low, first), (last, high)) if each[0] < each[1]]
                taken.append((first, last))
        return taken
