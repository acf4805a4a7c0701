"""Methods "random" and "sobol": draws by index, so that more samples leave the earlier ones as they were."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweepfleet.grid.block import Block, Keep, Kind, dimension_kinds, required_names
from sweepfleet.grid.identity import canonical, key64
from sweepfleet.grid.laws import Law
from sweepfleet.grid.permutation import Permutation
from sweepfleet.grid.plan import Block as BlockPlan
from sweepfleet.grid.plan import Dimension, Method, Value
from sweepfleet.grid.product import Product
from sweepfleet.grid.rules import Params, Rules
from sweepfleet.grid.sampling import SOBOL_LIMIT, Draws, RandomDraws, SobolDraws, Weights

MOST_REPEATING = 1_000_000  # draws of a block whose draws may repeat: reading one needs all before it
_LEAST, _MOST = 2.0**-53, 1 - 2.0**-53  # between these are all numbers that `Draws` gives
_MOST_STEPS = 1 << 50  # of a quantised law, that floats tell apart


def sampled(plan: BlockPlan, rules: Rules, *, seed: int, stream: int) -> Block:
    """The block of a random or sobol plan; `stream` numbers the sweep's blocks of that method.

    Raises ValueError for more samples than a Sobol sequence has.
    """
    if _without_replacement(plan.method, plan.dimensions):
        return Shuffled(plan, rules, key64("shuffled", seed, stream))
    draws: Draws
    if plan.method == "random":
        draws = RandomDraws(seed=seed, stream=stream, dimensions=[axis.names for axis in plan.dimensions])
    else:
        if plan.samples > SOBOL_LIMIT:
            raise ValueError(f"A Sobol sequence has {SOBOL_LIMIT} points, fewer than {plan.samples}.")
        draws = SobolDraws(seed=seed, stream=stream, dimensions=len(plan.dimensions))
    return Drawn(plan, rules, draws)


def may_repeat(method: Method, dimensions: Sequence[Dimension]) -> bool:
    """Whether a random or sobol block of these dimensions may draw a point twice."""
    if _without_replacement(method, dimensions):
        return False
    return not any(dimension.when is None and _Choice(dimension).continuous for dimension in dimensions)


def _without_replacement(method: Method, dimensions: Sequence[Dimension]) -> bool:
    return method == "random" and all(_uniform_choice(dimension) for dimension in dimensions)


def _uniform_choice(dimension: Dimension) -> bool:
    if dimension.distribution is not None:
        return dimension.distribution.name == "int_uniform"
    return dimension.probabilities is None or len(set(dimension.probabilities)) == 1


class Shuffled(Block):
    """Combinations drawn without replacement: the head of a shuffled product.

    Where a dimension is conditional, every point that there is comes up equally often; the combinations that a
    condition folds into one are no points, as in a grid, so fewer points than samples may come out.
    """

    def __init__(self, plan: BlockPlan, rules: Rules, key: int) -> None:
        """Shuffle the product; samples past its size do not exist."""
        self._product = Product(plan, rules)
        self._order = Permutation(self._product.size, key)
        self.size = min(plan.samples, self._product.size)
        self.names = self._product.names
        self.required = self._product.required

    @property
    def exact(self) -> bool:
        """Whether every draw is a point."""
        return self._product.exact

    def at(self, index: int) -> Params | None:
        """The point of one draw."""
        return self._product.at(self._order(index))

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The draw that is these parameters; None when it is past the samples."""
        index = self._product.find(params)
        if index is None:
            return None
        position = self._order.inverse(index)
        return position if position < self.size else None

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        return self._product.kinds()

    def values(self, name: str) -> set[str] | None:
        """The texts of a parameter's values."""
        return self._product.values(name)


class Drawn(Block):
    """Independent or low-discrepancy draws, each dimension from its own distribution; repeats exist only once.

    Draws that include a continuous law do not repeat. For the others, which draws are the first of their kind is
    worked out in order, as far as is asked for and until every combination has come up: all later draws repeat one.
    """

    def __init__(self, plan: BlockPlan, rules: Rules, draws: Draws) -> None:
        """Prepare each dimension's law."""
        self._plan = plan
        self._rules = rules
        self._draws = draws
        self.size = plan.samples
        self.names = rules.names
        self.required = required_names(plan.dimensions)
        self._choices = [_Choice(dimension) for dimension in plan.dimensions]
        self._repeats = may_repeat(plan.method, plan.dimensions)
        counts = [choice.count for choice in self._choices]
        self._combinations = math.prod(count for count in counts if count is not None)
        self._numbered = None not in counts  # whether a combination has a number, and they can all have come up
        self._is_first = bytearray()  # one byte a draw, as far as they have been looked at
        self._seen: set[int] = set()  # numbers of the combinations that have come up
        self._seen_points: set[int] = set()  # keys of points, where different combinations may be one point
        self._found: dict[int, int] | None = None

    @property
    def exact(self) -> bool:
        """Whether every draw is a point: a draw whose dimension is absent is one too."""
        return not (self._rules.excludes or self._rules.wheres or self._repeats)

    @property
    def searchable(self) -> bool:
        """Whether draws repeat, and can therefore be looked for."""
        return self._repeats

    def at(self, index: int) -> Params | None:
        """The point of one draw; None when an earlier draw is the same."""
        return None if self._repeats and not self._first(index) else self._draw(index)

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, Params]]:
        """The points among draws [start, stop)."""
        for index in range(max(0, start), min(stop, self.size)):
            params = self.at(index)
            if params is not None:
                yield index, params
            elif self._repeats and self._exhausted and index >= len(self._is_first):
                return

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The first draw that is these parameters; None for draws of a continuous law."""
        if not self._repeats or not params.keys() <= set(self.names):
            return None
        if self._found is None:
            self._found = {key64(point): index for index, point in self.walk(0, self.size)}
        index = self._found.get(key64(dict(params)))
        if index is None:
            return None
        found = self._draw(index)
        return index if found is not None and canonical(found) == canonical(params) else None

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        return dimension_kinds(self._plan.dimensions, self._rules)

    def estimate(self, budget: int, keep: Keep) -> tuple[float, bool]:
        """The expected number of different points, from the first `budget` draws; exact when they are all there are.

        A point of probability p comes up in n draws with probability 1-(1-p)**n; each draw stands for 1/p points
        (Horvitz and Thompson, JASA 1952). For sobol, whose draws repeat less, this is a little low.
        """
        if self._repeats and self.size > budget > 0:
            self._first(budget - 1)
        if self.size <= budget or (self._repeats and self._exhausted):
            return sum(1 for _, params in self.walk(0, self.size) if keep(params)), True
        found = 0.0
        for index in range(budget):
            picks = self._picks(index)
            params = self._point(picks)
            if params is not None and keep(params):
                p = self._probability(picks, params) if self._repeats else 0.0
                found += (1 - (1 - p) ** self.size) / p if p > 0 else self.size
        return min(found / budget, self.size), False

    def _draw(self, index: int) -> Params | None:
        return self._point(self._picks(index))

    def _picks(self, index: int) -> list[Any]:
        return [choice.pick(u) for choice, u in zip(self._choices, self._draws(index), strict=True)]

    def _point(self, picks: Sequence[Any]) -> Params | None:
        params: Params = {}
        for choice, pick in zip(self._choices, picks, strict=True):
            params.update(zip(choice.names, choice.row(pick), strict=True))
        return self._rules.apply(params)

    def _probability(self, picks: Sequence[Any], params: Params) -> float:
        p = 1.0
        for choice, pick in zip(self._choices, picks, strict=True):
            if choice.names[0] in params:
                p *= choice.probability(pick)
        return p

    @property
    def _exhausted(self) -> bool:
        """Whether every combination has come up among the draws that have been looked at."""
        return self._numbered and len(self._seen) >= self._combinations

    def _first(self, index: int) -> bool:
        """Whether a draw is a point that no earlier draw is."""
        is_first = self._is_first
        while len(is_first) <= index:
            if self._exhausted:
                return False
            is_first.append(self._is_new(self._picks(len(is_first))))
        return bool(is_first[index])

    def _is_new(self, picks: Sequence[Any]) -> bool:
        """Whether the next draw is a new point, which is then marked as seen."""
        if self._numbered:
            number = 0
            for choice, pick in zip(self._choices, picks, strict=True):
                number = number * choice.radix + choice.number(pick)
            before = len(self._seen)
            self._seen.add(number)
            if len(self._seen) == before:
                return False
        params = self._point(picks)
        if params is None:
            return False
        if self._numbered and not self._rules.whens:  # different combinations are different points
            return True
        before = len(self._seen_points)
        self._seen_points.add(key64(params))
        return len(self._seen_points) > before


class _Choice:
    """One dimension of a draw: from a number in (0, 1) to a pick, and from that to a value for each name.

    A pick is the number of a row, or a law's value. `count` is how many picks there are at the most, None when they
    cannot be numbered; their numbers are below `radix`.
    """

    def __init__(self, dimension: Dimension) -> None:
        self.names = dimension.names
        self._rows = dimension.rows
        self._law = Law(dimension.distribution) if dimension.distribution is not None else None
        self._weights = Weights(dimension.probabilities) if dimension.probabilities is not None else None
        self.continuous = self._law is not None and not self._law.discrete
        self._least: Any = 0
        self._step: Any = 1
        self.count: int | None = len(self._rows)
        if self.continuous:
            self.count = None
        elif self._law is not None and dimension.distribution is not None:
            q = dimension.distribution.q
            self._step = q if q is not None and dimension.distribution.name.startswith("q_") else 1
            self._least = self._law.quantile(_LEAST)
            self.count = self._steps(self._law.quantile(_MOST))
        self.radix = self.count or 1
        if self._weights is not None:
            self.count = sum(probability > 0 for probability in self._weights.probabilities)

    def pick(self, u: float) -> Any:
        """What a number in (0, 1) chooses."""
        if self._law is not None:
            return self._law.quantile(u)
        if self._weights is not None:
            return self._weights(u)
        return min(int(u * len(self._rows)), len(self._rows) - 1)

    def row(self, pick: Any) -> tuple[Value, ...]:
        """A pick's value for each name."""
        return (pick,) if self._law is not None else self._rows[pick]

    def number(self, pick: Any) -> int:
        """Which one of a countable dimension's picks this is; no two have the same."""
        if isinstance(pick, int) and isinstance(self._step, int) and isinstance(self._least, int):
            return (pick - self._least) // self._step
        number: int = round((pick - self._least) / self._step)
        return number

    def probability(self, pick: Any) -> float:
        """How likely a pick is; 0 for a continuous law."""
        if self._law is not None:
            return self._law.probability(pick)
        return 1 / len(self._rows) if self._weights is None else self._weights.probabilities[pick]

    def _steps(self, most: Any) -> int | None:
        """How many multiples of the step there are up to `most`; None for too many to number."""
        if not (math.isfinite(most) and math.isfinite(self._least)):
            return None
        if isinstance(most, float) and (most - self._least) / self._step >= _MOST_STEPS:
            return None
        return self.number(most) + 1
