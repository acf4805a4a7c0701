"""Grids in Python: the keys of grid.yaml become its text, which is checked like any grid file."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any] | Iterable[Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """The number that decides which point is best.

    Args:
        name: a key of what the function returns; `value` where it returns one number.
        goal: `minimize` or `maximize`.
        over: parameters whose values are averaged like replicates, as the folds of a cross-validation.

    >>> Metric("rmse", over="fold")
    Metric(name='rmse', goal='minimize', over='fold')
    """

    name: str
    goal: str = "minimize"
    over: str | Sequence[str] = ()


def linspace(start: float, stop: float, num: int) -> dict[str, list[float]]:
    """`num` values from `start` to `stop`, both included, at equal distances.

    >>> linspace(0, 1, 5)
    {'linspace': [0, 1, 5]}
    """
    return {"linspace": [start, stop, num]}


def logspace(start: float, stop: float, num: int) -> dict[str, list[float]]:
    """`num` values from 10**start to 10**stop, both included, at equal ratios, as `numpy.logspace` has them.

    >>> logspace(-3, 1, 9)
    {'logspace': [-3, 1, 9]}
    """
    return {"logspace": [start, stop, num]}


def distribution(law: str, **settings: Any) -> dict[str, Any]:
    """A distribution to draw from, with W&B's names: `docs/grid.md` lists them. For `method="random"` and `"sobol"`.

    >>> distribution("uniform", min=0, max=1)
    {'distribution': 'uniform', 'min': 0, 'max': 1}
    """
    return {"distribution": law, **settings}


def keys_of(run: str, *, parameters: Mapping[str, Values] | None, pickle: str | None, **more: Any) -> dict[str, Any]:
    """The keys of a grid file, in its order, of what was given.

    Args:
        run: `module:function`.
        parameters: by name; ranges, tuples, arrays and other iterables are lists of values.
        pickle: the function's file, relative to the grid's folder.
        **more: other keys of grid.yaml; None: not given.
    """
    name = more.pop("name", None)
    metric = more.pop("metric", None)
    keys = {
        "name": name,
        "run": run,
        "pickle": pickle,
        "parameters": None if parameters is None else plain(parameters),
        **{key: plain(value) for key, value in more.items()},
        "metric": _metric(metric),
    }
    return {key: value for key, value in keys.items() if value is not None}


def _metric(metric: Metric | Mapping[str, Any] | str | None) -> Any:
    if metric is None or isinstance(metric, Mapping):
        return plain(metric)
    if isinstance(metric, str):
        return {"name": metric}
    over = [metric.over] if isinstance(metric.over, str) else list(metric.over)
    return {"name": metric.name, "goal": metric.goal, **({"over": over} if over else {})}


def plain(value: Any) -> Any:
    """The value as a grid file has it: numbers of any library as Python's, iterables as lists."""
    if value is None or isinstance(value, str | bool | int | float):
        return _builtin(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):  # numpy's arrays and numbers, and what is like them
        return plain(value.tolist())
    if hasattr(value, "to_list"):  # pandas' and polars' columns
        return plain(value.to_list())
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return [plain(each) for each in value]
    return value


def _builtin(value: Any) -> Any:
    """An enum member's or another subclass's plain value."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    return value
