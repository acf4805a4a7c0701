"""How many workers are asked of spot and of on-demand, while spot starts too few. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

WORTH_S = 900.0  # of all its workers at the on-demand price, that a budget must pay for: with less, none is started
EARLIER = 4  # a deadline shortens the patience to this part of the time that is left


@dataclass(frozen=True, slots=True)
class Shortage:
    """Since when there are fewer workers than are needed, and spot has started none."""

    since_s: float | None = None  # time.monotonic(); None: there are enough
    spot: int = 0  # workers from spot's group at the last look

    def looked(self, *, needed: int, there: int, spot: int, now_s: float) -> Shortage:
        """The same after a look.

        Args:
            needed: the number of workers.
            there: in both groups.
            spot: of them, in the group with spot instances.
            now_s: time.monotonic().
        """
        if there >= needed:
            return Shortage(None, spot)
        if self.since_s is None or spot > self.spot:
            return Shortage(now_s, spot)
        return replace(self, spot=spot)


def patience(patience_s: float, *, left_s: Iterable[float]) -> float:
    """The patience in seconds where runs have deadlines, which are so far away; those that are over do not count."""
    return min([patience_s, *(one / EARLIER for one in left_s if one > 0)])


@dataclass(frozen=True, slots=True)
class Purse:
    """What an active run needs and may still cost."""

    needed: int  # workers
    rest_usd: float | None  # of its budget; None: it has none that could be enforced


def payable(purses: Iterable[Purse], *, usd_per_hour: float | None) -> int:
    """The number of workers that the runs can pay for a while, each at most as many as it needs.

    Args:
        purses: of the active runs.
        usd_per_hour: what an on-demand worker costs at most; None: unknown, and no budget can pay for it.
    """
    total = 0
    for purse in purses:
        if purse.rest_usd is None:
            total += purse.needed
        elif usd_per_hour is not None:
            each = usd_per_hour * WORTH_S / 3600
            total += purse.needed if each <= 0 else max(0, min(purse.needed, math.floor(purse.rest_usd / each)))
    return total


@dataclass(frozen=True, slots=True)
class Fleet:
    """Both groups now."""

    most: int  # workers in both
    spot: int  # workers of the group with spot instances
    spot_size: int  # that it is to have
    spare: int  # workers of the on-demand group
    spare_size: int

    def room(self, needed: int) -> int:
        """How many on-demand workers are of use, as long as spot has no more than there are.

        One place is left for spot, so that AWS goes on trying: else it could never return.
        """
        place = 1 if self.most > 1 else 0
        return max(0, min(needed - self.spot, self.most - self.spot - place))

    def over(self, needed: int) -> int:
        """How many on-demand workers spot has taken the place of."""
        return max(0, self.spare - self.room(needed))


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is asked of AWS."""

    spot: int
    spare: int


def sizes(
    fleet: Fleet, *, needed: int, due: bool, payable: int, spot_open: bool = False, spare_open: bool = False
) -> Sizes:
    """How many workers each group is to have; no worker that is there is taken away by it.

    The group with spot instances is asked for fewer than before only to keep within `most`, or where it has none and
    its circuit is open: its workers compute, and one may start in the moment in which it is made smaller.

    Args:
        fleet: both groups now.
        needed: by active runs.
        due: whether on-demand is to take the place of spot.
        payable: workers that the runs can pay at the on-demand price.
        spot_open: whether the circuit of the group with spot instances is open.
        spare_open: whether that of the on-demand group is.
    """
    room = fleet.room(needed)
    spare = max(fleet.spare, min(fleet.spare_size, room))  # what has not started, and is not needed, is not asked for
    if due:
        spare = max(spare, min(room, payable - fleet.spot))
    if spare_open:
        spare = fleet.spare
    spot = 0 if spot_open and not fleet.spot else min(max(needed, fleet.spot_size), fleet.most - spare)
    return Sizes(max(fleet.spot, spot), spare)
