"""Watches a run on the cluster: the same bar as for a run on this machine, and a new try when the line breaks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from rich.console import Console

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.host_keys import HostKeyError
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.runs.jobs import State, progress_of
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.workers import group as workers
from sweepfleet.grid.errors import UsageError
from sweepfleet.run.bar import Bar
from sweepfleet.run.progress import Lines, Observer, Silent, Words
from sweepfleet.run.run_progress import Progress

PATIENCE_S = 600.0  # to get a broken line back: a head that reboots, a laptop that changes networks
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
    """The observer for standard output."""
    if quiet:
        return Silent()
    console = Console()
    return Bar(words, console) if console.is_terminal else Lines(words)


def watch(
    fleet: Fleet, name: str, *, quiet: bool = False, screen_of: Callable[[Words], Observer] | None = None
) -> State:
    """Show a run's progress until it has ended; returns its last state.

    Args:
        fleet: the cluster.
        name: of the run.
        quiet: show nothing on standard output.
        screen_of: makes what shows it instead; by default a bar on a terminal, and lines elsewhere.

    Raises:
        HostKeyError: the head is another machine than it was.
        DownError: the stack was taken down.
        ClusterError: the head could not be reached for ten minutes; the run goes on.
    """
    words = FarWords()
    with _Screen(screen_of(words) if screen_of else observer_of(words, quiet=quiet)) as screen:
        waiting = _Waiting(fleet, datetime.now(UTC), screen.say)
        heard_s, lost = time.monotonic(), False
        while True:
            try:
                with fleet.head() as head:
                    for state in runs.follow(head, name):
                        if lost:
                            screen.say("The connection is back.")
                        heard_s, lost = time.monotonic(), False
                        if state.calls is not None:
                            raise UsageError(of_an_executor(name))
                        waiting.look(state)
                        words.said = state.best
                        screen.show(state)
                        if state.ended:
                            return state
                raise ClusterError("The head stopped answering.")  # noqa: TRY301 - handled as a broken line is
            except (HostKeyError, DownError):
                raise
            except ClusterError as error:
                gone = isinstance(error, GoneError)
                if not lost:
                    what = "The head is gone" if gone else "The connection is lost; the sweep is running"
                    screen.say(f"{what}. Trying again. ({error})")
                lost = True
                if time.monotonic() - heard_s > PATIENCE_S:
                    rest = "The run waits for a head." if gone else "The sweep is running."
                    raise ClusterError(f"{error} {rest} Watch it again: inv attach --name {name}") from None
                time.sleep(RETRY_S)
                if gone:  # this checkout may have made another one meanwhile
                    fleet = replace(fleet, outputs=fleet.folder.outputs() or fleet.outputs)


def of_an_executor(name: str) -> str:
    """Why a run of calls cannot be watched."""
    return (
        f"The run {name} has an Executor's calls, whose results come to the program that submits them: "
        f'sweepfleet.Executor(run="{name}", stack=...). See: inv status · Cancel: inv cancel --name {name}'
    )


class _Screen:
    """Shows one thing at a time, as a run on this machine does: what is waited for, or the bar."""

    def __init__(self, observer: Observer) -> None:
        self.say = observer.say
        self._observer = observer
        self._open = contextlib.ExitStack()
        self._what = ""
        self._drawn = False  # whether there has been a bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def show(self, state: State) -> None:
        """Show a state of the run; a sweep that ended between two looks has its bar, too."""
        running = state.state == "running"
        bar = self._what == "running"
        if state.progress is not None and (running or bar or (state.ended and not self._drawn)):
            if not bar:
                self._switch("running", self._observer.running())
                self._drawn = True
            self._observer.update(progress_of(state))
        if not running and not state.ended:
            self._switch(said := waited_for(state), self._observer.waiting(said))

    def _switch(self, what: str, screen: contextlib.AbstractContextManager[object]) -> None:
        if what != self._what:
            self._open.close()
            self._open.enter_context(screen)
            self._what = what


def waited_for(state: State) -> str:
    """What a run that is not running waits for, in words."""
    if state.state != "waiting":
        return state.state
    return "waiting for workers" if state.waiting_for == "workers" else state.waiting_for


class _Waiting:
    """Says once what a run waits for, and why it has to."""

    def __init__(self, fleet: Fleet, since: datetime, say: Callable[[str], None]) -> None:
        self._fleet, self._since, self._say = fleet, since, say
        self._said: set[str] = set()
        self._next_s = time.monotonic() + CAUSE_EVERY_S

    def look(self, state: State) -> None:
        """Look at a state."""
        for note in state.notes:
            self._once(note)
        if state.state != "waiting" or state.waiting_for != "workers":
            return
        self._once("Waiting for workers")
        if time.monotonic() > self._next_s:
            self._next_s = time.monotonic() + CAUSE_EVERY_S
            reason = workers.why_none(self._fleet.cloud, self._fleet.outputs, since=self._since)
            if reason and not any(reason in said for said in self._said):  # the keeper may have said it
                self._once(f"AWS says: {reason}")

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
