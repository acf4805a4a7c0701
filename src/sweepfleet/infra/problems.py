"""What can be wrong with a stack's settings, each with the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot be used: what was seen, what is allowed, and the command that mends it."""

    key: str
    message: str
    example: str | tuple[str, ...] = ""  # a value that would do; empty where the message holds the remedy
    place: int | None = None  # in a list: which of its values; without an example, that one is to go

    def __str__(self) -> str:
        commands = "".join(f"\n      {command}" for command in self.commands)
        return f"{self.key}: {self.message}{commands}"

    @property
    def commands(self) -> list[str]:
        """The lines to type; a list is set by its places, as Pulumi wants it."""
        if self.place is None:
            return set_commands(self.key, self.example)
        path = f"--path '{self.key}[{self.place}]'"
        if isinstance(self.example, str) and self.example:
            return [f"pulumi config set {path} {shlex.quote(self.example)}"]
        return [f"pulumi config rm {path}"]


def set_commands(key: str, value: str | tuple[str, ...]) -> list[str]:
    """The lines to type that set a key."""
    if isinstance(value, str):
        return [f"pulumi config set {key} {shlex.quote(value)}"] if value else []
    return [f"pulumi config set --path '{key}[{place}]' {shlex.quote(one)}" for place, one in enumerate(value)]


class SettingsError(Exception):
    """Settings that cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} in the stack's settings; nothing was changed.\n{lines}")
