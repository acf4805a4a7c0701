"""A run on a cluster in Python: what it has so far is fetched when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepfleet.api.arguments import POINT, takes
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.api.run import Run, hinted
from sweepfleet.api.screen import NotebookLine, in_notebook, is_interactive
from sweepfleet.fleet.code.agreed import release_for, unasked
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.runs import jobs
from sweepfleet.fleet.runs.answers import sleeping
from sweepfleet.fleet.runs.jobs import progress_of
from sweepfleet.fleet.runs.on_stack import agreed, bring, fetched, hand_over
from sweepfleet.fleet.runs.watch import observer_of, watch
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.run.say import ending
from sweepfleet.run.summary import Summary

if TYPE_CHECKING:
    from sweepfleet.fleet.money.cost import Cost
    from sweepfleet.run.progress import Observer, Words


class ClusterRun(Run):
    """A run on a cluster: `sweep(..., stack=...)` has begun it, or `open(..., stack=...)` has found it.

    Its rows, tables and report come to `runs/<name>/` when they are asked for; once it has ended, for the last time.
    """

    def __init__(self, fleet: Fleet, name: str, *, runs: Path) -> None:
        """Not for users: `sweep` and `open` make it."""
        super().__init__(runs / name)
        self._fleet = fleet
        self._is_here = False  # as it ended
        self.cost: Cost | None = None  # at most, once it was waited for; None: not known

    @property
    def stack(self) -> str:
        """The stack that it runs on."""
        return self._fleet.outputs.stack

    def _hints(self) -> AbstractContextManager[None]:
        return python_hints(self.stack)

    @property
    def state(self) -> str:
        """As of a run on this machine: `running` until its head says how it ended."""
        now = self._now()
        return str(now.summary.get("state") or "interrupted") if now.ended else "running"

    def _now(self) -> jobs.State:
        with self._hints():
            if (known := sleeping(self._fleet)) is not None and self.name in known.states:
                return known.states[self.name]
            with self._fleet.head() as head:
                return jobs.state(head, self.name)

    def _refresh(self) -> None:
        if not self._is_here:
            with self._hints(), _silent() as steps:
                found = bring(self._fleet, self.name, runs_folder=self.folder.parent, steps=steps)
            self._is_here = found.ended
        super()._refresh()

    def wait(self) -> ClusterRun:
        """Wait until it has ended, and show its progress meanwhile; fetches its results, and returns the run itself.

        Ctrl-C ends the waiting, and the run goes on; at a second wait it cancels the run. A script gets the
        KeyboardInterrupt.

        Raises:
            UsageError: the sweep was refused.
            SweepfleetError: it could not go on, or the cluster not be reached; the message says which.
        """
        try:
            with self._hints():
                last = watch(self._fleet, self.name, screen_of=_screen)
                with Steps(say=_say(self.stack)) as steps:
                    ended = fetched(self._fleet, last, self.name, runs_folder=self.folder.parent, steps=steps)
        except KeyboardInterrupt:
            if self._interrupted:
                self.cancel()
                raise
            self._interrupted = True
            print(
                f"{self.name} is running on the stack {self.stack}. Wait for it: run.wait() · Cancel it: run.cancel()"
                f' · Later: sf.open("{self.name}", stack="{self.stack}")',
                file=sys.stdout if is_interactive() else sys.stderr,
                flush=True,
            )
            if is_interactive():
                return self
            raise
        self._is_here, self.cost = True, ended.cost
        print(f"Cost: {ended.cost or 'unknown: the head does not answer'}", flush=True)
        return self

    def cancel(self) -> None:
        """Stop it and fetch what it has. Finished points are kept, and the same sweep resumes it."""
        with self._hints(), self._fleet.head() as head:
            active = self.name in jobs.names(head, active=True)
            missing = jobs.cancel(head, self.name) if active else ""
        if not missing:
            self._refresh()

    @hinted
    @takes("output", point=POINT)
    def output(self, point: str | int) -> str:
        """What a point printed; as of a run on this machine."""
        self._refresh()
        return super().output(point)

    def grid(self) -> str:
        """The grid as YAML; as of a run on this machine."""
        self._refresh()
        return super().grid()

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, stack={self.stack!r})"

    def __str__(self) -> str:
        now = self._now()
        if not now.ended:
            done = progress_of(now) if now.progress else None
            count = f", {done.done + done.failed:,} of {counted(done.total, 'point')} finished" if done else ""
            return f"{self.name} is {now.state} on the stack {self.stack}{count}"
        self._refresh()
        found = Summary.of(self.summary)
        if found is None:
            return f"{self.name} has ended on the stack {self.stack} without results"
        lines = ending(found, folder=str(self.folder), several_rows=self._folder.long.exists())
        return in_python("\n".join(lines), stack=self.stack)


def _screen(words: Words) -> Observer:
    """What shows a run's progress where this process writes."""
    return NotebookLine(words) if in_notebook() else observer_of(words, quiet=False)


def _say(stack: str) -> Callable[[str], None]:
    """Prints a message of the fleet's, with Python in the place of commands."""
    return lambda text: print(in_python(text, stack=stack), flush=True)


def _silent() -> Steps:
    """Steps that nobody sees."""
    import io

    from rich.console import Console

    return Steps(say=lambda _: None, console=Console(file=io.StringIO()))


def start(fleet: Fleet, checked: Sweep, *, root: Path, runs: Path, wait: bool, yes: bool, **how: Any) -> ClusterRun:
    """Start a checked sweep on a cluster.

    Args:
        fleet: the cluster.
        checked: the sweep.
        root: of its project.
        runs: the folder of all runs here.
        wait: until it has ended.
        yes: whether more points are meant than anybody would type.
        **how: `redo`, `workers`, `push`, `as_pushed` and `unpriced`.

    Raises:
        UsageError: nothing was submitted; says why, and what to do.
        SweepfleetError: the cluster cannot take it; or of `wait`.
    """
    redo, workers, say = how["redo"], how["workers"], _say(fleet.outputs.stack)

    def confirm_run(concern: str | None) -> None:
        if concern is not None:
            unasked("", yes=yes, unasked=f"{concern} To run them: yes=True", refused="")

    if workers is not None and workers < 1:
        raise UsageError(f"workers={workers}: at least 1.")
    which: Any = {"push": how["push"], "as_pushed": how["as_pushed"], "confirm": unasked, "say": say}
    with python_hints(fleet.outputs.stack):
        release = agreed(
            fleet,
            checked,
            root=root,
            runs_folder=runs,
            redo=redo,
            workers=workers,
            release=lambda: release_for(fleet, checked, **which),
            whole=not how["as_pushed"],
            confirm_run=confirm_run,
            say=say,
        )
        command_line = f"sweepfleet.sweep in {sys.argv[0] or 'python'}"
        hand_over(
            fleet,
            checked,
            command_line=command_line,
            redo=redo,
            workers=workers,
            release=release,
            without_price=how["unpriced"],
            say=say,
        )
    run = ClusterRun(fleet, checked.name, runs=runs)
    return run.wait() if wait else run


def find(fleet: Fleet, name: str | None, *, runs: Path) -> ClusterRun:
    """A run of a cluster by its name; without one, the active run, or the last one.

    Raises:
        UsageError: there is none, or more than one is active.
        SweepfleetError: the cluster cannot be reached.
    """
    with python_hints(fleet.outputs.stack):
        if (known := sleeping(fleet)) is not None:
            return ClusterRun(fleet, known.which(name or ""), runs=runs)
        with fleet.awake_head() as head:
            return ClusterRun(fleet, jobs.which(head, name or ""), runs=runs)
