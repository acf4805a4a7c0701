"""What a person sees while a sweep runs: a bar on a terminal, plain lines elsewhere, nothing for a script."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grid.space import Space
from grid.sweep import Metric
from sweep.live_best import shown_params
from sweep.run_progress import Progress
from sweep.text import params_text

REFRESH_S = 0.5
LINE_S = 5.0
QUIET_LINE_S = 60.0  # while no point ends


class Observer(Protocol):
    """Is told how the sweep is doing."""

    def say(self, text: str) -> None:
        """One line to a person."""

    def update(self, progress: Progress) -> None:
        """Something happened, or some time went by."""

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Around a time in which nothing else can be seen."""
        ...

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Around the time in which points run."""
        ...


class Silent:
    """Shows nothing on standard output; what is said goes to standard error."""

    def say(self, text: str) -> None:
        """One line to a person."""
        print(text, file=sys.stderr)

    def update(self, progress: Progress) -> None:
        """Nothing."""

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:  # noqa: ARG002 - the protocol's
        """Nothing."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Nothing."""
        yield


class Words:
    """The parts that the bar and the lines share."""

    def __init__(self, space: Space, metric: Metric | None) -> None:
        self._space = space
        self._metric = metric
        self._shown: tuple[int, str] | None = None

    def rate(self, progress: Progress) -> str:
        """Points a second in this command, and when it will have ended."""
        if not progress.computed or progress.first_submit_s is None:
            return "" if progress.running else "starting"
        spent_s = max(1e-6, time.time() - progress.first_submit_s)
        rate = progress.computed / spent_s
        left = max(0, progress.total - progress.done - progress.failed)
        eta = "" if progress.stopping else f" · {'' if progress.exact else '~'}{duration(left / rate)} left"
        return f"{number(rate)} points/s{eta}"

    def best(self, progress: Progress) -> str:
        """The best configuration so far, of those that have all of their points."""
        if progress.best is None or self._metric is None:
            return ""
        value, index, points = progress.best
        if self._shown is None or self._shown[0] != index:
            params = shown_params(self._space.point(index).params, self._metric)
            self._shown = index, params_text(params, digits=4)
        so_far = (
            "best" if progress.best_of_all else "best of this command:" if progress.resumed else "best of a part:"
        )
        mean = f" (mean of {points:,})" if points > 1 else ""
        params_said = f" at {self._shown[1]}" if self._shown[1] else ""
        return f"{so_far} {self._metric.name} {value * self._metric.sign:.6g}{mean}{params_said}"

    def counts(self, progress: Progress) -> list[tuple[str, str]]:
        """Words and their styles."""
        parts = [(f"{progress.done:,} done", "green")]
        if progress.resumed:
            parts.append((f"{progress.resumed:,} of them before", "dim"))
        if progress.failed:
            parts.append((f"{progress.failed:,} failed", "bold red"))
        if progress.retried:
            parts.append((f"{progress.retried:,} retried", "yellow"))
        if progress.losses:
            parts.append((f"{progress.losses:,} lost and run again", "yellow"))
        if progress.efficiency is not None:
            parts.append((f"efficiency {progress.efficiency:.0%}", "dim"))
        if progress.running:
            parts.append((f"{progress.running:,} running, longest {duration(progress.longest_s)}", "cyan"))
        return parts


class Lines:
    """A plain line every few seconds, for logs."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._next_s = 0.0
        self._said_s = -QUIET_LINE_S
        self._ended = -1  # points, when the last line was written
        self._closed = False

    def say(self, text: str) -> None:
        """One line to a person."""
        self._print(text)

    def _print(self, text: str) -> None:
        if not self._closed:
            try:
                print(text, flush=True)
            except BrokenPipeError:  # `| head`: the sweep goes on, and nobody reads of it
                self._closed = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def update(self, progress: Progress) -> None:
        """Print a line when it is time."""
        now_s, ended, words = time.monotonic(), progress.done + progress.failed, self._words
        # While points are long, what runs is all that changes: that is worth a line a minute.
        if now_s < self._next_s or (ended == self._ended and now_s < self._said_s + QUIET_LINE_S):
            return
        self._next_s, self._said_s, self._ended = now_s + LINE_S, now_s, ended
        about = "" if progress.exact else "about "
        parts = [f"{ended:,} of {about}{progress.total:,}", *(text for text, _ in words.counts(progress))]
        parts += [words.rate(progress), words.best(progress)]
        self._print(" · ".join(part for part in parts if part))

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:  # noqa: ARG002 - the protocol's
        """A log needs no line for a few seconds of silence."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Lines need no preparation."""
        self._next_s = time.monotonic() + 1.0
        yield


class Bar:
    """A bar and two lines under it, redrawn in place."""

    def __init__(self, words: Words, console: Console) -> None:
        self._words = words
        self._console = console
        self._next_s = 0.0
        self._live: Live | None = None
        self._last: Progress | None = None

    def say(self, text: str) -> None:
        """One line to a person, above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, progress: Progress) -> None:
        """Redraw when it is time."""
        self._last = progress
        if self._live is not None and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + REFRESH_S
            self._live.update(self._draw(progress), refresh=True)

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:
        """A spinner that goes away."""
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
        best = self._words.best(progress)
        if best:
            drawn.add_row(Text(best, style="cyan", overflow="ellipsis", no_wrap=True))
        return drawn


def observer(space: Space, metric: Metric | None, *, quiet: bool) -> Observer:
    """What suits where standard output goes."""
    if quiet:
        return Silent()
    words = Words(space, metric)
    console = Console()
    return Bar(words, console) if console.is_terminal else Lines(words)


def number(value: float) -> str:
    """A rate as a person reads it: three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """A time as a person reads it: its two largest units."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = round(seconds)
    for place, (name, size) in enumerate(units):
        if whole >= size:
            count, rest = divmod(whole, size)
            if place + 1 < len(units) and (smaller := rest // units[place + 1][1]):
                return f"{count:,} {name} {smaller} {units[place + 1][0]}"
            return f"{count:,} {name}"
    return "0 s"
