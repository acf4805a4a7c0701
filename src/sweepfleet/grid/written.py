"""A grid as YAML text, from plain values: read again, each is what it was, to the last bit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweepfleet.grid.scalars import CORE, PYYAML

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:+-]*")
_STEP = "  "


def to_yaml(values: Mapping[str, Any]) -> str:
    """The text of a map of keys. Values are those of JSON, with NaN and infinities, and maps and lists of them.

    Raises TypeError for anything else; its message has the keys that lead there.
    """
    return "".join(f"{line}\n" for line in _map(values, indent="", path=""))


def _map(values: Mapping[str, Any], *, indent: str, path: str) -> Iterator[str]:
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value and (not indent or _is_deep(value)):
            yield f"{indent}{_text(str(key))}:"
            yield from _map(value, indent=indent + _STEP, path=where)
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            yield f"{indent}{_text(str(key))}:"
            for number, each in enumerate(value):
                yield f"{indent}{_STEP}- {_flow(each, path=f'{where}[{number}]')}"
        else:
            yield f"{indent}{_text(str(key))}: {_flow(value, path=where)}"


def _is_deep(value: Mapping[str, Any]) -> bool:
    return any(isinstance(each, Mapping) for each in value.values())


def _flow(value: Any, *, path: str) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_text(str(key))}: {_flow(each, path=f'{path}.{key}')}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(each, path=f'{path}[{number}]') for number, each in enumerate(value))}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _text(value)
    raise TypeError(f"{path}: a {type(value).__name__} cannot be a parameter's value")


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def _text(text: str) -> str:
    """Text as a plain word where YAML reads it as one, and else in double quotes."""
    if _PLAIN.fullmatch(text) and not text.endswith(":") and CORE.tag(text) == PYYAML.tag(text) == "str":
        return text
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 1 << 16 else f"\\U{ord(letter):08x}"
