"""Watches a run on the cluster: the same bar as for a run on this machine, and a new try when the line breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from fleet import runs, workers
from fleet.errors import ClusterError
from fleet.fleet import Fleet
from fleet.remote import HostKeyError
from fleet.runs import State
from sweep.driver import Progress
from sweep.progress import Bar, Lines, Observer, Silent, Words

TRIES = 120  # to get a broken line back, RETRY_S apart: a head that reboots, a laptop that changes networks
RETRY_S = 5.0
CAUSE_EVERY_S = 15.0


class FarWords(Words):
    """The words of a run whose driver is elsewhere: it says itself which point is the best."""

    def __init__(self) -> None:
        self.said = ""

    def best(self, progress: Progress) -> str:  # noqa: ARG002 - as its parent has it
        """The best point so far, as the driver put it."""
        return self.said


def observer_of(words: Words, *, quiet: bool) -> Observer:
    """What suits where standard output goes."""
    if quiet:
        return Silent()
    console = Console()
    return Bar(words, console) if console.is_terminal else Lines(words)


def watch(fleet: Fleet, name: str, *, quiet: bool) -> State:
    """Show a run's progress until it has ended; returns its last state.

    Raises:
        ClusterError: the head could not be reached for ten minutes; the run goes on.
    """
    words = FarWords()
    show = observer_of(words, quiet=quiet)
    began = datetime.now(UTC)
    last: State | None = None
    broken = 0
    waiting = _Waiting(fleet, began, show.say)
    with show.running():
        while True:
            try:
                with fleet.head() as head:
                    for last in runs.follow(head, name):
                        broken = 0
                        waiting.look(last)
                        if last.progress is not None:
                            words.said = last.best
                            show.update(progress_of(last.progress))
                if last is not None and last.ended:
                    return last
                raise ClusterError("the head said nothing more")  # noqa: TRY301 - handled as a broken line is
            except HostKeyError:
                raise
            except ClusterError as error:
                broken += 1
                if broken == 1:
                    show.say(f"The connection is lost ({error}); the sweep goes on, trying again")
                if broken > TRIES:
                    raise ClusterError(
                        f"{error} The sweep goes on; watch it again: inv attach --name {name}"
                    ) from None
                time.sleep(RETRY_S)


class _Waiting:
    """Says once what a run waits for, and why it has to."""

    def __init__(self, fleet: Fleet, since: datetime, say: Callable[[str], None]) -> None:
        self._fleet, self._since, self._say = fleet, since, say
        self._said: set[str] = set()
        self._next_s = time.monotonic() + CAUSE_EVERY_S

    def look(self, state: State) -> None:
        """Look at a state."""
        if state.state != "waiting":
            return
        self._once(f"Waiting for {state.waiting_for}")
        if state.waiting_for == "workers" and time.monotonic() > self._next_s:
            self._next_s = time.monotonic() + CAUSE_EVERY_S
            reason = workers.why_none(self._fleet.cloud, self._fleet.outputs, since=self._since)
            if reason:
                self._once(f"AWS says: {reason}")

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def progress_of(said: dict[str, Any]) -> Progress:
    """A driver's progress out of JSON; what a later version may have added is left aside."""
    known = {name: value for name, value in said.items() if name in Progress.__dataclass_fields__}
    best = known.pop("best", None)
    return Progress(**known, best=tuple(best) if best else None)
