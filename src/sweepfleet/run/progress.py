"""Progress output: a bar on a terminal, plain lines elsewhere, nothing for --json."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.grid.wording import counted
from sweepfleet.run.run_progress import EFFICIENCY_AFTER_S, Progress
from sweepfleet.run.text import duration, number, params_text

LINE_S = 5.0
QUIET_LINE_S = 60.0  # while no point ends
AS_A_TERMINAL = frozenset({"FORCE_COLOR", "TTY_COMPATIBLE"})  # by which rich takes what is none for a terminal


class Observer(Protocol):
    """Receives a sweep's progress."""

    def say(self, text: str) -> None:
        """One line to a person."""

    def update(self, progress: Progress) -> None:
        """Show the current progress."""

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Context for a step without other output."""
        ...

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Context in which points run."""
        ...


class Silent:
    """Shows nothing on standard output; messages go to standard error."""

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
        from sweepfleet.run.live_best import shown_params  # which brings numpy

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

    def waits(self, progress: Progress) -> str:
        """What finished points wait for, and how long already."""
        if not progress.waits or progress.waits_since is None:
            return progress.waits
        return f"{progress.waits}, for {duration(max(0.0, time.time() - progress.waits_since))}"

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
            parts.append((f"{counted(progress.losses, 'point')} run again", "yellow"))
        if progress.efficiency is not None and progress.wall_s >= EFFICIENCY_AFTER_S:
            parts.append((f"efficiency {progress.efficiency:.0%}", "dim"))
        if progress.running:
            parts.append((f"{progress.running:,} running, longest {duration(progress.longest_s)}", "cyan"))
        return parts

    def line(self, progress: Progress) -> str:
        """All of it in one line."""
        ended, about = progress.done + progress.failed, "" if progress.exact else "about "
        parts = [f"{ended:,} of {about}{progress.total:,}", *(text for text, _ in self.counts(progress))]
        parts += [self.rate(progress), self.best(progress), self.waits(progress)]
        return " · ".join(part for part in parts if part)


class Lines:
    """A plain line every few seconds, for logs."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._next_s = 0.0
        self._said_s = -QUIET_LINE_S
        self._ended = -1  # points, when the last line was written
        self._waits = ""  # what was waited for then
        self._closed = False

    def say(self, text: str) -> None:
        """One line to a person."""
        self._print(text)

    def _print(self, text: str) -> None:
        if not self._closed:
            try:
                print(text, flush=True)
            except BrokenPipeError:  # `| head`: the sweep continues without a reader
                self._closed = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def update(self, progress: Progress) -> None:
        """Print a line when it is time."""
        now_s, ended = time.monotonic(), progress.done + progress.failed
        # While points are long, what runs is all that changes: that is worth a line a minute.
        same = ended == self._ended and bool(progress.waits) == bool(self._waits)
        if now_s < self._next_s or (same and now_s < self._said_s + QUIET_LINE_S):
            return
        self._next_s, self._said_s, self._ended, self._waits = now_s + LINE_S, now_s, ended, progress.waits
        self._print(self._words.line(progress))

    def waiting(self, what: str) -> contextlib.AbstractContextManager[object]:  # noqa: ARG002 - the protocol's
        """A log needs no line for a few seconds of silence."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Lines need no preparation."""
        self._next_s = time.monotonic() + 1.0
        yield


def observer(space: Space, metric: Metric | None, *, quiet: bool) -> Observer:
    """The observer for standard output."""
    if quiet:
        return Silent()
    words = Words(space, metric)
    if sys.stdout.isatty() or not AS_A_TERMINAL.isdisjoint(os.environ):
        from rich.console import Console

        from sweepfleet.run.bar import Bar

        console = Console()
        if console.is_terminal:
            return Bar(words, console)
    return Lines(words)
