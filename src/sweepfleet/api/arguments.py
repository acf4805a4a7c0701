"""What `sweepfleet.sweep`'s own arguments may be; the grid's models check all others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from sweepfleet.api.grids import Metric
from sweepfleet.grid.errors import UsageError


def check_kinds(*, name: Any, metric: Any, where: Any, by_value: Any, workers: Any, runs: Any) -> None:
    """Raise UsageError where arguments are of a kind that cannot be used; says all of them."""
    named = name is None or isinstance(name, str)
    measured = metric is None or isinstance(metric, str | Mapping | Metric)
    conditions = isinstance(where, str) or _is_list(where, str)
    counted = workers is None or (type(workers) is int and workers > 0)
    placed = runs is None or isinstance(runs, str | os.PathLike)
    problems = [
        f"{key} is {allowed}; it is {value!r:.80}."
        for fits, key, value, allowed in (
            (named, "name", name, "text, such as 'fits'"),
            (measured, "metric", metric, "a name, sf.Metric(...), or a dict as in grid.yaml"),
            (conditions, "where", where, "a condition as text, or a list of them"),
            (_is_list(by_value, ModuleType), "by_value", by_value, "a list of modules"),
            (counted, "workers", workers, "a whole number above 0"),
            (placed, "runs", runs, "the path of a folder"),
        )
        if not fits
    ]
    if problems:
        raise UsageError(f"sweep: {' '.join(problems)}")


def _is_list(values: Any, kind: type) -> bool:
    return isinstance(values, Sequence) and all(isinstance(each, kind) for each in values)
