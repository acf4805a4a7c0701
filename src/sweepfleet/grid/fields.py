"""How single fields of a grid file are read: each takes what YAML gave and returns it checked, or refuses.

A refusal says what is allowed, as `allowed` in the error's context, and at times what to write, as `remedy`.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticCustomError

_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(d|h|ms|m|s))", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]i?)?B?", re.ASCII)
_POWERS = "KMGT"
_PLAIN_WORD = re.compile(r"[A-Za-z_./][\w./-]*")  # that needs no quotes in YAML's flow style
LOG_MIN, LOG_MAX = 1000, 16_000_000


def _refuse(allowed: str, **remedy: str) -> PydanticCustomError:
    return PydanticCustomError("not_allowed", "{allowed}", {"allowed": allowed, **remedy})


def read(field: Callable[[Any], Any], value: Any) -> tuple[Any, str]:
    """A field's value, and what is allowed where it is refused; else an empty text. For values from Python."""
    try:
        return field(value), ""
    except PydanticCustomError as refusal:
        return None, str((refusal.context or {})["allowed"])


def number(value: Any) -> Any:
    """A finite int or float, as it is: a step of 1 is not one of 1.0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse("a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refuse("a finite number")
    return value


def seconds(value: Any) -> Any:
    """A duration such as 1h30m in seconds."""
    seconds = value
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        whole = "".join(number + unit for number, unit in parts) == value.replace(" ", "")
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts) if whole else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise _refuse("a duration above 0 (90s, 10m, 1h30m, or a number of seconds)")
    return float(seconds)


def size(value: Any) -> Any:
    """A size such as 2GB in bytes."""
    size = value
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None:
            raise _refuse("a size (2GB, 512MiB, or a number of bytes)")
        unit = (found[2] or "").upper()
        base = 1024 if unit.endswith("I") else 1000
        size = int(float(found[1]) * base ** (_POWERS.index(unit[0]) + 1 if unit else 0))
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise _refuse("a size (2GB, 512MiB, or a number of bytes)")
    return size


def log(value: Any) -> Any:
    """How much is kept of what one point prints: bytes; 0 for none."""
    allowed = _refuse("none, or a size from 1kB to 16MB (64kB, 1MB, or a number of bytes)")
    if value == "none":
        return 0
    try:
        count = size(value)
    except PydanticCustomError:
        raise allowed from None
    if not LOG_MIN <= count <= LOG_MAX:
        raise allowed
    return count


def usd(value: Any) -> Any:
    """An amount of money above nothing, in US dollars."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _refuse("an amount of US dollars above 0, as a number")
    return float(value)


def one_or_more(value: Any) -> Any:
    """A list; a single text becomes a list of one."""
    return [value] if isinstance(value, str) else value


def files(value: Any) -> Any:
    """A list of files; a single one becomes a list of one."""
    return value if isinstance(value, list) else [value]


def file(value: Any) -> Any:
    """A file's name, or a map with its name and types."""
    if isinstance(value, str):
        return {"file": value}
    if not isinstance(value, dict):
        raise _refuse("a file's name, or a map of `file` and `types`")
    return value


def words(value: Any) -> Any:
    """A command's words; W&B takes plain numbers among them, too."""
    if isinstance(value, str) and value.strip():
        try:
            split = shlex.split(value)
        except ValueError:  # a quote that is not closed
            split = value.split()
        flow = ", ".join(
            word if _PLAIN_WORD.fullmatch(word) else json.dumps(word, ensure_ascii=False) for word in split
        )
        raise _refuse("a list of words", remedy=f"Write command: [{flow}].")
    if not isinstance(value, list) or not value:
        raise _refuse("a list of words")
    return [str(word) if type(word) in {int, float} else word for word in value]


def word(value: Any) -> Any:
    """One word of a command."""
    if isinstance(value, dict) and len(value) == 1:
        (name,) = value
        if value[name] is None:
            remedy = f'YAML reads {{{name}}} without quotes as a map. Put it in quotes: "{{{name}}}".'
            raise _refuse("text", remedy=remedy)
    if isinstance(value, bool | list | dict) or value is None:
        raise _refuse("text", remedy="Put it in quotes.")
    return value


def bundle(value: Any) -> Any:
    """None for auto, or a count."""
    if value == "auto":
        return None
    if type(value) is not int or value < 1:
        raise _refuse("auto, or a whole number, 1 or more")
    return value


def method(value: Any) -> Any:
    """A method; W&B's bayes is refused, with what to use instead."""
    if value == "bayes":
        raise PydanticCustomError(
            "not_allowed",
            "{allowed}",
            {
                "allowed": "grid, random, sobol, one_at_a_time or list",
                "remedy": "Bayesian search is not supported. Use `method: random` or `method: sobol` with "
                "`samples`, then refine around the best points.",
            },
        )
    return value


def parameter(value: Any) -> Any:
    """A list is the values; anything else that is not a map is one value."""
    if value is None:
        raise PydanticCustomError(
            "not_allowed",
            "{allowed}",
            {
                "allowed": "a list of values, one value or a map",
                "remedy": "Write its values, such as [0.1, 1]; for null itself write {value: null}.",
            },
        )
    if isinstance(value, list):
        return {"values": value}
    return value if isinstance(value, dict) else {"value": value}
