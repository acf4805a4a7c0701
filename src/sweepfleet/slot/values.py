"""What a target returned, as metrics: names with numbers, text, true, false or null.

Maps are flattened to dotted names; lists and arrays are JSON text. Nothing is rounded, cut or dropped in silence:
what has no exact or documented form is refused, with what to return instead. Types of NumPy, pandas, polars and
PyTorch are told by what they can do, for none of them needs to be installed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from sweepfleet.slot.records import MAX_PAYLOAD_BYTES, printable

MAX_METRICS = 4096
MAX_DIGITS = 4000  # of an integer; Python writes and reads no more than 4,300
_MAX_BITS = int(MAX_DIGITS * math.log2(10))
_MAX_ITEMS = MAX_PAYLOAD_BYTES // 2  # of a list: the shortest takes two bytes an item


class BadResultError(Exception):
    """A target returned a value that cannot become metrics."""


def as_map(value: Any, *, metric: str) -> dict[Any, Any]:
    """A returned value as a flat dict of metrics; a single number becomes one metric.

    Raises:
        BadResultError: it is neither a map nor a number.
    """
    found = fields_of(value)
    if found is not None:
        return found
    number = scalar("", value) if _may_be_number(value) else None
    if isinstance(number, int | float):  # bool too
        return {metric: number}
    raise BadResultError(f"returned {short(value)} of type {_type(value)}. {_instead(value)}")


def metrics(found: Mapping[Any, Any]) -> dict[str, Any]:
    """A map's metrics: flat, under dotted names, each a plain Python bool, int, float, str or None.

    Raises:
        BadResultError: a value or name has no form as a metric, or two have one name.
    """
    if len(found) <= MAX_METRICS and all(map(_is_plain, found, found.values())):
        return dict(found)
    flat: dict[str, Any] = {}
    try:
        _flatten("", found, flat)
    except RecursionError:
        raise BadResultError("returned maps or lists that are nested too deeply or contain themselves.") from None
    return flat


def _is_plain(key: Any, value: Any) -> bool:
    """Whether a metric is in its plain form already, as most are; fast."""
    if key.__class__ is not str or not key.isascii():
        return False
    kind = value.__class__
    return kind is float or kind is bool or value is None or (kind is str and value.isascii())


def _flatten(prefix: str, found: Mapping[Any, Any], flat: dict[str, Any]) -> None:
    for key, value in found.items():
        name = prefix + name_of(key)
        inner = fields_of(value)
        if inner is not None:
            _flatten(f"{name}.", inner, flat)
            continue
        if name in flat:
            raise BadResultError(
                f"returned two metrics named {name}: {name!r} itself and one inside a map, whose names are joined by "
                "dots. Rename one."
            )
        plain = scalar(name, value)
        flat[name] = as_json(name, plain) if isinstance(plain, list) else plain
        if len(flat) > MAX_METRICS:
            raise BadResultError(f"returned more than {MAX_METRICS:,} metrics, which is the limit.")


def name_of(key: Any) -> str:
    """A metric's name as plain text. Raises BadResultError when it is not text."""
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise BadResultError(
            f"returned a dict with the key {short(key)}: the names of metrics are text. Write str({short(key)})."
        )
    name = str.__str__(key)
    if name != printable(name):
        raise BadResultError(f"returned a metric named {short(name)}, which is not valid UTF-8.")
    return name


def scalar(name: str, value: Any) -> Any:
    """A value in its plain form: bool, int, float, str or None, and a list of such (and of maps) for a list.

    Raises BadResultError for whatever else it is.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return printable(str.__str__(value))
    if isinstance(value, bool | int):
        return _integer(name, int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal | Fraction):
        return _rational(name, value)
    if isinstance(value, dt.date | dt.time):  # datetime and pandas.Timestamp too
        return None if value != value else value.isoformat()  # noqa: PLR0124 - pandas.NaT
    if isinstance(value, dt.timedelta):
        return None if value != value else value.total_seconds()  # noqa: PLR0124
    if isinstance(value, list | tuple):
        return _list(name, value)
    found = _foreign(name, value)
    if found is not NotImplemented:
        return found
    raise BadResultError(f"returned {name} = {short(value)} of type {_type(value)}. {_instead(value)}")


def _integer(name: str, value: int) -> int:
    if value.bit_length() > _MAX_BITS:
        raise BadResultError(
            f"returned {name} = an integer of {value.bit_length():,} bits; the limit is {MAX_DIGITS:,} digits. "
            "Write it into artifact_dir."
        )
    return value


def _rational(name: str, value: Decimal | Fraction) -> int | float:
    """The nearest float; a whole number that is not exactly a float keeps its digits."""
    if isinstance(value, Decimal) and not value.is_finite():
        if value.is_snan():
            raise BadResultError(f"returned {name} = {value!r}, a signalling NaN.")
        return float(value)
    if isinstance(value, Decimal) and value.adjusted() > MAX_DIGITS:
        raise BadResultError(f"returned {name} = {short(value)}; the limit is {MAX_DIGITS:,} digits.")
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf
    if value == nearest:
        return nearest
    if value == int(value):
        return _integer(name, int(value))
    if math.isinf(nearest):
        raise BadResultError(f"returned {name} = {short(value)}, which is larger than any float.")
    return nearest


def _list(name: str, value: Any) -> list[Any]:
    if len(value) > _MAX_ITEMS:
        raise BadResultError(
            f"returned {name}, a list of {len(value):,} items; the limit is {MAX_PAYLOAD_BYTES:,} bytes of JSON "
            "text. Write it into artifact_dir."
        )
    return [_inside(name, each) for each in value]


def _inside(name: str, value: Any) -> Any:
    """An item of a list, where maps stay maps."""
    found = fields_of(value)
    if found is None:
        return scalar(name, value)
    plain = {name_of(key): _inside(name, each) for key, each in found.items()}
    if len(plain) < len(found):
        raise BadResultError(f"returned {name} with a map in which two keys are the same as text.")
    return plain


def _foreign(name: str, value: Any) -> Any:
    """The plain form of NumPy's, pandas', polars' and PyTorch's values; NotImplemented for other types."""
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and type(value).__name__ == "NAType":
        return None
    if module == "numpy" and type(value).__name__ in ("datetime64", "timedelta64"):
        return _numpy_time(value)
    dimensions = getattr(value, "ndim", None)
    if dimensions == 0 and hasattr(value, "item"):
        # A masked scalar's `item` is the number under the mask, `tolist` is None.
        plain = value.tolist() if hasattr(value, "mask") else value.item()
        return NotImplemented if type(plain) is type(value) else scalar(name, plain)
    if isinstance(dimensions, int) and hasattr(value, "tolist"):
        count = value.numel() if callable(getattr(value, "numel", None)) else getattr(value, "size", 0)
        if isinstance(count, int) and count > _MAX_ITEMS:
            raise BadResultError(
                f"returned {name}, an array of {count:,} numbers; the limit is {MAX_PAYLOAD_BYTES:,} bytes of "
                "JSON text. Write it into artifact_dir."
            )
        dtype = str(getattr(value, "dtype", ""))
        if dtype.startswith(("datetime64", "timedelta64")):
            return [scalar(name, each) for each in value]
        return scalar(name, value.tolist())
    if hasattr(value, "to_list") and not is_frame(value):
        return scalar(name, value.to_list())
    return NotImplemented


def _numpy_time(value: Any) -> Any:
    """A datetime64 as ISO text and a timedelta64 in seconds: `item` makes nanoseconds a mere integer."""
    if value != value:  # noqa: PLR0124 - NaT
        return None
    if type(value).__name__ == "datetime64":
        return str(value)
    try:
        return float(value / type(value)(1, "s"))
    except TypeError:  # of months or years, or of no unit
        return str(value)


def fields_of(value: Any) -> dict[Any, Any] | None:
    """A map's items, or the fields of what has names for its parts; None for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and isinstance(getattr(value, "_fields", None), tuple):
        return dict(zip(value._fields, value, strict=True))  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if type(value).__module__.partition(".")[0] == "pandas" and type(value).__name__ == "Series":
        found = dict(value.to_dict())
        return found if found and all(isinstance(key, str) for key in found) else None
    return None


def _may_be_number(value: Any) -> bool:
    if isinstance(value, Enum):
        value = value.value
    return isinstance(value, int | float | Decimal | Fraction) or (
        hasattr(value, "item") and getattr(value, "ndim", None) == 0
    )


def is_frame(value: Any) -> bool:
    """Whether this is a frame of polars or pandas, or an Arrow table."""
    module = type(value).__module__.partition(".")[0]
    return module in ("polars", "pandas", "pyarrow") and type(value).__name__ in ("DataFrame", "Table")


def _instead(value: Any) -> str:
    """What to return instead."""
    if value is None:
        return "Does the function end without `return`? Return a dict of numbers, or one number."
    if isinstance(value, set | frozenset):
        return "A set has no order: return sorted(...)."
    if isinstance(value, bytes | bytearray | memoryview):
        return "Return text (`.decode()`), or write bytes into artifact_dir."
    if isinstance(value, complex) or "complex" in _type(value):
        return "Return its real and imaginary part as two metrics."
    if inspect.isgenerator(value) or isinstance(value, Iterator):
        return "Return list(...), or write `return` instead of `yield`."
    if inspect.iscoroutine(value):
        value.close()
        return "Declare the target itself with `async def`, or await it."
    if inspect.isasyncgen(value):
        return "Write `return` instead of `yield`."
    if isinstance(value, list | tuple):
        return "Return a dict of metrics, a list of dicts (rows), or one number."
    if is_frame(value):
        return "Return a frame alone, or (metrics, frame)."
    if getattr(value, "ndim", None):
        return "Return one number (`.item()`, `float(...)`), or a dict of metrics."
    return (
        "Return a dict of numbers, or one number; a metric is a number, text, true, false, null, a list or a map. "
        "Write anything else into artifact_dir."
    )


def as_json(name: str, value: Any) -> str:
    """JSON text. Raises BadResultError when it is too long."""
    text = json.dumps(value)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise BadResultError(
            f"returned {name} of {len(text):,} bytes; the limit is {MAX_PAYLOAD_BYTES:,}. Write it into artifact_dir."
        )
    return text


def _type(value: Any) -> str:
    return type(value).__name__


def short(value: Any) -> str:
    """The beginning of a value's repr, without writing out all of a long list first."""
    return reprlib.repr(value)[:80]
