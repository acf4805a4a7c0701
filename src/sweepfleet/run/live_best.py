"""The best configuration so far while a sweep runs, as `run.ranking` defines it, a packet at a time.

A configuration counts once all its points have ended with a finite number. What is held of the others is a sum and a
count each, and of no more than `MOST_OPEN` of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from sweepfleet.grid.identity import canonical, encode
from sweepfleet.grid.plan import Plan, Value
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric

MOST_OPEN = 50_000  # configurations of which some points have ended: some 10 MB
MOST_COMBINATIONS = 500  # of the values of `metric.over`, to find a configuration's points
MOST_NEAR = 1000  # means that are compared digit by digit at once
DIGITS = 14  # as sweepfleet.run.ranking.DIGITS: importing it would bring polars into the driver
NEAR = 1e-12
ALLOWED_S, ALLOWED_SHARE = 2.0, 0.05  # of the command's time, for looking configurations up by their parameters

Numbers = np.ndarray[Any, np.dtype[Any]]


class Best(NamedTuple):
    """A configuration with all of its points."""

    key: float  # sign * mean, as it is compared: lower is better
    first: int  # the index of its first point
    value: float  # sign * mean
    points: int


class Configurations(Protocol):
    """Which configuration a point belongs to."""

    def of(self, indexes: Numbers) -> tuple[Numbers, Numbers]:
        """For each point, the index of its configuration's first point, and how many points that has."""
        ...


@dataclass(frozen=True, slots=True)
class Stepped:
    """In a plain product: the indexes of a configuration's points lie at known steps."""

    replicates: int
    steps: tuple[tuple[int, int], ...]  # (stride, values) of each dimension that is averaged over

    def of(self, indexes: Numbers) -> tuple[Numbers, Numbers]:
        """By arithmetic."""
        raw = indexes // self.replicates
        first, size = raw.copy(), self.replicates
        for stride, values in self.steps:
            first -= raw // stride % values * stride
            size *= values
        return first * self.replicates, np.full(len(indexes), size)


class Searched:
    """In any plan whose points can be found by their parameters."""

    def __init__(self, space: Space, over: tuple[str, ...], choices: list[dict[str, Value]]) -> None:
        self._once = Space(replace(space.plan, replicates=1))
        self._replicates = space.plan.replicates
        self._over, self._choices = frozenset(over), choices
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, indexes: Numbers) -> tuple[Numbers, Numbers]:
        """By looking up the parameters with each value of the averaged ones."""
        raw, place = np.unique(indexes // self._replicates, return_inverse=True)
        found = np.array([self._look(index) for index in raw.tolist()], np.int64) * self._replicates
        return found[place, 0], found[place, 1]

    def _look(self, index: int) -> tuple[int, int]:
        params = {name: value for name, value in self._once.point(index).params.items() if name not in self._over}
        text = canonical(params)
        if text not in self._known:
            if len(self._known) >= MOST_OPEN:
                self._known.clear()
            places = {self._once.find(params | choice) for choice in self._choices} - {None}
            self._known[text] = min((place for place in places if place is not None), default=index), len(places)
        return self._known[text]


def configurations(space: Space, over: tuple[str, ...]) -> Configurations | None:
    """The lookup of a plan's configurations. Raises LookupError where it would be too slow."""
    replicates = space.plan.replicates
    if not over:
        return Stepped(replicates, ()) if replicates > 1 else None
    steps = space.steps(over)
    if steps is not None:
        return Stepped(replicates, steps)
    if space.drawn():
        raise LookupError("draws of a continuous distribution cannot be looked up by their parameters")
    return Searched(space, over, list(_choices(space.plan, over)))


def _choices(plan: Plan, over: tuple[str, ...]) -> Iterator[dict[str, Value]]:
    """Every combination of the values that a plan gives to these parameters, present or not."""
    values: dict[str, dict[str, Value]] = {name: {} for name in over}
    for block in plan.blocks:
        rows = itertools.chain(
            *([dict(zip(each.names, row, strict=True)) for row in each.rows] for each in block.dimensions),
            block.rows,
            block.extend,
        )
        for row in rows:
            for name in values.keys() & row.keys():
                values[name][encode(row[name])] = row[name]
    count = 1
    for known in values.values():
        count *= len(known) + 1
    if count > MOST_COMBINATIONS:
        raise LookupError(f"{count} combinations")
    lists = [[{}, *({name: value} for value in known.values())] for name, known in values.items()]
    for parts in itertools.product(*lists):
        yield {name: value for part in parts for name, value in part.items()}


class LiveBest:
    """Tracks results as they arrive."""

    def __init__(self, space: Space, metric: Metric) -> None:
        self.best: Best | None = None
        self.whole = True  # whether every configuration that was complete was seen to be
        self._metric = metric
        self._open: dict[int, tuple[int, float]] = {}  # by first point: values so far, and their sum
        self._spent_s, self._began_s = 0.0, time.perf_counter()
        self._followed = True
        try:
            self._configurations = configurations(space, metric.over)
        except LookupError:
            self._followed = False

    def add(self, indexes: Numbers, values: Numbers) -> None:
        """Add points that have ended, each once.

        Args:
            indexes: of the points.
            values: their metric; NaN or infinite where they have none, as failed ones do.
        """
        if not self._followed or not len(indexes):
            return
        began_s = time.perf_counter()
        if self._configurations is None:
            self._add_each(indexes, values)
        else:
            self._add_grouped(indexes, np.where(np.isfinite(values), values, np.nan), self._configurations)
        now_s = time.perf_counter()
        self._spent_s += now_s - began_s
        allowed_s = ALLOWED_S + ALLOWED_SHARE * (now_s - self._began_s)
        if isinstance(self._configurations, Searched) and self._spent_s > allowed_s:
            self._followed, self.best = False, None  # the end says it

    def _add_each(self, indexes: Numbers, values: Numbers) -> None:
        signed = np.where(np.isfinite(values), values * self._metric.sign, np.inf)
        least = float(signed.min())
        if np.isfinite(least):
            self._offer(Best(least, int(indexes[signed == least].min()), least, 1))

    def _add_grouped(self, indexes: Numbers, values: Numbers, configurations: Configurations) -> None:
        firsts, sizes = configurations.of(indexes)
        order = np.argsort(firsts, kind="stable")
        firsts, sizes, values = firsts[order], sizes[order], values[order]
        starts = np.flatnonzero(np.append(True, firsts[1:] != firsts[:-1]))
        firsts, sizes = firsts[starts], sizes[starts]
        counts, sums = np.diff(np.append(starts, len(values))), np.add.reduceat(values, starts)
        whole = counts == sizes
        self._offer_all(firsts[whole], sums[whole], counts[whole])
        rest = ~whole
        for first, size, count, total in zip(
            *(each[rest].tolist() for each in (firsts, sizes, counts, sums)), strict=True
        ):
            before = self._open.pop(first, None)
            if before is not None:
                count, total = count + before[0], total + before[1]  # noqa: PLW2901 - with what came earlier
            if count == size:
                self._offer_all(np.array([first]), np.array([total]), np.array([count]))
            elif before is not None or len(self._open) < MOST_OPEN:
                self._open[first] = (count, total)
            else:
                self.whole = False

    def _offer_all(self, firsts: Numbers, sums: Numbers, counts: Numbers) -> None:
        means = np.where(np.isfinite(sums), sums / counts * self._metric.sign, np.inf)
        least = float(means.min()) if len(means) else np.inf
        if not np.isfinite(least):
            return
        near = np.flatnonzero(means <= least + NEAR * abs(least))
        for place in near[np.argsort(firsts[near])][:MOST_NEAR].tolist():
            mean = float(means[place])
            self._offer(Best(float(f"{mean:.{DIGITS - 1}e}"), int(firsts[place]), mean, int(counts[place])))

    def _offer(self, found: Best) -> None:
        if self.best is None or found[:2] < self.best[:2]:
            self.best = found


def shown_params(params: Mapping[str, Value], metric: Metric) -> dict[str, Value]:
    """The parameters that name a configuration."""
    return {name: value for name, value in params.items() if name not in metric.over}
