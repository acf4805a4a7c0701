"""The parameters as directions to draw along: which vary, over what values, and on what scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.run.report.scan import PARAM, SIZE_MAX, Results, finite, plain, query

LEVELS_MAX = 60  # distinct values of a parameter on an axis; a number with more is put into bins
LABEL_MAX = 80  # characters


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter as a chart's direction: its values in order, or bins of them.

    `levels` are the values, or the middles of the bins; a last None stands for points without it.
    """

    name: str
    levels: tuple[Any, ...]
    numeric: bool
    log: bool
    edges: tuple[float, ...] = ()  # of the bins, one more than there are; () when levels are values

    def key(self) -> pl.Expr:
        """What to group rows by: the parameter itself, or the number of its bin (null for none)."""
        column = pl.col(PARAM + self.name)
        if not self.edges:
            return column  # not its code: looking every row's value up costs 60 MB at 10^6 rows
        value = finite(PARAM + self.name)
        low, high, bins = self.edges[0], self.edges[-1], len(self.edges) - 1
        if self.log:
            value, low, high = value.log(10), math.log10(low), math.log10(high)
        return ((value - low) * (bins / (high - low))).floor().clip(0, bins - 1).cast(pl.Int16)

    def places(self, keys: pl.Series) -> list[int | None]:
        """The level of each key; None for a key without one."""
        known = [level for level in self.levels if level is not None]
        old = range(len(known)) if self.edges else known
        codes = keys.replace_strict(old, range(len(known)), default=None, return_dtype=pl.Int16)
        if len(known) < len(self.levels):
            codes = codes.set(keys.is_null(), len(known))
        return codes.to_list()

    def to_json(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "name": self.name,
            "numeric": self.numeric,
            "log": self.log,
            "levels": [label(level) for level in self.levels],
            "edges": list(self.edges),
        }


@dataclass(frozen=True, slots=True)
class Profile:
    """What the parameters turned out to be: those that vary, and those that have one value all over."""

    axes: tuple[Axis, ...]  # those that a chart can show, the most telling first
    fixed: dict[str, Any]


def profile(results: Results) -> Profile:
    """Look at every parameter once; a text with more than 60 values is neither an axis nor fixed."""
    axes: list[Axis] = []
    fixed: dict[str, Any] = {}
    for name in results.params if results.rows else ():
        column = pl.col(PARAM + name)
        if results.schema[PARAM + name] == pl.Null:
            continue
        estimate, absent = query(
            results.frame.select(count=column.approx_n_unique(), absent=column.null_count())
        ).row(0)
        levels: list[Any] = []
        if estimate <= LEVELS_MAX * 1.2:  # the estimate is within a few per cent; then count exactly
            levels = query(results.frame.select(column).unique().sort(PARAM + name)).to_series().to_list()
            levels = [level for level in levels if level is not None]
        if len(levels) == 1 and not absent:
            fixed[name] = levels[0]
        elif 1 <= len(levels) <= LEVELS_MAX:
            axes.append(_values_axis(name, levels, absent=bool(absent)))
        elif results.schema[PARAM + name].is_numeric():
            axis = _bins_axis(results, name, absent=bool(absent))
            axes.extend([axis] if axis else [])
    axes.sort(key=lambda axis: (-_rank(axis), -len(axis.levels)))
    return Profile(axes=tuple(axes), fixed=fixed)


def _rank(axis: Axis) -> int:
    """Numbers with several values first, then numbers in bins, then those that only some points have."""
    if not axis.numeric or len(axis.levels) < 3:
        return 0
    return 1 if None in axis.levels else 2 if axis.edges else 3


def _values_axis(name: str, levels: list[Any], *, absent: bool) -> Axis:
    numeric = all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)
    numeric = numeric and all(abs(level) <= SIZE_MAX for level in levels)
    return Axis(
        name=name,
        levels=(*levels, None) if absent else tuple(levels),
        numeric=numeric,
        log=numeric and _spans_decades(levels),
    )


def _spans_decades(levels: Sequence[float]) -> bool:
    """Whether steps are nearer to equal factors than to equal differences, over two decades or more."""
    if len(levels) < 3 or levels[0] <= 0 or levels[-1] < 100 * levels[0]:
        return False
    steps = np.diff(np.asarray(levels, dtype=float) / levels[-1])  # the square of 1e300 would overflow
    factors = np.diff(np.log(np.asarray(levels, dtype=float)))
    return bool(factors.std() / factors.mean() < steps.std() / steps.mean())


def _bins_axis(results: Results, name: str, *, absent: bool) -> Axis | None:
    value = finite(PARAM + name)
    low, high, middle = query(results.frame.select(low=value.min(), high=value.max(), middle=value.median())).row(0)
    if low is None or not low < high:
        return None
    count = int(np.clip(math.sqrt(results.rows) / 2, 8, 30))
    log = low > 0 and high >= 100 * low and middle < 0.2 * high
    edges = np.geomspace(low, high, count + 1) if log else np.linspace(low, high, count + 1)
    middles = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    levels = [float(f"{value:.4g}") for value in middles]
    return Axis(
        name=name,
        levels=(*levels, None) if absent else tuple(levels),
        numeric=True,
        log=bool(log),
        edges=tuple(float(edge) for edge in edges),
    )


def label(level: Any) -> Any:
    """A value as JSON and as short as a label must be."""
    level = plain(level)
    return level[: LABEL_MAX - 1] + "…" if isinstance(level, str) and len(level) > LABEL_MAX else level
