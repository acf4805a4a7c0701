"""The front door: `inv --list`. Tasks fetch and print; the work is done in the rooms behind them."""

from __future__ import annotations

import dataclasses
import functools
import json as json_
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

BORN_S = time.time()
ROOT = Path(__file__).resolve().parent


def _speaking(body: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors that a user can act on into a message and an exit code; any other keeps its traceback."""

    @functools.wraps(body)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from grid.errors import SweepfleetError, printable

        try:
            body(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head`: whoever read has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
            raise Exit(code=141) from None  # as a shell says of a process that SIGPIPE ended
        except SweepfleetError as error:
            if error.exit_code:
                raise Exit(f"error: {printable(str(error))}", error.exit_code) from None
            print(printable(str(error)))
        except KeyboardInterrupt:
            raise Exit("Stopped. What was done is kept; the same command goes on.", 130) from None

    return wrapped


def _runs(c: Context) -> Path:
    """The folder of all runs: `INVOKE_RUNS`, or runs/ in the project."""
    return (ROOT / str(c.config.runs)).absolute()


def _integer(text: str, flag: str) -> int | None:
    """A flag's number; None when it was not given."""
    from grid.errors import UsageError

    try:
        return int(text) if text else None
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not a whole number.") from None


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@task(
    iterable=["set_", "where"],
    help={
        "grid": "the grid file, e.g. examples/diabetes/grid.yaml",
        "preview": "say how many points there are, the first of them and the time; run nothing",
        "set_": "override a parameter or a setting: --set alpha=0.1,1 --set execution.retries=2 (repeatable)",
        "where": "run only points for which this holds: --where 'alpha < 1' (repeatable)",
        "test_point": "run this one point here, with its traceback, and keep nothing",
        "retry_failed": "run failed points again, too",
        "name": "of the run's folder, runs/<name>; by default the grid's own",
        "workers": "points to run at once; by default one a core",
        "json": "print nothing on standard output but one JSON object: the summary, and the folder",
    },
)
@_speaking
def sweep(
    c: Context,
    set_: list[str],
    where: list[str],
    grid: str = "",
    *,
    preview: bool = False,
    test_point: str = "",
    retry_failed: bool = False,
    name: str = "",
    workers: str = "",
    json: bool = False,
) -> None:
    """Run a grid's points on this machine's cores; what is done is not run again."""
    from grid.errors import UsageError, printable
    from grid.load import load
    from grid.space import Space
    from sweep import preview as previews
    from sweep.progress import observer
    from sweep.run import Request, context_of, run_sweep, slots_here
    from sweep.say import ending

    if not grid:
        raise UsageError("Which sweep? Name its grid file, e.g. --grid examples/diabetes/grid.yaml")
    checked = load(Path(grid).absolute(), overrides=set_, where=where, name=name or None)
    slots = slots_here(checked, workers=_integer(workers, "--workers"))
    one = _integer(test_point, "--test-point")
    if json and (preview or one is not None):
        raise UsageError("--json prints the summary of a run; --preview and --test-point run none. Leave one out.")
    if preview:
        print(f"Target: this machine, {slots} slots")
        for line in previews.preview(checked, runs=_runs(c), slots=slots):
            print(printable(line), flush=True)
        return
    if one is not None:
        with tempfile.TemporaryDirectory() as artifacts:
            context = context_of(checked, root=ROOT, artifacts=Path(artifacts))
            for line in previews.run_one(checked, context, index=one):
                print(printable(line), flush=True)
        return
    request = Request(
        runs=_runs(c),
        root=ROOT,
        command_line=shlex.join(["inv", *sys.argv[1:]]),
        born_s=BORN_S,
        workers=slots,
        retry_failed=retry_failed,
    )
    show = observer(Space(checked.plan), checked.metric, quiet=json)
    folder = request.runs / checked.name
    show.say(f"Target: this machine, {slots} slots · run {_shown(folder)}")
    summary, code = run_sweep(checked, request, show)
    if json:
        print(json_.dumps(summary.to_dict() | {"folder": str(folder)}))
    else:
        print(printable("\n".join(ending(summary, folder=_shown(folder)))))
    if code:
        raise Exit(code=code)


@task(
    help={
        "name": "of the run; by default the one whose command was given last",
        "where": "only rows for which this holds: --where 'rmse < 55 and model == \"lasso\"'",
        "best": "only this many, the best by the grid's metric first",
        "json": "rows as JSON lines",
    }
)
@_speaking
def results(c: Context, name: str = "", where: str = "", best: str = "", *, json: bool = False) -> None:
    """Show a run's rows, and where their tables are."""
    from sweep.query import select
    from sweep.runs import find, metric_of, refresh
    from sweep.say import table

    folder = find(_runs(c), name or None)
    refresh(folder)
    rows = select(folder.parquet, where=where or None, best=_integer(best, "--best"), metric=metric_of(folder))
    if json:
        for row in rows.iter_rows(named=True):
            print(json_.dumps(row))
        return
    table(rows)
    print(f"{rows.height:,} rows · all of them, all columns: {_shown(folder.parquet)} and {folder.csv.name}")


@task(help={"name": "of the run; by default the one whose command was given last"})
@_speaking
def report(c: Context, name: str = "") -> None:
    """Make a run's report and tables anew from its ledger."""
    from sweep.runs import find, refresh

    folder = find(_runs(c), name or None)
    refresh(folder, always=True)
    print(folder.report.as_uri())


@task
@_speaking
def runs(c: Context) -> None:
    """List the runs that are here, with their state."""
    from sweep.runs import listed
    from sweep.say import run_table

    run_table(list(listed(_runs(c))), folder=_shown(_runs(c)))


STACK_HELP = "the stack; by default the one that is selected in Pulumi, or dev"


def _cluster(stack: str, **options: Any) -> Any:
    """The cluster that a task means; what it has to say is printed at once."""
    from fleet.cluster import open_cluster

    return open_cluster(ROOT, asked=stack, say=functools.partial(print, flush=True), **options)


def _show_outputs(outputs: Any) -> None:
    width = max(len(one.name) for one in dataclasses.fields(outputs))
    for one in dataclasses.fields(outputs):
        value = getattr(outputs, one.name)
        print(f"{one.name:{width}}  {', '.join(value) if isinstance(value, tuple) else value}")


@task(
    help={
        "stack": STACK_HELP,
        "yes": "do not ask; for pipelines",
        "renew_head": "take up a newer image and boot text: replaces the head; runs stay on the data volume",
    }
)
@_speaking
def up(c: Context, stack: str = "", *, yes: bool = False, renew_head: bool = False) -> None:
    """Make the cluster, or bring it to its settings: shows what it will do, asks, does it."""
    cluster = _cluster(stack, renew_head=renew_head)
    outputs = cluster.up(yes=yes, address_url=c.config.checkip)
    print(f"The stack {outputs.stack} is up in {outputs.region}; no workers run.")
    print(f"Head {outputs.head_ip} · bucket {outputs.bucket} · outputs in {_shown(cluster.folder.outputs_file)}")
    print("It costs money while it is up: docs/cluster.md says how much. Take it down: inv down")


@task(name="preview", help={"stack": STACK_HELP})
@_speaking
def preview_(c: Context, stack: str = "") -> None:
    """Show what `inv up` would do; change nothing."""
    _cluster(stack).preview()


@task(
    help={
        "stack": STACK_HELP,
        "yes": "do not ask; for pipelines",
        "purge": "delete the bucket with its results and the stack, too",
    }
)
@_speaking
def down(c: Context, stack: str = "", *, yes: bool = False, purge: bool = False) -> None:
    """Destroy the cluster: says what is lost, and asks. The bucket with results is kept."""
    from fleet.cluster import confirm

    cluster = _cluster(stack)
    print("\n".join(cluster.losses(purge=purge)))
    confirm("Go on?", yes=yes, ask=input, interactive=sys.stdin.isatty())
    cluster.down(purge=purge)


@task(help={"stack": STACK_HELP, "refresh": "ask Pulumi, not the file in .sweepfleet/", "json": "as JSON"})
@_speaking
def outputs(c: Context, stack: str = "", *, refresh: bool = False, json: bool = False) -> None:
    """Show what the stack is made of: addresses, names, ids."""
    cluster = _cluster(stack)
    found = cluster.refresh() if refresh else cluster.outputs()
    if json:
        print(found.to_json(), end="")
    else:
        _show_outputs(found)


@task(help={"stack": STACK_HELP})
@_speaking
def doctor(c: Context, stack: str = "") -> None:
    """Look for what would keep the cluster from coming up, each with its remedy."""
    from fleet.doctor import examine
    from grid.errors import printable

    bad = 0
    for finding in examine(ROOT, asked_stack=stack):
        bad += not finding.good
        print(printable(f"{'ok  ' if finding.good else 'FIX '} {finding.subject}: {finding.said}"), flush=True)
        for line in finding.fix.splitlines():
            print(printable(f"       {line}"))
    if bad:
        raise Exit(f"{bad} to mend", 3)


@task
def check(c: Context) -> None:
    """Do what CI does: lint, format, types, the arrows between the rooms, and the tests."""
    tools = Path(sys.executable).parent
    failed = []
    for step in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"):
        print(f"$ {step}", flush=True)
        if not c.run(f"{tools}/{step}", warn=True, pty=sys.stdout.isatty()):
            failed.append(step)
    if failed:
        raise Exit(f"failed: {', '.join(failed)}", 1)


@task(help={"quick": "a hundredth of the points: does it run at all?"})
def bench(c: Context, *, quick: bool = False) -> None:
    """Measure against plain dask and joblib on this machine, and write bench/results.json."""
    c.run(f"uv run --group bench python -m bench.run{' --quick' if quick else ''}", pty=sys.stdout.isatty())


ns = Collection(sweep, results, report, runs, up, preview_, down, outputs, doctor, check, bench)
ns.configure({"runs": "runs", "checkip": "https://checkip.amazonaws.com"})
