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

    Examples:
        >>> import sweepfleet as sf
        >>> def fit(alpha, fold):
        ...     return {"rmse": abs(alpha - 1) + fold / 10, "size": 3}
        >>> rmse = sf.Metric("rmse", over="fold")
        >>> run = sf.sweep(fit, {"alpha": [0, 1], "fold": [1, 3]}, metric=rmse)
        >>> run.best()["params"], run.best()["mean"]
        ({'alpha': 1}, 0.2)
    """

    name: str
    goal: str = "minimize"
    over: str | Sequence[str] = ()


def linspace(start: float, stop: float, num: int) -> dict[str, list[float]]:
    """`num` values from `start` to `stop`, both included, at equal distances.

    Args:
        start: the first value.
        stop: the last value.
        num: the number of values.

    Returns:
        a parameter's values, as grid.yaml has them.

    Examples:
        >>> import sweepfleet as sf
        >>> sf.linspace(0, 1, 5)
        {'linspace': [0, 1, 5]}
        >>> run = sf.sweep(lambda x: 4 * x, {"x": sf.linspace(0, 1, 5)}, name="quarters")
        >>> run.frame()["param.x"].to_list()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return {"linspace": [start, stop, num]}


def logspace(start: float, stop: float, num: int) -> dict[str, list[float]]:
    """`num` values from 10**start to 10**stop, both included, at equal ratios, as `numpy.logspace` has them.

    Args:
        start: the exponent of the first value.
        stop: the exponent of the last value.
        num: the number of values.

    Returns:
        a parameter's values, as grid.yaml has them.

    Examples:
        >>> import sweepfleet as sf
        >>> sf.logspace(-2, 1, 4)
        {'logspace': [-2, 1, 4]}
        >>> run = sf.sweep(lambda alpha: alpha, {"alpha": sf.logspace(-2, 1, 4)}, name="powers")
        >>> run.frame()["param.alpha"].to_list()
        [0.01, 0.1, 1.0, 10.0]
    """
    return {"logspace": [start, stop, num]}


def distribution(law: str, **settings: Any) -> dict[str, Any]:
    """A distribution to draw from, for `method="random"` and `method="sobol"`.

    Args:
        law: its name, one of W&B's: `docs/grid.md` lists them.
        **settings: its own: `min`, `max`, `mu`, `sigma`, `q`.

    Returns:
        a parameter's values, as grid.yaml has them.

    Examples:
        >>> import sweepfleet as sf
        >>> sf.distribution("uniform", min=0, max=1)
        {'distribution': 'uniform', 'min': 0, 'max': 1}
        >>> rate = sf.distribution("log_uniform_values", min=1e-5, max=1e-1)
        >>> run = sf.sweep(lambda rate: rate, {"rate": rate}, method="random", samples=20, name="rates")
        >>> run.frame("value < 1e-5 or value > 1e-1").height
        0
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
    over = [metric.over] if isinstance(metric.over, str) else plain(metric.over)
    return {"name": metric.name, "goal": metric.goal, **({"over": over} if over != [] else {})}


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
