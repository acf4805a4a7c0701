"""What a command that takes a while is doing: on a terminal one line that changes, elsewhere a line for each step.

No ten seconds are silent: the terminal's line counts the time; elsewhere, a step that lasts is printed again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from sweepfleet.run.text import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

EVERY_S = 10.0


class Steps:
    """Shows the step that is being done, within a `with` block; thread-safe."""

    def __init__(
        self,
        *,
        say: Callable[[str], None] | None = None,
        console: Console | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        """Show it where `console` writes.

        Args:
            say: prints a line that stays; by default it goes where `console` writes.
            console: by default standard output.
            every_s: after so long, a step that lasts is printed again where there is no terminal.
        """
        from rich.console import Console  # which commands without steps need not load

        self._console = console or Console()
        self._say = say
        self._every_s = every_s
        self._lock = threading.Lock()
        self._text = ""
        self._since_s = self._printed_s = 0.0
        self._ended = threading.Event()
        self._bar: Progress | None = None
        self._heart = threading.Thread(target=self._beat, daemon=True)
        if self._console.is_terminal:
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        else:
            self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str) -> None:
        """The next step begins."""
        with self._lock:
            self._text, self._since_s = text, time.monotonic()
            if self._bar is None:
                self._print(text)
            else:
                self._bar.reset(self._task, description=text, visible=True)

    def update(self, text: str) -> None:
        """How far the step is, or what it is at: the same step in other words."""
        with self._lock:
            self._text = text
            if self._bar is not None:
                self._bar.update(self._task, description=text)

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._say is not None:
            self._say(text)
        else:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._console.file.flush()
        self._printed_s = time.monotonic()

    def _beat(self) -> None:
        left_s = self._every_s
        while not self._ended.wait(left_s):
            with self._lock:
                if not self._text or self._ended.is_set():
                    continue
                left_s = self._printed_s + self._every_s - time.monotonic()
                if left_s <= 0:
                    self._print(f"{self._text} ({duration(time.monotonic() - self._since_s)})")
                    left_s = self._every_s


class StepLines:
    """A machine's output as steps: a line is a step of its own, an indented one says what that step is at."""

    def __init__(self, steps: Steps, *, named: Callable[[str], str]) -> None:
        """Show what is written; `named` says a line in the words of the command."""
        self._steps, self._named = steps, named
        self._rest = self._step = ""

    def write(self, text: str) -> int:
        """Take some output, whole lines or not."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            words = line.strip()
            if words and line.startswith(" ") and self._step:
                self._steps.update(f"{self._step}: {words}")
            elif words:
                self._step = self._named(words)
                self._steps.step(self._step)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back but half a line."""
