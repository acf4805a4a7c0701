"""What an unquoted word of YAML is: under YAML 1.2's core schema, or as PyYAML reads it, which W&B uses (YAML 1.1).

`CORE`: `1e-4` is a number, `no`, `1_000` and `2024-01-01` are words. `PYYAML`: `no` and `off` are false, `010` is 8,
`1_000` is 1000, `1:30` is 90, and `1e-4` is a word. Dates are words in both: W&B sends them on as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sweepfleet.grid.plan import Value

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUES = frozenset({"true", "True", "TRUE"})
_FALSES = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
# Those of PyYAML's resolver.py, of which every release since 2006 has had the same.
_OLD_TRUES = _TRUES | {"yes", "Yes", "YES", "on", "On", "ON"}
_OLD_FALSES = _FALSES | {"no", "No", "NO", "off", "Off", "OFF"}
_OLD_INT = re.compile(
    r"[-+]?(?:0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)", re.ASCII
)
_OLD_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Scalars:
    """A schema of unquoted words."""

    trues: frozenset[str]
    falses: frozenset[str]
    int_form: re.Pattern[str]
    float_form: re.Pattern[str]
    int_of: Callable[[str], int]
    float_of: Callable[[str], float]

    def tag(self, text: str) -> str:
        """What a word is: null, bool, int, float or str."""
        if text in _NULLS:
            return "null"
        if text in self.trues or text in self.falses:
            return "bool"
        if self.int_form.fullmatch(text):
            return "int"
        return "float" if self.float_form.fullmatch(text) else "str"

    def typed(self, tag: str, text: str) -> Value:
        """The value of `text` read as `tag`. Raises ValueError or KeyError when it cannot be."""
        match tag:
            case "str":
                return text
            case "null":
                return None
            case "bool" if text in self.trues or text in self.falses:
                return text in self.trues
            case "int":
                return self.int_of(text)
            case "float":
                return self.float_of(text)
        raise KeyError(tag)

    def value(self, text: str) -> Value:
        """The value of an unquoted word. Raises ValueError past 4300 digits."""
        return self.typed(self.tag(text), text)


def _int(text: str) -> int:
    if text[:2] in {"0o", "0x"}:
        return int(text[2:], 8 if text[1] == "o" else 16)
    return int(text)


def _float(text: str) -> float:
    return float(text.replace(".", "", 1)) if text.lstrip("+-.")[:1] in tuple("iInN") else float(text)


def _old_int(text: str) -> int:
    digits = text.replace("_", "").lstrip("+-")
    if digits.startswith(("0b", "0x")):
        number = int(digits, 0)
    elif digits.startswith("0"):
        number = int(digits, 8)
    else:
        number = int(_sexagesimal(digits, int)) if ":" in digits else int(digits)
    return -number if text.startswith("-") else number


def _old_float(text: str) -> float:
    plain = text.replace("_", "")
    if ":" in plain:
        number = _sexagesimal(plain.lstrip("+-"), float)
        return -number if plain.startswith("-") else number
    return _float(plain)


def _sexagesimal(text: str, of: Callable[[str], float]) -> float:
    """1:30 is 90, as in hours, minutes and seconds."""
    number = of("0")
    for part in text.split(":"):
        number = number * 60 + of(part)
    return number


CORE = Scalars(_TRUES, _FALSES, _INT, _FLOAT, _int, _float)
PYYAML = Scalars(_OLD_TRUES, _OLD_FALSES, _OLD_INT, _OLD_FLOAT, _old_int, _old_float)
