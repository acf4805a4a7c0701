"""JSON that a command printed: a value, or what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

GLANCE = 1000  # characters
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
LEADING_ZERO = re.compile(r"[+-]?0\d")
_NOT_FINITE = re.compile(r"([+-]?)(?:(nan)|inf(?:inity)?)", re.IGNORECASE)


_MAX_DIGITS = 4000  # of an integer; Python itself reads no more than 4,300


def decoded(text: str, start: int, end: int) -> tuple[Any, str]:
    """The value of a piece of text, or what is wrong with it."""
    piece = text[start:end]
    try:
        return json.loads(piece, object_pairs_hook=_distinct, parse_float=_float, parse_int=_int), ""
    except json.JSONDecodeError as error:
        return None, f"{error.msg} at {piece[error.pos : error.pos + 20]!r} in {shortened(piece)}"
    except RecursionError:
        return None, "it is nested too deeply"
    except ValueError as error:
        return None, f"{error} in {shortened(piece)}"


def truncation(text: str, start: int) -> str:
    """What is wrong with text from a bracket that nothing closes, if an object or list is cut off there."""
    problem = f"it is not closed: {shortened(text[start : start + GLANCE])}"
    if text[start] == "{" and not text[text.rfind("\n", 0, start) + 1 : start].strip():
        return problem  # on a line of its own
    for stop in (start + GLANCE, len(text)):  # most are not JSON, which shows soon
        piece = text[start:stop].rstrip()
        try:
            json.loads(piece)
        except json.JSONDecodeError as error:
            if error.pos < len(piece) and not error.msg.startswith(("Unterminated string", "Invalid control")):
                return ""
        except (ValueError, RecursionError):
            return problem
    return problem


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return found


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shortened(text)} is larger than a float")
    return number


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(text):,} digits; the limit is {_MAX_DIGITS:,}")
    return int(text)


def number_of(text: str) -> int | float | None:
    """The last line that is not empty, if it is one number and nothing else. Raises ValueError: it is too large."""
    line = text.rstrip().rpartition("\n")[2].strip()
    odd = _NOT_FINITE.fullmatch(line)
    if odd is not None:
        return math.nan if odd[2] else -math.inf if odd[1] == "-" else math.inf
    if not NUMBER.fullmatch(line) or LEADING_ZERO.match(line):
        return None
    return _int(line) if line.lstrip("+-").isdecimal() else _float(line)


def shortened(text: str) -> str:
    """Its first 60 characters, on one line."""
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else f"{text[:57]}..."
