"""A run in Python: its rows, best, report and end."""

from __future__ import annotations

import contextlib
import functools
import html
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from sweepfleet.api.arguments import CONDITION, COUNT, FLAG, POINT, takes
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.grid.errors import UsageError
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.progress import Observer, Silent
from sweepfleet.run.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from sweepfleet.api.driving import Driver

LOOK_S = 0.2
MOST_ROWS = 1 << 31  # what a frame can count
Method = TypeVar("Method", bound=Callable[..., Any])


def hinted(method: Method) -> Method:
    """Decorate a method of a run, so that its errors propose Python for where the run is."""

    @functools.wraps(method)
    def called(run: Run, *args: Any, **kwargs: Any) -> Any:
        with run._hints():  # noqa: SLF001 - of this module
            return method(run, *args, **kwargs)

    return cast("Method", called)


class Run:
    """A sweep's run: one that `sweep` has begun, or that `open` has found. It reads `runs/<name>/`.

    While it is running, all of it is about the points that have ended so far.

    Examples:
        >>> import sweepfleet as sf
        >>> def divide(by):
        ...     print("dividing by", by)
        ...     return 6 / by
        >>> run = sf.sweep(divide, {"by": [0, 1, 2, 3]}, metric={"name": "value", "goal": "maximize"})
        >>> run.state
        'failed'
        >>> run.failures().select("param.by", "error_type").rows()
        [(0, 'ZeroDivisionError')]
        >>> run.best()["params"]
        {'by': 1}
        >>> run.frame("by > 1").select("param.by", "metric.value").rows()
        [(2, 3.0), (3, 2.0)]
        >>> print(run.output(2), end="")
        dividing by 2
        >>> run.report().name
        'report.html'
        >>> print(run.grid())
        name: divide
        ...
        parameters:
          by: [0, 1, 2, 3]
        ...
    """

    def __init__(self, folder: Path, *, driver: Driver | None = None, screen: Observer | None = None) -> None:
        """Not for users: `sweep` and `open` make it."""
        self._folder = RunFolder(folder)
        self._driver = driver
        self._screen = screen
        self._interrupted = False

    @property
    def name(self) -> str:
        """The run's name."""
        return self._folder.name

    @property
    def folder(self) -> Path:
        """`runs/<name>`, with ledger, tables and report."""
        return self._folder.path

    @property
    def state(self) -> str:
        """`running`, `done`, `failed`, `partial`, `stopped` or `interrupted`, as in summary.json."""
        if self._folder.running() is not None:
            return "running"
        return str(self.summary["state"])

    def _hints(self) -> AbstractContextManager[None]:
        return python_hints("")

    @property
    @hinted
    def summary(self) -> dict[str, Any]:
        """The run in numbers, as in summary.json: `docs/runs.md` says what each is. Times in seconds."""
        self._refresh()
        found = read_json(self._folder.summary)
        return found if Summary.of(found) is not None else {"state": "interrupted"}

    def _refresh(self) -> None:
        from sweepfleet.run.runs import refresh

        if self._folder.running() is None:
            refresh(self._folder)
        elif not self._folder.parquet.exists():
            refresh(self._folder, always=True)

    @hinted
    def wait(self) -> Run:
        """Wait until it has ended, and show its progress meanwhile; returns the run itself.

        Ctrl-C ends the waiting, and the run goes on; at a second wait it cancels the run.

        Raises:
            UsageError: the sweep was refused.
            SweepfleetError: it could not go on; what is finished is kept.
        """
        from sweepfleet.api.screen import is_interactive

        try:
            if self._driver is not None and self._screen is not None:
                self._driver.follow(self._screen)
            while self._folder.running() is not None:
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            if is_interactive() and not self._interrupted:
                self._interrupted = True
                print(f"{self.name} is running. Wait for it: run.wait() · Cancel it: run.cancel()")
                return self
            self.cancel()
            raise
        return self

    @hinted
    def cancel(self) -> None:
        """Stop it. Finished points are kept, and the same sweep resumes it.

        Raises:
            UsageError: it runs on another machine.
        """
        if self._driver is not None:
            self._driver.interrupt()
            self._driver.follow(Silent())
            return
        holder = self._folder.running()
        if holder is None:
            return
        if holder["host"] != socket.gethostname():
            raise UsageError(f"{self.name} runs on {holder['host']}. Cancel it there.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(holder["pid"]), signal.SIGINT)
        while self._folder.running() is not None:
            time.sleep(LOOK_S)

    @overload
    def frame(
        self, where: str | None = None, *, long: bool = False, pandas: Literal[False] = False
    ) -> pl.DataFrame: ...

    @overload
    def frame(self, where: str | None = None, *, long: bool = False, pandas: Literal[True]) -> pd.DataFrame: ...

    @hinted
    @takes("frame", where=CONDITION, long=FLAG, pandas=FLAG)
    def frame(
        self, where: str | None = None, *, long: bool = False, pandas: bool = False
    ) -> pl.DataFrame | pd.DataFrame:
        """The rows, one a point, in the grid's order: `point_id`, `param.*`, `metric.*`, `status` and more.

        Args:
            where: only rows for which this is true, as `inv results --where` has it.
            long: the rows that points returned, where they return several; `point_id` joins them.
            pandas: a pandas frame instead of a polars frame; needs pandas and pyarrow.

        Returns:
            a frame of polars or pandas.

        Raises:
            UsageError: the condition cannot be read, no point returned rows, or pandas or pyarrow is missing.
        """
        import polars as pl

        from sweepfleet.run.query import select

        self._refresh()
        if not long:
            rows = select(self._folder.parquet, where=where, best=None, metric=None)
        elif self._folder.long.exists():
            rows = pl.read_parquet(self._folder.long)
        else:
            raise UsageError(f"No point of {self.name} has returned rows.")
        return _to_pandas(rows) if pandas else rows

    def best(self) -> dict[str, Any] | None:
        """The best configuration by the run's metric: `params`, `mean`, `sd`, `n` of `of` points; None without."""
        found: dict[str, Any] | None = self.summary.get("best")
        return found

    @hinted
    @takes("ranking", count=COUNT)
    def ranking(self, count: int) -> pl.DataFrame:
        """The best configurations, the best first: rows, or means where there is something to average.

        Args:
            count: the number of configurations.

        Returns:
            a polars frame.

        Raises:
            UsageError: the run has no metric.
        """
        from sweepfleet.run.query import select
        from sweepfleet.run.runs import metric_of, planned

        self._refresh()
        metric = metric_of(self._folder)
        space = planned(self._folder) if metric else None
        return select(self._folder.parquet, where=None, best=min(count, MOST_ROWS), metric=metric, space=space)

    def failures(self) -> pl.DataFrame:
        """The rows of failed points, with `error_type` and `error`."""
        import polars as pl

        return self.frame().filter(pl.col("status") == "failed")

    @hinted
    @takes("output", point=POINT)
    def output(self, point: str | int) -> str:
        """What a point printed.

        Args:
            point: its id or the beginning of that, or its index in the grid.

        Returns:
            the text, with standard output and standard error as they came.

        Raises:
            UsageError: there is no such point, or it has not ended.
        """
        from sweepfleet.run.output_text import shown

        return "".join(shown(self._folder, point=str(point)))

    @hinted
    def report(self) -> Path:
        """The run's page, as it is now: one file that any browser shows."""
        self._refresh()
        return self._folder.report

    @hinted
    def grid(self) -> str:
        """The grid as YAML: in a file, `inv sweep` runs the same points, and resumes this run."""
        return self._folder.grid.read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def __str__(self) -> str:
        from sweepfleet.run.say import ending

        found = Summary.of(self.summary)
        if found is None or self._folder.running() is not None:
            return f"{self.name} is running: {self.folder}"
        lines = ending(found, folder=str(self.folder), several_rows=self._folder.long.exists())
        return in_python("\n".join(lines), stack="")

    def _repr_html_(self) -> str:
        """The summary, and below it the report."""
        head = f"<pre>{html.escape(str(self))}</pre>"
        if not self._folder.report.exists():
            return head
        page = html.escape(self._folder.report.read_text(encoding="utf-8"), quote=True)
        return f'{head}<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 1px solid #8886"></iframe>'


def _to_pandas(rows: pl.DataFrame) -> pd.DataFrame:
    try:
        return rows.to_pandas()
    except ModuleNotFoundError as error:
        raise UsageError(f"A pandas frame needs the package {error.name}. Add it: uv add pandas pyarrow") from None
