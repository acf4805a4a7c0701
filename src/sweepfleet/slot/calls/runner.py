"""A slot: executes calls in a child process, and survives whatever a call does to that."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sweepfleet.slot.calls.batch import Call, Failure, Outcome
from sweepfleet.slot.calls.process import Child
from sweepfleet.slot.calls.spec import Spec
from sweepfleet.slot.source import from_outside, how

LOOK_S = 0.025  # between two looks: a call that takes longer holds back none of those after it
EXACT_S = 0.1  # and a timeout is enforced this exactly; short ones to a twentieth
MAX_STRAYS = 3  # deaths of new processes before they reached a call, one after the other

Tell = Callable[[Sequence[Outcome]], None]  # takes finished calls; when it returns, they are kept
GiveBack = Callable[[Sequence[Call]], None]  # takes calls that have not begun, while another one takes long


class InitializerError(Exception):
    """The initializer raised: no call can be executed. Has its traceback as text."""


class SlotClosedError(Exception):
    """The slot was closed while it executed calls, which are dropped."""


class SlotError(Exception):
    """The slot cannot start a process for calls."""


class Runner:
    """One slot. `execute` is for one thread at a time; `close` may come from another one."""

    def __init__(self, spec: Spec, *, mailbox: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            spec: of all slots.
            mailbox: where its child leaves results until they are kept; None: in memory.
        """
        self._spec = spec
        self._mailbox = mailbox
        self._child: Child | None = None
        self._closed = False
        self._changing = threading.Lock()

    @property
    def warm(self) -> bool:
        """Whether its process has been started."""
        return self._child is not None

    def start(self) -> None:
        """Start its process, if there is none; it is ready some time later."""
        with self._changing:
            if self._closed:
                raise SlotClosedError
            if self._child is None:
                self._child = Child(self._spec, mailbox=self._mailbox)

    def close(self) -> None:
        """End its process and all that it started, now."""
        with self._changing:
            self._closed = True
            if (child := self._child) is not None:
                child.kill()  # which ends an `execute` that another thread is in

    def free(self) -> None:
        """Give back what the closed slot has open; nobody is in `execute` any more."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def execute(self, calls: Sequence[Call], functions: Mapping[str, bytes], tell: Tell, give_back: GiveBack) -> None:
        """Execute calls; never raises for a call's fault.

        Args:
            calls: in this order.
            functions: pickled, by digest.
            tell: gets outcomes as they are known, at the latest when a call takes long.
            give_back: gets the calls that have not begun, or none, as soon as one takes long, and after what ended
                before it: that one may wait for what they do. Once for each process that is given calls.

        Raises:
            InitializerError, SlotClosedError, SlotError
        """
        _Job(self, self._spec, functions, tell, give_back).execute(list(calls))

    def child(self) -> Child:
        """Its process, started now if there is none."""
        try:
            self.start()
        except OSError as error:
            raise SlotError(f"No process for calls can be started: {error}") from error
        if self._child is None or self._closed:
            raise SlotClosedError
        return self._child

    def drop(self) -> int:
        """End its process; the next one is another. Returns the exit code."""
        with self._changing:
            child, self._child = self._child, None
        if child is None:
            raise SlotClosedError
        code = child.kill()
        child.close()
        if self._closed:
            raise SlotClosedError
        return code


class _Job:
    """The calls of one `execute`."""

    def __init__(
        self, runner: Runner, spec: Spec, functions: Mapping[str, bytes], tell: Tell, give_back: GiveBack
    ) -> None:
        self._runner, self._spec, self._functions = runner, spec, functions
        self._tell, self._give_back = tell, give_back
        self._attempts: Counter[int] = Counter()  # by index, of those that have failed
        self._again: list[Call] = []  # that have failed and are tried again
        self._strays = 0

    def execute(self, calls: list[Call]) -> None:
        while calls:
            calls = self._attempt(calls)
            if not calls:
                calls, self._again = self._again[:1], self._again[1:]  # one by one: each has its attempt's number

    def _attempt(self, calls: list[Call]) -> list[Call]:
        """Have a child execute calls; returns those that it did not reach because it died."""
        child = self._runner.child()
        watch = _Watch(child, calls, self._spec)
        child.give(calls, self._functions, attempt=self._attempts[calls[0].index] + 1)
        while True:
            reply = child.reply(watch.patience_s)
            if reply is None:
                stalled = watch.stalled()
                self._take(child, watch)
                if stalled:
                    self._give_back(watch.take_back())
                if (failure := watch.overdrawn()) is None:
                    continue
                child.kill()
                return self._after_death(child, watch, failure)
            if reply["kind"] == "ended":
                self._take(child, watch)
                child.mailbox.empty()
                return []
            if reply["kind"] == "refused":
                raise InitializerError(reply["why"])
            return self._after_death(child, watch, None)

    def _take(self, child: Child, watch: _Watch) -> None:
        """Pass on what has finished, but for calls that are tried again."""
        told = []
        for outcome in child.collect():
            call = watch.finish(outcome.index)
            if outcome.raised and self._tries_again(call):
                continue
            told.append(outcome)
        if told:
            self._tell(told)

    def _tries_again(self, call: Call) -> bool:
        self._attempts[call.index] += 1
        if self._attempts[call.index] > self._spec.retries:
            return False
        self._again.append(call)
        return True

    def _after_death(self, child: Child, watch: _Watch, failure: Failure | None) -> list[Call]:
        """Record what the child's end means for the call that ran; returns those that it did not reach."""
        code = child.life.exit_code() if failure is None else None
        for_memory = code == -signal.SIGKILL and child.life.killed_for_memory()
        rest = watch.take_back()
        self._take(child, watch)  # it may have finished it just before
        culprit = watch.culprit()
        self._runner.drop()
        if culprit is None:
            self._strays += 1
            if self._strays > MAX_STRAYS:
                raise SlotError(f"The process for calls dies before it reaches one: it {_how(code)}.")
            return rest
        self._strays = 0
        call, wall_s = culprit
        if not self._tries_again(call):
            why = failure or _failure(code, for_memory=for_memory)
            tried = self._attempts[call.index]
            self._tell([Outcome(call.index, why, False, wall_s, call.key, tried, time.time() - wall_s)])
        return rest


class _Watch:
    """A child at its job: which call it is at, and for how long."""

    def __init__(self, child: Child, calls: Sequence[Call], spec: Spec) -> None:
        self._child, self._calls, self._spec = child, calls, spec
        self._by_index = {call.index: call for call in calls}
        self._finished: set[int] = set()
        self._begun_at = 0  # how many were begun at the last look
        self._since_s = time.monotonic()
        self._taken = 0  # the last ones, which were taken back
        self._has_stalled = False

    @property
    def patience_s(self) -> float | None:
        """How long to wait before the next look; None: there is nothing to look for."""
        limits = [LOOK_S] if not self._has_stalled and len(self._calls) > 1 else []
        if self._spec.timeout_s is not None:
            limits.append(max(0.001, min(EXACT_S, self._spec.timeout_s / 20)))
        if self._spec.memory_bytes is not None:
            limits.append(2 * LOOK_S)
        return min(limits, default=None)

    def _begun(self) -> int:
        return len(self._calls) - self._taken - self._child.tokens.left()

    def stalled(self) -> bool:
        """Whether one call has been running since the last look but one, beside others; true once."""
        begun, now_s = self._begun(), time.monotonic()
        if begun != self._begun_at:
            self._begun_at, self._since_s = begun, now_s
            return False
        if self._has_stalled or not begun or now_s - self._since_s < LOOK_S / 2:
            return False
        self._has_stalled = True
        return len(self._calls) > 1

    def take_back(self) -> list[Call]:
        """The calls that have not begun and now never will."""
        count = self._child.tokens.take_back()
        end = len(self._calls) - self._taken
        self._taken += count
        return list(self._calls[end - count : end])

    def finish(self, index: int) -> Call:
        """A call has ended."""
        self._finished.add(index)
        return self._by_index[index]

    def culprit(self) -> tuple[Call, float] | None:
        """The call that was running when the child ended, and for how many seconds; None when none was."""
        begun = len(self._calls) - self._taken
        last = self._calls[begun - 1] if begun else None
        if last is None or last.index in self._finished:
            return None
        return last, time.monotonic() - self._since_s

    def overdrawn(self) -> Failure | None:
        """Why the running call must end: its time or its memory is used up."""
        limit_s, limit_bytes = self._spec.timeout_s, self._spec.memory_bytes
        begun = self._begun()
        if not begun or self._calls[begun - 1].index in self._finished:
            return None
        # Counted from the first look that saw it: it has run at least that long.
        if limit_s is not None and begun == self._begun_at and time.monotonic() - self._since_s > limit_s:
            return Failure("Timeout", f"The call took longer than its timeout of {limit_s:g} s.")
        if limit_bytes is not None:
            usage = self._child.memory(limit_bytes)
            if usage.used > limit_bytes:
                return Failure(
                    "MemoryLimit", f"The call used {usage}, more than its memory of {limit_bytes / 1e6:,.0f} MB."
                )
        return None


def _how(code: int | None) -> str:
    return "closed files of its own process" if code is None else how(code)


def _failure(code: int | None, *, for_memory: bool) -> Failure:
    """What a child's exit code means for the call that ran."""
    if for_memory:
        return Failure("OutOfMemory", "The kernel killed the call's process: the machine ran out of memory.")
    if code is None:
        return Failure("ProcessExit", "The call closed files of the process that runs it.")
    if from_outside(code):
        return Failure("ProcessLost", f"The call's process was killed from outside: it {how(code)}.")
    return Failure("Crash" if code < 0 else "ProcessExit", f"The call's process {how(code)}.")
