"""The normal form of a checked grid: plain frozen data that says what to run, and nothing about how.

`grid.spec` makes it from the user's file; `grid.space` turns it into points. It travels to the machines
as JSON (`to_json`/`from_json`), so that a worker needs neither the file nor the libraries that checked it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

# What YAML can say: None, bool, int, float (NaN and infinities too), str, list, dict with str keys.
Value = Any
Method = Literal["grid", "random", "sobol", "one_at_a_time", "list"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A continuous or quantised law to draw from, under W&B's names and with W&B's meaning."""

    name: str  # W&B's: "uniform", "log_uniform_values", "q_normal", ...
    low: float | None = None  # `min` as written: log_uniform's is an exponent, log_uniform_values' a value
    high: float | None = None  # `max` as written
    mu: float | None = None
    sigma: float | None = None
    q: float | None = None  # the step to round to
    a: float | None = None  # beta's two shapes
    b: float | None = None


@dataclass(frozen=True, slots=True)
class Dimension:
    """One independent direction of a block: a parameter, or a named zip of several that vary together.

    Either `rows` (the discrete choices, distinct, each as long as `names`) or `distribution` (of one name).
    Names are flat: a nested `net: {depth: ...}` is `net.depth`.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...] = ()
    distribution: Distribution | None = None
    probabilities: tuple[float, ...] | None = None  # one a row, summing to 1; random and sobol only
    when: str | None = None  # the dimension exists only where this expression is true


@dataclass(frozen=True, slots=True)
class Block:
    """One method over some dimensions, thinned by constraints. A sweep is a union of blocks."""

    method: Method
    dimensions: tuple[Dimension, ...] = ()  # the last varies fastest, as in itertools.product
    samples: int = 0  # random and sobol: how many draws
    where: tuple[str, ...] = ()  # every expression must be true
    exclude: tuple[dict[str, Value], ...] = ()  # a point that has all these values is excluded
    extend: tuple[dict[str, Value], ...] = ()  # `include` entries that add keys to matching points
    rows: tuple[dict[str, Value], ...] = ()  # method "list": the points themselves, in order


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides which points there are, what each is called and which seed it gets."""

    target: str  # "module:function", or the JSON of a command's list: part of every point's identity
    seed: int
    replicates: int
    blocks: tuple[Block, ...]

    def to_json(self) -> str:
        """The plan as canonical JSON; NaN and infinities are written as Python's json writes them."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote. Raises KeyError or TypeError for anything else."""
        raw = json.loads(text)
        return cls(
            target=raw["target"],
            seed=raw["seed"],
            replicates=raw["replicates"],
            blocks=tuple(_block(block) for block in raw["blocks"]),
        )

    def narrowed(self, conditions: Sequence[str]) -> Plan:
        """The plan reduced to points that meet all of these conditions; they keep index, id and seed."""
        blocks = (replace(block, where=(*block.where, *conditions)) for block in self.blocks)
        return replace(self, blocks=tuple(blocks))

    def digest(self) -> str:
        """A name for exactly this plan: 16 hex digits of BLAKE2b over its canonical JSON."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()


def nest(params: Mapping[str, Value], keys: Iterable[tuple[str, ...]] = ()) -> dict[str, Value]:
    """Flat dotted names as nested dicts: {"net.depth": 2} is {"net": {"depth": 2}}.

    `keys` are the paths of parameters whose keys have dots in them, which nest nothing.
    """
    paths = {".".join(path): path for path in keys}
    nested: dict[str, Value] = {}
    for name, value in params.items():
        *outer, last = paths.get(name) or name.split(".")
        inner = nested
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested


def _block(raw: dict[str, Any]) -> Block:
    dimensions = tuple(
        Dimension(
            names=tuple(dimension["names"]),
            rows=tuple(tuple(row) for row in dimension["rows"]),
            distribution=Distribution(**dimension["distribution"]) if dimension["distribution"] else None,
            probabilities=tuple(dimension["probabilities"]) if dimension["probabilities"] else None,
            when=dimension["when"],
        )
        for dimension in raw["dimensions"]
    )
    return Block(
        method=raw["method"],
        dimensions=dimensions,
        samples=raw["samples"],
        where=tuple(raw["where"]),
        exclude=tuple(raw["exclude"]),
        extend=tuple(raw["extend"]),
        rows=tuple(raw["rows"]),
    )
