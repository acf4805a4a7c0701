"""How the user called the command: what is proposed to be typed next begins likewise."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

WRITTEN = "inv"  # as our messages have it
UNDER_UV = "UV_RUN_RECURSION_DEPTH"  # which `uv run` sets


def called() -> str:
    """The words before the task: `inv`, `sweepfleet`, `uv run sweepfleet`..."""
    program = Path(sys.argv[0])
    ours = program.stem == "sweepfleet" or program.parts[-2:] == ("sweepfleet", "__main__.py")
    name = "sweepfleet" if ours else WRITTEN
    return f"uv run {name}" if os.environ.get(UNDER_UV) else name


def renamer(command: str, tasks: Iterable[str]) -> Callable[[str], str]:
    """What puts `command` in the place of `inv` where a task of ours follows."""
    names = "|".join(sorted(map(re.escape, tasks), key=len, reverse=True))
    written = re.compile(rf"(?<![\w./-]){WRITTEN} (?=(?:{names}|--list|--help)\b)")
    return lambda text: written.sub(f"{command} ", text)


def propose_as_called(tasks: Iterable[str]) -> None:
    """Have both standard streams write commands as the user calls them."""
    command = called()
    if command == WRITTEN:
        return
    rename = renamer(command, tasks)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Renaming):
            setattr(sys, name, _Renaming(stream, rename))


class _Renaming(io.TextIOWrapper):
    """A standard stream, in the place of the one before."""

    def __init__(self, before: io.TextIOWrapper, rename: Callable[[str], str]) -> None:
        self._rename = rename
        settings = {"encoding": before.encoding, "errors": before.errors, "line_buffering": before.line_buffering}
        before.flush()
        super().__init__(before.buffer, write_through=before.write_through, **settings)  # type: ignore[arg-type]
        self.mode = before.mode  # type: ignore[misc]
        self._before = before  # which would close the file when it goes

    def write(self, text: str, /) -> int:
        super().write(self._rename(text))
        return len(text)
