"""What arguments of public functions may be; the grid's models check what a grid file has, too."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from sweepfleet.api.grids import Metric
from sweepfleet.grid.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument may be."""

    is_: str  # as a message says it
    fits: Callable[[Any], bool]


def takes(called: str, **kinds: Kind) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function, so that it raises UsageError for arguments of another kind, before it does anything.

    The error has all of them. An argument that is left at its default always fits.

    Args:
        called: the function, as its users call it.
        **kinds: of its arguments, by name.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        defaults = {name: each.default for name, each in signature.parameters.items()}

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:  # Python says which are missing or unknown
                return function(*args, **kwargs)
            wrong = [
                f"{name} is {kind.is_}; it is {shown(given[name])}."
                for name, kind in kinds.items()
                if name in given and given[name] is not defaults[name] and not kind.fits(given[name])
            ]
            if wrong:
                raise UsageError(f"{called}: {' '.join(wrong)}")
            return function(*args, **kwargs)

        return checked

    return decorate


def shown(value: Any) -> str:
    """A value in a message."""
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - whatever a user's own class raises
        return f"a {type(value).__name__}"


def is_path(value: Any) -> bool:
    """Whether a file system can have it as a path."""
    try:
        path = os.fspath(value)
        return isinstance(path, str) and b"\0" not in os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        return False


def is_stack(value: Any) -> bool:
    """Whether it names a cluster, or is one."""
    from sweepfleet.api.cluster import Cluster

    return isinstance(value, str | Cluster)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(values: Any, kind: type) -> bool:
    return isinstance(values, Sequence) and all(isinstance(each, kind) for each in values)


FLAG = Kind("True or False", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind("text, such as 'fits'", lambda value: isinstance(value, str))
CONDITION = Kind("a condition as text, such as 'alpha > 1'", lambda value: isinstance(value, str))
CONDITIONS = Kind(
    "a condition as text, or a list of them", lambda value: isinstance(value, str) or _is_list(value, str)
)
COUNT = Kind("a whole number above 0", lambda value: _is_whole(value) and value > 0)
SECONDS = Kind(
    "a number of seconds above 0",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0,
)
TARGET = Kind("a function, or the path of a grid file", lambda value: callable(value) or is_path(value))
FOLDER = Kind("the path of a folder", is_path)
PROJECT = Kind("a folder that exists", lambda value: is_path(value) and os.path.isdir(value))  # noqa: PTH112 - any length
STACK = Kind("a stack's name, or what sf.connect returned", is_stack)
METRIC = Kind(
    "a name, sf.Metric(...), or a dict as in grid.yaml", lambda value: isinstance(value, str | Mapping | Metric)
)
MODULES = Kind("a list of modules", lambda value: _is_list(value, ModuleType))
POINT = Kind(
    "an id or the beginning of one, or an index in the grid", lambda value: isinstance(value, str) or _is_whole(value)
)
