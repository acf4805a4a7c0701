"""The operators and functions of conditions; they refuse what would cost too much time or memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

MAX_INT = 1 << 128  # whole numbers in a sweep are smaller; larger ones only cost time and memory
MAX_ARGUMENTS = 2000


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return value
    if isinstance(value, int) and -MAX_INT <= value <= MAX_INT:
        return value
    kind = "a number past 2**128" if isinstance(value, int) else type(value).__name__
    raise TypeError(f"a number is needed, not {kind}")


def _items(values: tuple[Any, ...]) -> Iterator[Any]:
    """The values that min and max compare: the arguments, or the items of a single list."""
    if len(values) == 1:
        if not isinstance(values[0], list | tuple):
            raise TypeError("min and max need a list or several numbers")
        values = tuple(values[0])
    return iter(values)


def _round(number: Any, digits: Any = None) -> Any:
    if digits is None:
        return round(_number(number))
    if not isinstance(digits, int) or abs(digits) > 64:  # round(5, -10**9) would compute 10**(10**9)
        raise TypeError("round takes up to 64 digits")
    return round(_number(number), digits)


# Named after the nodes that they stand for.
GUARDED: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: _number(_number(a) + _number(b)),
    "Sub": lambda a, b: _number(_number(a) - _number(b)),
    "Mult": lambda a, b: _number(_number(a) * _number(b)),
    "Div": lambda a, b: _number(a) / _number(b),
    "FloorDiv": lambda a, b: _number(a) // _number(b),
    "Mod": lambda a, b: _number(a) % _number(b),
    "USub": lambda a: -_number(a),
    "UAdd": lambda a: +_number(a),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda a: abs(_number(a)),
    "min": lambda *values: min(_items(values)),
    "max": lambda *values: max(_items(values)),
    "round": _round,
    "len": len,
}
MOST_ARGUMENTS = {"abs": 1, "len": 1, "round": 2, "min": MAX_ARGUMENTS, "max": MAX_ARGUMENTS}
