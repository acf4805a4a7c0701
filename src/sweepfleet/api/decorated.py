"""`sweepfleet.function`: a function whose calls an Executor executes."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, ParamSpec, TypeVar, overload

from sweepfleet.api.executor import Executor
from sweepfleet.slot.identity import name_of

P = ParamSpec("P")
T = TypeVar("T")

_executors: dict[tuple[object, ...], Executor] = {}  # by what they were asked for, and by process


class Function(Generic[P, T]):
    """A function that `sweepfleet.function` decorates. A plain call of it is a plain call, here."""

    __wrapped__: Callable[P, T]

    def __init__(self, function: Callable[P, T], options: dict[str, Any]) -> None:
        if not callable(function):
            raise TypeError(f"sweepfleet.function decorates a function, and {function!r:.80} is none")
        functools.update_wrapper(self, function)
        self._options = options

    def __repr__(self) -> str:
        """What it was made of."""
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<sweepfleet.function({options}) of {name_of(self.__wrapped__)}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in this process."""
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """As what it was made of: another process has no Executor of it."""
        return Function, (self.__wrapped__, self._options)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in this process, as a plain call does."""
        return self.__wrapped__(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Execute a call: see `Executor.submit`."""
        return self._executor().submit(self.__wrapped__, *args, **kwargs)

    def map(self, *iterables: Iterable[Any], timeout: float | None = None) -> Iterator[T]:
        """Execute a call for each item, and yield the results in their order: see `Executor.map`."""
        return self._executor().map(self.__wrapped__, *iterables, timeout=timeout)

    def starmap(self, arguments: Iterable[Iterable[Any]], *, timeout: float | None = None) -> Iterator[T]:
        """As `map`, of an iterable whose items have all arguments of a call."""
        return self._executor().map(_Starred(self.__wrapped__), arguments, timeout=timeout)

    def _executor(self) -> Executor:
        """One for all functions with these options, which ends with Python."""
        key = (os.getpid(), *sorted((name, repr(value)) for name, value in self._options.items()))
        executor = _executors.get(key)
        if executor is None or executor._broken:  # noqa: SLF001 - as the standard library's executors have it
            executor = _executors[key] = Executor(**self._options)
        return executor


class _Starred(Generic[T]):
    """A function that takes its arguments as one."""

    def __init__(self, function: Callable[..., T]) -> None:
        self.__wrapped__ = function
        self.__qualname__, self.__module__ = function.__qualname__, function.__module__

    def __call__(self, arguments: Iterable[Any]) -> T:
        return self.__wrapped__(*arguments)


@overload
def function(decorated: Callable[P, T], /) -> Function[P, T]: ...


@overload
def function(**executor: Any) -> Callable[[Callable[P, T]], Function[P, T]]: ...


def function(decorated: Callable[..., Any] | None = None, /, **executor: Any) -> Any:
    """Decorate a function, so that an `Executor` executes its calls: in a notebook, `f.map(xs)` is enough.

    The decorated function has `submit(...)`, `map(xs)` and `starmap(tuples)` as an Executor has them, and
    `local(...)`, which a plain call is, too. Functions with the same options share an Executor; it starts with the
    first call, and ends with Python.

    Args:
        decorated: the function, as `@function` without parentheses passes it.
        **executor: the arguments of `Executor`.

    Returns:
        the decorator; with `decorated`, the decorated function.

    Raises:
        TypeError: what is decorated is no function, or an Executor has no such argument.
        UsageError: at the first call: arguments that cannot be used.

    Examples:
        >>> import sweepfleet as sf
        >>> @sf.function(cpus=1, timeout="10m")
        ... def fit(alpha, degree=2):
        ...     return alpha**degree
        >>> list(fit.map([1, 2, 3]))
        [1, 4, 9]
        >>> fit.submit(3, degree=3).result(), list(fit.starmap([(2, 1), (2, 5)])), fit(5)
        (27, [2, 32], 25)
    """
    inspect.signature(Executor).bind_partial(**executor)
    if decorated is not None:
        return Function(decorated, executor)
    return lambda decorated: Function(decorated, executor)
