"""Collects the mistakes of a grid file, each with its place, and the words that messages are made of."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable

from ruamel.yaml.nodes import Node

from grid.errors import Problem
from grid.plan import Value
from grid.yamlfile import Path, find, key_text, line_of

MOST_PROBLEMS = 100  # that one message tells
_SHOWN = 60  # characters of a value in a message
_LISTED = 12  # names in a message


class Report:
    """All problems of one sweep, in the order of their lines, none of them twice.

    `root` is the file's tree; `typed` the paths that the command line set, with the text that did it.
    """

    def __init__(self, root: Node | None, typed: dict[Path, str] | None = None) -> None:
        self._root = root
        self.typed = typed if typed is not None else {}
        self.renamed: dict[Path, Path] = {}  # mended key to the key as written
        self._problems: dict[Problem, None] = {}
        self.warnings: list[str] = []

    def add(self, path: Path, message: str, remedy: str) -> None:
        """Note a mistake at a path of the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.typed:
                self.note(Problem(self.typed[path[:length]], message, remedy))
                return
        written = path
        for length in range(len(path), 0, -1):
            if path[:length] in self.renamed:
                written = self.renamed[path[:length]] + path[length:]
                break
        node, _ = find(self._root, written)
        self.note(Problem(key_text(written), message, remedy, line_of(node) if node is not None else None))

    def is_typed(self, path: Path) -> bool:
        """Whether the command line set this, something inside it, or what it is inside."""
        return any(path[: len(typed)] == typed[: len(path)] for typed in self.typed)

    def note(self, problem: Problem) -> None:
        """Note a mistake that already knows its place."""
        self._problems[problem] = None

    def warn(self, text: str) -> None:
        """Note what works, but not as its writer may think."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def problems(self) -> list[Problem]:
        """All problems: those of the file by line, then those of the command line."""
        ordered = sorted(self._problems, key=lambda problem: (problem.line is None, problem.line or 0))
        return ordered[:MOST_PROBLEMS]


def show(value: Value) -> str:
    """A value as a reader of YAML writes it, on one line and not too long."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    text = " ".join(text.split())
    return f"`{text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}`" if text else "an empty text"


def close(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like a word; None when none does."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def nearest(word: str, known: Collection[str], *, what: str) -> str:
    """What to write instead of an unknown name: the nearest, or all there are."""
    found = close(word, known)
    if found is not None:
        return f"Did you mean `{found}`?"
    return f"The {what} are {choices(known)}." if known else f"There are no {what} here."


def choices(names: Collection[str]) -> str:
    """Some names, for a message."""
    listed = ", ".join(list(names)[:_LISTED])
    return f"{listed}, and {len(names) - _LISTED} more" if len(names) > _LISTED else listed
