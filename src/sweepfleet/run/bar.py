"""A sweep's progress on a terminal: a bar that is redrawn in place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweepfleet.run.progress import Words
from sweepfleet.run.run_progress import Progress

REFRESH_S = 0.5


class Bar:
    """A bar and two lines under it, redrawn in place."""

    def __init__(self, words: Words, console: Console) -> None:
        self._words = words
        self._console = console
        self._next_s = 0.0
        self._live: Live | None = None
        self._last: Progress | None = None

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, progress: Progress) -> None:
        """Redraw when it is time."""
        self._last = progress
        if self._live is not None and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + REFRESH_S
            self._live.update(self._draw(progress), refresh=True)

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Show a spinner, and remove it at the end."""
        return self._console.status(what)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Draw while points run; the last state stays on the screen."""
        with Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None
                if self._last is not None:
                    live.update(self._draw(self._last), refresh=True)

    def _draw(self, progress: Progress) -> Table:
        ended = progress.done + progress.failed
        first = Table.grid(padding=(0, 1), expand=True)
        first.add_column(ratio=1)
        for _ in range(3):
            first.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=max(1, progress.total), completed=min(ended, progress.total))
        share = min(1.0, ended / max(1, progress.total))
        about = "" if progress.exact else "~"
        of = f"{ended:,}/{about}{progress.total:,}"
        first.add_row(bar, f"{share:.0%}", of, self._words.rate(progress))
        second = Text(" · ").join(Text(text, style=style) for text, style in self._words.counts(progress))
        if progress.stopping:
            second = Text("stopping; finished points are kept · ", style="yellow") + second
        drawn = Table.grid(expand=True)
        drawn.add_row(first)
        drawn.add_row(second)
        if waits := self._words.waits(progress):
            drawn.add_row(Text(waits, style="yellow"))
        best = self._words.best(progress)
        if best:
            drawn.add_row(Text(best, style="cyan", overflow="ellipsis", no_wrap=True))
        return drawn
