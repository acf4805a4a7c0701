"""A cluster as an object: `sweepfleet.connect`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepfleet.api.arguments import COUNT, FLAG, FOLDER, NAME, PROJECT, SECONDS, TEXT, takes
from sweepfleet.api.grids import Values
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.api.run import Run
from sweepfleet.api.runs import open as open_run
from sweepfleet.grid.project_root import project_around

if TYPE_CHECKING:
    from distributed import Client

    from sweepfleet.api.executor import Executor
    from sweepfleet.fleet.fleet import Fleet
    from sweepfleet.fleet.money.cost import Cost
    from sweepfleet.fleet.reach.remote import Answer
    from sweepfleet.fleet.runs.status import Status


class Cluster:
    """A cluster that is up; `connect` makes it. What it does is what the commands of the same names do.

    Examples:
        >>> import sweepfleet as sf
        >>> fleet = sf.connect("dev")
        >>> run = fleet.sweep(lambda a: a * a, {"a": range(10)}, name="squares", wait=False)
        >>> fleet.open("squares").wait().frame().height
        10
    """

    def __init__(self, fleet: Fleet) -> None:
        """Not for users: `connect` makes it."""
        self._fleet = fleet

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return self._fleet.outputs.stack

    def sweep(
        self, target: Callable[..., Any] | str | Path, parameters: Mapping[str, Values] | None = None, **how: Any
    ) -> Run:
        """Run a function for every point of a grid on this cluster; see `sweepfleet.sweep`.

        Args:
            target: the function, or the path of a grid file.
            parameters: values by name.
            **how: what `sweepfleet.sweep` takes beside them.

        Returns:
            the run.

        Raises:
            UsageError: nothing was submitted; says every problem.
            SweepfleetError: the cluster could not be reached, or the run could not go on.
        """
        from sweepfleet.api.sweeps import sweep

        return sweep(target, parameters, **how, stack=self)

    def executor(self, max_workers: int | None = None, **how: Any) -> Executor:
        """An executor of calls on this cluster; see `sweepfleet.Executor`.

        Args:
            max_workers: calls at once; by default as many as workers have room for.
            **how: what `sweepfleet.Executor` takes beside it.

        Returns:
            the executor.

        Raises:
            UsageError: arguments that cannot be used, or a release or a Python that is another one than here.
            BrokenExecutor: the cluster cannot be reached.
        """
        from sweepfleet.api.executor import Executor

        return Executor(max_workers, **how, stack=self)

    @takes("open", name=NAME, runs=FOLDER)
    def open(self, name: str | None = None, *, runs: str | Path | None = None) -> Run:
        """A run by its name; without one, the active run, or the last one.

        Args:
            name: of the run.
            runs: the folder to which its results come; by default `runs/` in the project.

        Returns:
            the run.

        Raises:
            UsageError: there is none, or more than one is active.
            SweepfleetError: the cluster cannot be reached.
        """
        return open_run(name, runs=runs, stack=self)

    def status(self) -> Status:
        """What the cluster is doing: head, workers, release, active runs and the last ones that ended.

        Returns:
            all of it in typed fields. `print` shows it as `inv status` does, and a notebook as a cell's last value.
            Where the head does not answer, `error` says why.

        Raises:
            SweepfleetError: AWS refuses, or the stack was taken down.
        """
        from sweepfleet.fleet.runs.status import look

        with self._hints():
            return replace(look(self._fleet), words=functools.partial(in_python, stack=self.stack))

    @takes("push", dirty=FLAG, yes=FLAG)
    def push(self, *, dirty: bool = False, yes: bool = False) -> None:
        """Send this checkout's commit and its locked environment to the cluster; says when it has it already.

        Args:
            dirty: push tracked files with their uncommitted changes; results say so.
            yes: replace another person's newer release.

        Raises:
            UsageError: files are changed, or another person's code would be replaced.
            SweepfleetError: the head cannot take it; the release before stays current.
        """
        from sweepfleet.fleet.code.agreed import push_checkout, unasked
        from sweepfleet.fleet.errors import NothingToDo

        with self._hints():
            try:
                push_checkout(self._fleet, dirty=dirty, yes=yes, confirm=unasked, say=self._say)
            except NothingToDo as nothing:
                self._say(str(nothing))

    @takes("start", workers=COUNT, timeout_s=SECONDS)
    def start(self, workers: int = 1, *, timeout_s: float = 900) -> int:
        """Start workers before a sweep, and wait until they have joined. Without a sweep they shut down again.

        Args:
            workers: their number.
            timeout_s: to wait, at most.

        Returns:
            the number of their slots.

        Raises:
            UsageError: nothing was pushed yet, or the stack allows fewer workers.
            SweepfleetError: they have not joined in time; says why.
        """
        from sweepfleet.fleet.steps import Steps
        from sweepfleet.fleet.workers.group import ends_by_itself
        from sweepfleet.fleet.workers.joining import start

        with self._hints(), Steps(say=self._say) as steps:
            slots = start(self._fleet, workers, deadline_s=timeout_s, steps=steps)
        self._say(ends_by_itself(has_code=True))
        return slots

    @takes("stop", yes=FLAG)
    def stop(self, *, yes: bool = False) -> None:
        """Shut down all workers. Finished points are kept.

        Args:
            yes: also when runs are active: they stop, and the same sweep resumes them.

        Raises:
            UsageError: runs are active.
            SweepfleetError: the head does not answer; with `yes`, AWS was told nevertheless.
        """
        from sweepfleet.fleet.workers.stopping import stop

        with self._hints():
            stop(self._fleet, yes=yes)
        self._say("The workers shut down.")

    @takes("run", command=TEXT, worker=TEXT, workers=FLAG, timeout_s=SECONDS)
    def run(
        self, command: str, *, worker: str = "", workers: bool = False, timeout_s: int = 600
    ) -> Mapping[str, Answer]:
        """Run a shell command on the head, on a worker, or on all workers.

        Args:
            command: a line for `sh`.
            worker: the beginning of a worker's instance id.
            workers: on all workers.
            timeout_s: for each machine.

        Returns:
            `stdout`, `stderr` and `exit_code` by machine: `head`, or an instance id.

        Raises:
            UsageError: there is no such worker.
            SweepfleetError: a machine cannot be reached, or the command does not end in time.
        """
        from sweepfleet.fleet.reach.many import answers

        with self._hints():
            words = ("sh", "-c", command)
            return answers(self._fleet, *words, worker=worker, workers=workers, deadline_s=timeout_s)

    @takes("logs", name=NAME, worker=TEXT, workers=FLAG, lines=COUNT)
    def logs(self, *, name: str = "", worker: str = "", workers: bool = False, lines: int = 200) -> str:
        """The journal of the head, of a worker, or of all workers.

        Args:
            name: of a run, whose lines alone are meant.
            worker: the beginning of a worker's instance id.
            workers: of all workers; each line begins with its worker's id.
            lines: the number of last lines, of each machine.

        Returns:
            the lines.

        Raises:
            UsageError: there is no such worker.
            SweepfleetError: a machine cannot be reached.
        """
        from sweepfleet.fleet.reach.many import answers
        from sweepfleet.fleet.runs.journal import journal_command

        with self._hints():
            words = journal_command(name=name, lines=lines)
            found = answers(self._fleet, *words, worker=worker, workers=workers, sudo=True)
        if not workers:
            return next(iter(found.values())).stdout
        return "".join(f"[{name}] {line}\n" for name, each in found.items() for line in each.stdout.splitlines())

    def cost(self) -> Mapping[str, Cost]:
        """What each run has cost of the workers: of those that the head has, active ones so far.

        A head that is asleep is not woken: the bucket has the active and the last 20 runs, as of when it stopped.

        Returns:
            `usd` (None: no price is known), `worker_hours` and `budget_usd` by run. The head, its disk and
            the bucket cost apart from that: `docs/cluster.md`.

        Raises:
            SweepfleetError: the head cannot be reached.
        """
        from sweepfleet.fleet.runs.answers import costs

        with self._hints():
            return costs(self._fleet)

    @takes("client", workers=COUNT, unpriced=FLAG)
    @contextlib.contextmanager
    def client(self, *, workers: int | None = None, unpriced: bool = False) -> Iterator[Client]:
        """A plain `distributed.Client` of the cluster's scheduler, for as long as the `with` block lasts.

        It goes through the verified SSH tunnel, with a certificate of its own. Workers start for its tasks, as many
        as these can use, and shut down when it has none; its results stay on them for half an hour after the last
        task. The stack's `budgetUsd` ends it. Sweeps and other clients beside it get their part of the workers.

        Args:
            workers: at most so many; by default the stack's `maxWorkers`.
            unpriced: also where the price of a worker is unknown, and so no budget can be enforced.

        Returns:
            a context manager with the client, which is dask's default one within.

        Raises:
            UsageError: nothing was pushed yet, the budget cannot be enforced, or versions here and on the cluster
                differ; lists them.
            SweepfleetError: the cluster cannot be reached.
        """
        from sweepfleet.fleet.steps import Steps

        with contextlib.ExitStack() as stack:
            with self._hints(), Steps(say=self._say) as steps:
                from sweepfleet.api.dask_client import client_of

                client = stack.enter_context(client_of(self._fleet, workers=workers, unpriced=unpriced, steps=steps))
            yield client

    def _hints(self) -> AbstractContextManager[None]:
        return python_hints(self.stack)

    def _say(self, text: str) -> None:
        print(in_python(text, stack=self.stack), flush=True)

    def __repr__(self) -> str:
        return f"<sweepfleet cluster {self.stack} in {self._fleet.outputs.region}>"


@takes("connect", stack=TEXT, project=PROJECT)
def connect(stack: str | None = None, *, project: str | Path | None = None) -> Cluster:
    """The cluster of a stack that is up; reads what `inv up` left in the project, and asks nobody.

    Args:
        stack: its name; by default that of the one stack that is up.
        project: a folder of the project; by default the current one.

    Returns:
        the cluster.

    Raises:
        UsageError: no such stack is up, or more than one is.

    Examples:
        >>> import sweepfleet as sf
        >>> fleet = sf.connect("dev")
        >>> fleet.stack
        'dev'
    """
    folder = Path(project).absolute() if project is not None else Path.cwd()
    with python_hints(stack or ""):
        from sweepfleet.fleet.fleet import open_fleet

        return Cluster(open_fleet(project_around(folder) or folder, asked=stack or ""))


def fleet_of(stack: str | Cluster, *, root: Path | None = None) -> Fleet:
    """The cluster that is meant: of a project at `root` that has stacks, else of the one here."""
    if isinstance(stack, Cluster):
        return stack._fleet  # noqa: SLF001 - of this module
    with python_hints(stack):
        from sweepfleet.fleet.stack.folder import stacks_up

        place = root if root is not None and stacks_up(root) else None
    return connect(stack, project=place)._fleet  # noqa: SLF001 - likewise
