"""Helpers for the words of messages."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable
from pathlib import Path

from sweepfleet.grid.plan import Value

_SHOWN = 60  # characters of a value in a message
_LISTED = 12  # names in a message


def show(value: Value) -> str:
    """A value as a reader of YAML writes it, on one line and not too long."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    text = " ".join(text.split())
    return f"`{text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}`" if text else "an empty text"


def close(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to a word; None when none is."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def nearest(word: str, known: Collection[str], *, what: str) -> str:
    """What to write instead of an unknown name: the nearest one, or all."""
    found = close(word, known)
    if found is not None:
        return f"Did you mean `{found}`?"
    return f"The {what} are {choices(known)}." if known else f"There are no {what} here."


def choices(names: Collection[str]) -> str:
    """Some names, for a message."""
    listed = ", ".join(list(names)[:_LISTED])
    return f"{listed}, and {len(names) - _LISTED} more" if len(names) > _LISTED else listed


def counted(number: float, noun: str) -> str:
    """A number of things in words: `1 worker`, `1,200 workers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def from_here(path: Path) -> str:
    """A path as short as it can be from the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
