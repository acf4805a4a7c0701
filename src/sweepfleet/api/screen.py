"""Shows a sweep's progress: a bar on a terminal, lines in a log, one changing line in a notebook."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Iterator
from typing import Any

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.progress import Observer, Words, observer
from sweepfleet.run.run_progress import Progress

REFRESH_S = 0.5


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def is_interactive() -> bool:
    """Whether a person types the next command into this process, as in a prompt or a notebook."""
    ipython = sys.modules.get("IPython")
    return hasattr(sys, "ps1") or (ipython is not None and ipython.get_ipython() is not None)


def screen_for(sweep: Sweep) -> Observer:
    """The observer for where this process writes."""
    if in_notebook():
        return NotebookLine(Words(Space(sweep.plan), sweep.metric))
    return observer(Space(sweep.plan), sweep.metric, quiet=False)


class NotebookLine:
    """One line under the cell, which changes."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._handle: Any = None
        self._next_s = 0.0
        self._last: Progress | None = None

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, flush=True)

    def _draw(self, text: str) -> None:
        import IPython.display

        shown = {"text/plain": text, "text/html": f"<code>{html.escape(text)}</code>"}
        if self._handle is None:
            display: Any = IPython.display.display
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def update(self, progress: Progress) -> None:
        """Change the line when it is time."""
        self._last = progress
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + REFRESH_S
            self._draw(self._words.line(progress))

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show what is waited for, then the progress again."""
        self._draw(f"{what} ...")
        yield
        self._draw(self._words.line(self._last) if self._last is not None else "")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The last state stays."""
        yield
        if self._last is not None:
            self._draw(self._words.line(self._last))
