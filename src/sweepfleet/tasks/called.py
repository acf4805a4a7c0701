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


def collection_of(tasks: Iterable[str], known: Iterable[str]) -> str:
    """The collection that the user has put our tasks into, with its dot: `fleet.`; empty for none.

    Args:
        tasks: ours, by the names that we give them.
        known: all tasks that can be called, by their names.
    """
    ours, there = set(tasks), set(known)
    ends = {name[: -len(task)] for name in there for task in ours if name.endswith(task)}
    found = {end: len(ours & {name.removeprefix(end) for name in there}) for end in ends if end[-1:] in ("", ".")}
    return max(sorted(found, key=len), key=lambda end: found[end], default="")  # nearest to the root, of equals


def renamer(command: str, tasks: Iterable[str], *, collection: str = "") -> Callable[[str], str]:
    """What puts `command` in the place of `inv` where a task of ours follows, and the task's collection before it."""
    names = "|".join(sorted(map(re.escape, tasks), key=len, reverse=True))
    flag, task = "(?P<flag>--list|--help)", f"(?:{re.escape(collection)})?(?P<task>{names})"
    written = re.compile(rf"(?<![\w./-])(?<!uv run ){WRITTEN} (?:{flag}|{task})\b")
    return lambda text: written.sub(lambda seen: f"{command} {seen['flag'] or collection + seen['task']}", text)


def propose_as_called(tasks: Iterable[str], *, collection: str = "") -> None:
    """Have both standard streams write commands as the user calls them.

    Args:
        tasks: ours, by the names that we give them.
        collection: that the user has put them into, as of `collection_of`.
    """
    command = called()
    if command == WRITTEN and not collection:
        return
    rename = renamer(command, tasks, collection=collection)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Renaming):
            setattr(sys, name, _Renaming(stream, rename))


def as_called(text: str) -> str:
    """A text that goes elsewhere than to a stream, with commands as the user calls them."""
    return sys.stdout.rename(text) if isinstance(sys.stdout, _Renaming) else text


class _Renaming(io.TextIOWrapper):
    """A standard stream, in the place of the one before."""

    def __init__(self, before: io.TextIOWrapper, rename: Callable[[str], str]) -> None:
        self.rename = rename
        settings = {"encoding": before.encoding, "errors": before.errors, "line_buffering": before.line_buffering}
        before.flush()
        super().__init__(before.buffer, write_through=before.write_through, **settings)  # type: ignore[arg-type]
        self.mode = before.mode  # type: ignore[misc]
        self._before = before  # which would close the file when it goes

    def write(self, text: str, /) -> int:
        super().write(self.rename(text))
        return len(text)
