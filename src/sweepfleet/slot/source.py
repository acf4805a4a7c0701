"""Where a pool's children come from: forks of one template, which has imported the target once, or new processes.

What a library has begun while it was imported, a thread or a connection to a GPU, does not live through a fork. So
the first process looks (`slot.fork_safety`) before it is made a template. Where something speaks against that, it
is the first slot's child, and the others are new processes, each of which imports the target.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot.context import Context
from sweepfleet.slot.process import Child

LINUX = sys.platform == "linux"
START_DEADLINE_S = 600.0  # to import the target
# What a process does to itself; any other signal was sent from outside.
CRASHES = (
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE),
)


class RunnerClosedError(Exception):
    """The runner was closed while it ran a bundle, which is dropped."""


class Start(NamedTuple):
    """How children are started, and the reasons against forks."""

    how: str  # "fork" or "spawn"
    against: tuple[str, ...] = ()


class Source:
    """Starts children; thread-safe."""

    def __init__(self, context: Context, *, cores: Sequence[int] = (), blank: Child | None = None) -> None:
        """Have the first process import the target, and return at once.

        Args:
            context: of the sweep.
            cores: that the first process is tied to.
            blank: a process that was started before the sweep was known; it is used, or ended.
        """
        self.context = context
        self._cores = cores
        self._lock = threading.Lock()
        self._closed = False
        # Whether the first process is to look at itself, and what spoke against a template; None: not looked at yet.
        self._looks = context.start == "fork" or (context.start == "auto" and LINUX)
        self._against: tuple[str, ...] | None = None
        if context.start == "auto" and not LINUX:
            self._against = (f"processes are forked on Linux only, and this is {sys.platform}",)
        self._leads = False  # whether the first process is a template
        if blank is not None and blank.cpus != context.cpus:
            blank.close()
            blank = None
        # The template, or what may be one.
        self._first: Child | None = self._ordered(cores, blank, look=self._looks)

    def _ordered(self, cores: Sequence[int], blank: Child | None = None, *, look: bool = False) -> Child:
        child = blank or Child(cpus=self.context.cpus)
        child.order(self.context, cores=cores, look=look)
        return child

    @property
    def start(self) -> Start:
        """How children are started; known once there is one."""
        return Start("fork" if self._leads else "spawn", self._against or ())

    def child(self, *, cores: Sequence[int] = ()) -> Child:
        """Start another child, which will be ready soon.

        Raises:
            UsageError: the target is refused, or ends the process that imports it.
            RunnerClosedError: `close` was called.
            OSError: no process can be started.
        """
        with self._lock:
            child = self._next(cores)
        if child is None:
            child = self._ordered(cores)
        if self._closed:  # meanwhile: nobody else knows of it
            child.close()
            raise RunnerClosedError
        child.serve(self.context, cores=cores)
        return child

    def _next(self, cores: Sequence[int]) -> Child | None:
        """A fork of the template, or the first process where there is no template; then None: start new ones."""
        if self._closed:
            raise RunnerClosedError
        if self._looks and self._against is None:
            self._look()
        losses = 0
        while self._first is not None and self._leads:
            try:
                return Child(self._first, serves=(self.context, cores))
            except (BrokenPipeError, ConnectionResetError):  # it has ended
                code = self._first.life.exit_code()
                losses += 1
                if losses > self.context.infra_retries or not from_outside(code):
                    label, tail = self.context.target.label, self._first.log_tail()
                    raise UsageError(f"after the import of {label}, its process {how(code)}.\n{tail}") from None
                self._again()
                self._look()
        first, self._first = self._first, None
        return first

    def _look(self) -> None:
        """Wait until the first process has imported the target, and make it the template where that is safe.

        Raises UsageError and RunnerClosedError as `imported` does.
        """
        if self._first is None:
            raise RunnerClosedError
        _, said = imported(self._first, self._again, self.context, closed=lambda: self._closed)
        self._against = tuple(said["against"])
        self._leads = self.context.start == "fork" or not self._against
        if self._leads:
            self._first.lead()

    def _again(self) -> Child:
        """Another first process, in place of one that has ended."""
        ended, self._first = self._first, None
        if ended is not None:
            ended.close()
        self._first = first = self._ordered(self._cores, look=self._looks)
        if self._closed:
            first.kill()
        return first

    def close(self) -> None:
        """End the template; on Linux, what was forked from it ends with it."""
        self._closed = True
        if (first := self._first) is not None:
            first.kill()  # which ends a wait for it in another thread
        with self._lock:
            last, self._first = self._first, None
            if last is not None:
                last.close()


def imported(
    child: Child, again: Callable[[], Child], context: Context, *, closed: Callable[[], bool], word: str = "imported"
) -> tuple[Child, dict[str, Any]]:
    """Wait for a child's reply `word`, after its import of the target.

    Args:
        child: that imports it.
        again: starts another in its place, where it was killed from outside.
        context: of the sweep.
        closed: whether nobody wants it any more.
        word: what it says then.

    Returns:
        the child, or the one in its place, and what it said.

    Raises:
        UsageError: it cannot import the target.
        RunnerClosedError: it was killed because nobody wants it.
    """
    label = context.target.label
    losses = 0
    while child.refusal is None:
        reply = child.reply(START_DEADLINE_S)
        if reply is None:
            child.kill()
            child.refusal = f"importing {label} took over {START_DEADLINE_S:.0f} s.\n{child.log_tail()}"
        elif word in reply:
            return child, reply
        elif "refused" in reply:
            child.refusal = reply["refused"]
        elif "died" in reply:
            code = child.life.exit_code()
            losses += 1
            if closed():
                raise RunnerClosedError
            if losses > context.infra_retries or not from_outside(code) or child.life.killed_for_memory():
                child.refusal = f"importing {label} {how(code)}.\n{child.log_tail()}"
            else:
                child = again()
    raise UsageError(child.refusal)


def from_outside(code: int | None) -> bool:
    """Whether a process with this exit code was killed from outside."""
    return code is not None and code < 0 and -code not in CRASHES


def how(code: int | None) -> str:
    """How a process ended, as the end of a sentence."""
    if code is None:
        return "closed the files of the process that runs it"
    if code >= 0:
        return f"ended with exit code {code}"
    known = {int(each): each.name for each in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"
