"""Collects the mistakes in a grid file, with their places."""

from __future__ import annotations

from ruamel.yaml.nodes import Node

from sweepfleet.grid.errors import Problem
from sweepfleet.grid.yamlfile import Path, find, key_text, line_of

MOST_PROBLEMS = 100  # in one message


class Report:
    """All problems of a sweep, by line, without repeats.

    `root` is the file's tree; `typed` the paths that the command line set, with the text that did it.
    """

    def __init__(self, root: Node | None, typed: dict[Path, str] | None = None) -> None:
        self._root = root
        self.typed = typed if typed is not None else {}
        self.renamed: dict[Path, Path] = {}  # corrected key to the key as written
        self._problems: dict[Problem, None] = {}
        self.warnings: list[str] = []

    def add(self, path: Path, message: str, remedy: str) -> None:
        """Add a mistake at a path of the file."""
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
        """Add a problem that already has its place."""
        self._problems[problem] = None

    def warn(self, text: str) -> None:
        """Add a warning: this works, but perhaps not as intended."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def problems(self) -> list[Problem]:
        """All problems: those of the file by line, then those of the command line."""
        ordered = sorted(self._problems, key=lambda problem: (problem.line is None, problem.line or 0))
        return ordered[:MOST_PROBLEMS]
