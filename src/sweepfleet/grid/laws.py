"""W&B's distributions as quantile functions: a number u between 0 and 1 becomes a value.

Meaning and formulas are those of W&B's `sweeps` package (`params.py`, `HyperParameter.ppf`) and of its
documentation of sweep configurations. A quantised law rounds to the nearest multiple of q, also where that
multiple lies outside [min, max], as W&B does: q_uniform from 1 to 10 by 4 gives 0, 4 and 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from sweepfleet.grid.plan import Distribution, Value

_QUANTISED = {"uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta"}

_LEAST_SHARE = 2.0**-60


class Law:
    """One distribution, ready to be drawn from.

    `kind` is what its values are; `discrete` says that a value comes up more than once.
    """

    __slots__ = ("_cdf", "_high", "_int", "_inverse", "_low", "_q", "discrete", "kind")

    def __init__(self, distribution: Distribution) -> None:
        """Prepare the formulas. Raises ValueError for a name that W&B does not have, or a missing bound."""
        name = distribution.name
        self._q: float | None = None
        if name.startswith("q_") and name[2:] in _QUANTISED:
            self._q = 1.0 if distribution.q is None else distribution.q
            name = name[2:]
        self._int = name == "int_uniform"
        self._low, self._high = -math.inf, math.inf
        if name in {"normal", "log_normal"}:
            spread = self._normal(distribution, logarithmic=name == "log_normal")
        elif name == "beta":
            spread = self._beta(distribution)
        else:
            spread = self._uniform(name, distribution)
        self.kind: Literal["int", "float"] = "int" if self._int or isinstance(self._q, int) else "float"
        self.discrete = self._int or self._q is not None or spread == 0

    def quantile(self, u: float) -> Value:
        """The value below which a share u of all draws lies, 0 < u < 1; never decreasing in u."""
        if self._int:
            low, high = int(self._low), int(self._high)
            return min(high, low + int(u * (high - low + 1)))
        x = min(max(self._inverse(u), self._low), self._high)  # exp(log(x)) may miss x by a rounding
        if self._q is None:
            return x
        steps = x / self._q
        return round(steps) * self._q if math.isfinite(steps) else x

    def cdf(self, x: float) -> float:
        """The probability of a draw of at most x, before any rounding to q."""
        return 0.0 if x < self._low else 1.0 if x >= self._high else self._cdf(x)

    def probability(self, value: Value) -> float:
        """How likely exactly this value is; 0 for a continuous law."""
        if not self.discrete:
            return 0.0
        if self._int:
            return 1.0 / (int(self._high) - int(self._low) + 1)
        if self._q is None:
            return 1.0
        return self.cdf(value + self._q / 2) - self.cdf(value - self._q / 2)

    def _uniform(self, name: str, distribution: Distribution) -> float:
        if distribution.low is None or distribution.high is None:
            raise ValueError(f"{distribution.name} needs both min and max.")
        low, high = distribution.low, distribution.high
        if name in {"uniform", "int_uniform"}:
            self._low, self._high = low, high
            self._inverse, self._cdf = _uniform(low, high)
            return high - low
        if name in {"log_uniform", "inv_log_uniform"}:
            if name == "inv_log_uniform":  # log(1/X) is uniform, so log X is on the mirrored interval
                low, high = -high, -low
            self._low, self._high = _exp(low), _exp(high)
        elif name in {"log_uniform_values", "inv_log_uniform_values"}:  # one law: log(1/X) mirrors log X
            self._low, self._high = low, high
            low, high = math.log(low), math.log(high)
        else:
            raise ValueError(f"{distribution.name!r} is not one of W&B's distributions.")
        self._inverse, self._cdf = _exponential(*_uniform(low, high))
        return high - low

    def _normal(self, distribution: Distribution, *, logarithmic: bool) -> float:
        from statistics import NormalDist  # it is slow to import, and few sweeps draw from it

        mu = 0.0 if distribution.mu is None else distribution.mu
        sigma = 1.0 if distribution.sigma is None else distribution.sigma
        standard = NormalDist()

        def inverse(u: float) -> float:
            return mu + sigma * standard.inv_cdf(u)

        def cdf(x: float) -> float:
            return standard.cdf((x - mu) / sigma) if sigma else float(x >= mu)

        self._inverse, self._cdf = _exponential(inverse, cdf) if logarithmic else (inverse, cdf)
        return sigma

    def _beta(self, distribution: Distribution) -> float:
        from scipy.special import betainc, betaincinv

        a = 1.0 if distribution.a is None else distribution.a
        b = 1.0 if distribution.b is None else distribution.b
        self._low, self._high = 0.0, 1.0
        # scipy's inverse is NaN for u below the smallest draw that there is, 2**-53
        self._inverse = lambda u: float(betaincinv(a, b, max(u, _LEAST_SHARE)))
        self._cdf = lambda x: float(betainc(a, b, x))
        return 1.0


_Formula = Callable[[float], float]


def _uniform(low: float, high: float) -> tuple[_Formula, _Formula]:
    width = high - low
    return (lambda u: low + u * width), (lambda x: (x - low) / width if width else float(x >= low))


def _exponential(inverse: _Formula, cdf: _Formula) -> tuple[_Formula, _Formula]:
    """The law of exp(X), from X's quantiles and cdf."""
    return (lambda u: _exp(inverse(u))), (lambda x: cdf(math.log(x)) if x > 0 else 0.0)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
