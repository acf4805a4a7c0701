"""Tasks of those who work on this repository: it is checked, measured, and tried without AWS."""

from __future__ import annotations

import contextlib
import functools
import shlex
import shutil
import subprocess
import sys
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

ROOT = Path(__file__).resolve().parents[1]

# A file's tests stay together: some share a cluster. Much of the time machines boot and nobody computes.
PYTEST = "pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=20"

# Nothing is asked of GitHub: what the workflows say is judged, not whether newer actions exist.
ZIZMOR = "zizmor --offline --no-progress .github"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


@task
def check(c: Context) -> None:
    """Run what CI runs: linters, types, imports, workflows, tests."""
    tools = Path(sys.executable).parent
    steps = [f"{tools}/{step}" for step in ("ruff check", "ruff format --check", "mypy", "lint-imports", ZIZMOR)]
    if command := actionlint():
        steps.append(shlex.join(command))
    else:
        print(f"NOT RUN: actionlint. Put it on the PATH, or Go, which fetches it: go run {ACTIONLINT}", flush=True)
    failed = []
    for step in (*steps, f"{tools}/{PYTEST}"):
        name = step.removeprefix(f"{tools}/")
        print(f"$ {name}", flush=True)
        if not c.run(step, warn=True, pty=sys.stdout.isatty()):
            failed.append(name)
    if failed:
        raise Exit(f"failed: {', '.join(failed)}", 1)


def actionlint() -> list[str] | None:
    """How actionlint is started here; None where there is none and none can be fetched."""
    if found := shutil.which("actionlint"):
        return [found]
    if found := shutil.which("go"):
        command = [found, "run", ACTIONLINT]
        fetched = subprocess.run([*command, "-version"], cwd=ROOT, capture_output=True, check=False)
        return command if fetched.returncode == 0 else None
    return None


@task(
    help={
        "start": "the first seconds of a sweep and short sweeps, instead of long ones; writes bench/start.json",
        "calls": "the Executor beside dask, joblib and ProcessPoolExecutor, instead; writes bench/calls.json",
        "quick": "a fraction of the points, once: does it run at all?",
    }
)
def bench(c: Context, *, start: bool = False, calls: bool = False, quick: bool = False) -> None:
    """Measure against plain Python, dask and joblib on this machine.

    Writes bench/results.json; with --start, bench/start.json.
    """
    what = "calls" if calls else "start" if start else "run"
    measure = f"python -m bench.{what}{' --quick' if quick else ''}"
    c.run(f"uv run --group bench {measure}", pty=sys.stdout.isatty())


@task(help={"show": "serve them on this machine and open the browser; Ctrl-C ends it"})
def docs(c: Context, *, show: bool = False) -> None:
    """Make the documentation's pages, with the API reference.

    Writes .site/html. Nothing comes from the network.
    """
    from tests.pages import build

    first = build()
    if not show:
        print(f"{first.relative_to(ROOT)}\nRead them: inv docs --show")
        return
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(first.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, contextlib.suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{server.server_port}/"
        print(address, flush=True)
        webbrowser.open(address)
        server.serve_forever()


@task
def tutorial(c: Context) -> None:
    """Run the tutorial's local part; write its notebook and outputs.

    Requires Chromium, which draws the plot.
    """
    from tests.tutorial import write

    write()


@task(
    positional=["what"],
    help={"what": "up, shell (on the laptop in it), status or down", "name": "of the cloud, where there are more"},
)
def rehearsal(c: Context, what: str, name: str = "") -> None:
    """Try the cluster without AWS, in a cloud on this machine.

    Requires root on Debian or Ubuntu.
    """
    command = [sys.executable, "-m", "tests.cloud.rehearsal", what, *([name] if name else [])]
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Exit(code=code)
