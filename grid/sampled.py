"""Methods "random" and "sobol": draws by index, so that more samples leave the earlier ones as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grid.block import Block, Keep, Kind, dimension_kinds, required_names
from grid.identity import canonical, key64
from grid.laws import Law
from grid.permutation import Permutation
from grid.plan import Block as BlockPlan
from grid.plan import Dimension, Value
from grid.product import Product
from grid.rules import Params, Rules
from grid.sampling import SOBOL_LIMIT, Draws, RandomDraws, SobolDraws, Weights


def sampled(plan: BlockPlan, rules: Rules, *, seed: int, stream: int) -> Block:
    """The block of a random or sobol plan; `stream` numbers the sweep's blocks of that method.

    Raises ValueError for more samples than a Sobol sequence has.
    """
    if plan.method == "random" and all(_uniform_choice(dimension) for dimension in plan.dimensions):
        return Shuffled(plan, rules, key64("shuffled", seed, stream))
    draws: Draws
    if plan.method == "random":
        draws = RandomDraws(seed=seed, stream=stream, dimensions=[axis.names for axis in plan.dimensions])
    else:
        if plan.samples > SOBOL_LIMIT:
            raise ValueError(f"A Sobol sequence has {SOBOL_LIMIT} points, fewer than {plan.samples}.")
        draws = SobolDraws(seed=seed, stream=stream, dimensions=len(plan.dimensions))
    return Drawn(plan, rules, draws)


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

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, Params]]:
        """The points among draws [start, stop)."""
        for position in range(max(0, start), min(stop, self.size)):
            params = self.at(position)
            if params is not None:
                yield position, params

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
    """Independent or low-discrepancy draws, each dimension by its own law; a repeated draw exists only once.

    Draws that include a continuous law do not repeat. For the others, which draws are the first of their kind is
    worked out at the first need, in memory and time that grow with the samples.
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
        self._repeats = not any(
            choice.continuous and dimension.when is None
            for choice, dimension in zip(self._choices, plan.dimensions, strict=True)
        )
        self._is_first: bytearray | None = None
        self._found: dict[str, int] | None = None

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
        return None if self._repeats and not self._firsts()[index] else self._draw(index)

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, Params]]:
        """The points among draws [start, stop)."""
        for index in range(max(0, start), min(stop, self.size)):
            params = self.at(index)
            if params is not None:
                yield index, params

    def find(self, params: Mapping[str, Value]) -> int | None:
        """The first draw that is these parameters; None for draws of a continuous law."""
        if not self._repeats or not params.keys() <= set(self.names):
            return None
        if self._found is None:
            self._found = {canonical(point): index for index, point in self.walk(0, self.size)}
        return self._found.get(canonical(params))

    def kinds(self) -> dict[str, set[Kind]]:
        """The kinds of every parameter."""
        return dimension_kinds(self._plan.dimensions, self._rules)

    def estimate(self, budget: int, keep: Keep) -> tuple[float, bool]:
        """The expected number of different points, from the first `budget` draws.

        A point of probability p comes up in n draws with probability 1-(1-p)**n; each draw stands for 1/p points
        (Horvitz and Thompson, JASA 1952). For sobol, whose draws repeat less, this is a little low.
        """
        if self.size <= budget:
            return super().estimate(budget, keep)
        found = 0.0
        for index in range(budget):
            params = self._draw(index)
            if params is not None and keep(params):
                p = self._probability(params) if self._repeats else 0.0
                found += (1 - (1 - p) ** self.size) / p if p > 0 else self.size
        return min(found / budget, self.size), False

    def _draw(self, index: int) -> Params | None:
        params: Params = {}
        for choice, u in zip(self._choices, self._draws(index), strict=True):
            params.update(zip(choice.names, choice(u), strict=True))
        return self._rules.apply(params)

    def _probability(self, params: Params) -> float:
        p = 1.0
        for choice in self._choices:
            if choice.names[0] in params:
                p *= choice.probability(params)
        return p

    def _firsts(self) -> bytearray:
        if self._is_first is None:
            is_first = bytearray(self.size)
            seen: set[int] = set()
            for index in range(self.size):
                params = self._draw(index)
                if params is not None:
                    before = len(seen)
                    seen.add(key64(params))
                    is_first[index] = len(seen) > before
            self._is_first = is_first
        return self._is_first


class _Choice:
    """One dimension of a draw: from a number in (0, 1) to a value for each name."""

    def __init__(self, dimension: Dimension) -> None:
        self.names = dimension.names
        self._rows = dimension.rows
        self._law = Law(dimension.distribution) if dimension.distribution is not None else None
        self._weights = Weights(dimension.probabilities) if dimension.probabilities is not None else None
        self.continuous = self._law is not None and not self._law.discrete

    def __call__(self, u: float) -> tuple[Value, ...]:
        if self._law is not None:
            return (self._law.quantile(u),)
        if self._weights is not None:
            return self._rows[self._weights(u)]
        return self._rows[min(int(u * len(self._rows)), len(self._rows) - 1)]

    def probability(self, params: Params) -> float:
        """How likely a draw of these values is; 0 for a continuous law."""
        if self._law is not None:
            return self._law.probability(params[self.names[0]])
        if self._weights is None:
            return 1 / len(self._rows)
        row = tuple(params[name] for name in self.names)
        return self._weights.probabilities[self._rows.index(row)] if row in self._rows else 1.0
