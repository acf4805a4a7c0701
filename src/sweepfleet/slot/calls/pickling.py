"""Pickles of arguments, results and exceptions: cloudpickle's, with large buffers beside them (protocol 5)."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from sweepfleet.slot.calls.batch import Pickled
from sweepfleet.slot.calls.frames import Buffer

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})  # for which Python's own pickle does, ten times faster
OUTSIDE_BYTES = 1 << 14  # smaller buffers are copied into the pickle


def dumps(value: Any) -> Pickled:
    """A pickle. Raises whatever the value's pickling does."""
    if type(value) in _PLAIN:
        return Pickled(pickle.dumps(value, protocol=5))
    from sweepfleet.slot import cloudpickled

    outside: list[Buffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < OUTSIDE_BYTES:
            return True
        outside.append(raw)
        return False

    return Pickled(cloudpickled.dumps(value, buffer_callback=keep), outside)


def dumps_arguments(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Pickled:
    """A pickle of both. Raises whatever their pickling does."""
    if not keywords and _PLAIN.issuperset(map(type, arguments)):
        return Pickled(pickle.dumps((arguments, keywords), protocol=5))
    return dumps((arguments, keywords))


def loads(pickled: Pickled) -> Any:
    """The value. Raises whatever its unpickling does."""
    return pickle.loads(pickled.data, buffers=pickled.outside)  # noqa: S301 - from the user's own processes


class RemoteTraceback(Exception):  # noqa: N818 - as the standard library calls its own
    """Where an exception was raised in another process: its traceback as text."""

    def __str__(self) -> str:
        """The traceback, set off from what comes after it."""
        return f'\n"""\n{self.args[0]}"""'


class CannotBeSentError(Exception):
    """A call raised an exception that cannot be pickled, or not unpickled; says its type and message."""


class _Uninitialized:
    """Stands for an exception in a pickle: it is made again from its content, without its `__init__`.

    By itself, an exception is made again by calling its class with `args`: what its `__init__` passed on, and often
    not what that takes.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _initialized, (type(self._error), self._error.args, vars(self._error))


def _initialized(kind: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(state)
    return error


def dumps_error(error: BaseException) -> Pickled:
    """A pickle of (exception, traceback): of another exception, where this one does not survive the way."""
    text = "".join(traceback.format_exception(type(error), error, _without_ours(error)))
    error = error.with_traceback(None)
    try:
        return _survives(error, text)
    except BaseException as first:  # noqa: BLE001 - by the exception's own methods
        why = first
    try:
        return _survives(_Uninitialized(error), text)
    except BaseException:  # noqa: BLE001 - likewise
        said = f"{type(error).__module__}.{type(error).__qualname__}: {_text_of(error)}"
        unsent = CannotBeSentError(f"{said} (this exception cannot be pickled: {_text_of(why)})")
        return dumps((unsent, text))


def _survives(error: Any, text: str) -> Pickled:
    """A pickle that can be read. Raises what it or its reading raises."""
    pickled = dumps((error, text))
    loads(pickled)
    return pickled


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - by its own method
        return "?"


def _without_ours(error: BaseException) -> Any:
    """The traceback from the called function on."""
    found = error.__traceback__
    return found.tb_next if found is not None and found.tb_next is not None else found


def loads_error(pickled: Pickled) -> BaseException:
    """The exception, with its traceback in the other process as its cause."""
    error, text = loads(pickled)
    if not isinstance(error, BaseException):
        raise TypeError(f"not an exception: {error!r:.80}")
    error.__cause__ = RemoteTraceback(text)
    return error
