"""The project itself: checked and measured."""

from __future__ import annotations

import sys
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task


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
