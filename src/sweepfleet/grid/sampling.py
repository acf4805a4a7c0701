"""The streams of draws: for each index and dimension a number between 0 and 1, a function of the index.

Random numbers are SplitMix64's, read at position i of a stream that the sweep's seed and the dimension's name
choose: another dimension, or more samples, change none of them. Sobol points are scipy's, scrambled.
"""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sweepfleet.grid.identity import key64, mix64

if TYPE_CHECKING:
    from scipy.stats.qmc import Sobol

_GAMMA = 0x9E3779B97F4A7C15  # SplitMix64's step
_MASK64 = (1 << 64) - 1
_CELL = 2.0**-52  # a draw is the middle of one of 2**52 cells: never 0, never 1
_SOBOL_BITS = 32  # with more, scipy 1.17 cannot fast_forward (its Cython code takes 32-bit words only)
SOBOL_LIMIT = 1 << _SOBOL_BITS  # the number of points of a sequence
_CHUNK = 1024  # a power of two, as Sobol points like
_CHUNKS_KEPT = 8


class Draws(Protocol):
    """For an index from 0, a number in (0, 1) for each dimension."""

    def __call__(self, index: int) -> Sequence[float]:
        """The draws of one index."""
        ...


class RandomDraws:
    """Independent uniform numbers, each a function of seed, stream, dimension name and index."""

    def __init__(self, *, seed: int, stream: int, dimensions: Sequence[Sequence[str]]) -> None:
        """Choose the streams; `stream` distinguishes two blocks of a sweep with the same dimensions."""
        self._keys = [key64("random", seed, stream, list(names)) for names in dimensions]

    def __call__(self, index: int) -> list[float]:
        """The draws of one index, one a dimension."""
        step = (index + 1) * _GAMMA
        return [((mix64((key + step) & _MASK64) >> 12) + 0.5) * _CELL for key in self._keys]


class SobolDraws:
    """A scrambled Sobol sequence, read at any index; a far jump costs time in its length."""

    def __init__(self, *, seed: int, stream: int, dimensions: int) -> None:
        """Keep the parameters: scipy is imported at the first draw."""
        self._key = key64("sobol", seed, stream)
        self._dimensions = dimensions
        self._engine: Sobol | None = None
        self._chunks: OrderedDict[int, list[list[float]]] = OrderedDict()

    def __call__(self, index: int) -> list[float]:
        """The draws of one index, one a dimension."""
        number, offset = divmod(index, _CHUNK)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self._generate(number * _CHUNK)
            if len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        return chunk[offset]

    def _generate(self, start: int) -> list[list[float]]:
        if self._dimensions == 0:
            return [[]] * _CHUNK
        if self._engine is None:
            import numpy as np
            from scipy.stats.qmc import Sobol

            self._engine = Sobol(self._dimensions, bits=_SOBOL_BITS, rng=np.random.default_rng(self._key))
        if self._engine.num_generated > start:
            self._engine.reset()
        if self._engine.num_generated < start:
            self._engine.fast_forward(start - self._engine.num_generated)
        # scipy's numbers are the lower edges of 2**32 cells
        rows: list[list[float]] = (self._engine.random(_CHUNK) + 0.5 / SOBOL_LIMIT).tolist()
        return rows


class Weights:
    """Chooses one of several rows by a number in (0, 1), each with its probability."""

    __slots__ = ("_last", "_upto", "probabilities")

    def __init__(self, probabilities: Sequence[float]) -> None:
        """Sum the probabilities, which need not be exactly 1."""
        total = sum(probabilities)
        self.probabilities = [probability / total for probability in probabilities]
        self._upto = list(itertools.accumulate(self.probabilities))
        self._last = max(row for row, probability in enumerate(probabilities) if probability > 0)

    def __call__(self, u: float) -> int:
        """The row for u; a row of probability 0 never comes up."""
        return min(bisect.bisect_right(self._upto, u), self._last)
